"""``python -m advkeras``."""

from advkeras.cli import main

if __name__ == "__main__":
    main()
