"""The command line, called as a user does, but in one process: a model of the zoo is loaded once."""

from functools import cache
from unittest.mock import patch

from click.testing import CliRunner
from typer.main import get_command

from advkeras.cli import app
from advkeras.models import Classifier, zoo

# Typer's own runner builds the program anew at every call.
PROGRAM = get_command(app)
_load = Classifier.load


@cache
def of_the_zoo(name: str, **options: object) -> Classifier:
    """A model of the zoo, and with it the graphs that tests have built on it."""
    return _load(name, **options)


def _kept(source: object, **options: object) -> Classifier:
    if source not in zoo.names():
        return _load(source, **options)
    as_in_card = options.get("bounds") == zoo.card(source).bounds
    given = {key: value for key, value in options.items() if value is not None and not (key == "bounds" and as_in_card)}
    return of_the_zoo(source, **given)


def run(*arguments: object, code: int | None = 0):
    with patch.object(Classifier, "load", _kept):
        result = CliRunner().invoke(PROGRAM, [str(argument) for argument in arguments])
    assert code is None or result.exit_code == code, result.output
    return result


def error_of(*arguments: object, code: int = 2) -> str:
    """The one line that a command prints on standard error before it exits."""
    lines = run(*arguments, code=code).stderr.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("Error: ")
    return lines[0]
