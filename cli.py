"""Runs advkeras from a checkout without installing it: ``python cli.py evaluate --dataset mnist``."""

from advkeras.cli import main

if __name__ == "__main__":
    main()
