"""The command line, called as a user does."""

from typer.testing import CliRunner

from advkeras.cli import app


def run(*arguments: object, code: int = 0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


def error_of(*arguments: object, code: int = 2) -> str:
    """The one line that a command prints on standard error before it exits."""
    lines = run(*arguments, code=code).stderr.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("Error: ")
    return lines[0]
