"""README's commands are those that are run."""

from pathlib import Path

REPOSITORY = Path(__file__).parents[1]


def test_ci_runs_readmes_second_command():
    second = "python3 -m venv .venv && . .venv/bin/activate && pip install -e '.[test]' && pytest -n 2"
    assert second in (REPOSITORY / "README.md").read_text().splitlines()
    # Without the exit, a failure inside the chain would not stop the script.
    assert f"{second} || exit 1" in (REPOSITORY / ".ci" / "run").read_text().splitlines()
