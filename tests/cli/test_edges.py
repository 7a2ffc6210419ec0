"""Every option of every command at its edges, from the commands' own signatures: a new option is in it by itself."""

from collections.abc import Callable, Iterator
from inspect import Parameter, signature
from typing import Any, get_args, get_type_hints

import pytest
import typer
from click.testing import CliRunner
from typer.models import ArgumentInfo, OptionInfo

from advkeras.cli import app
from advkeras.cli.checked import option_name

from ..commands import PROGRAM

# What zero means something for, and minus one nothing.
ZERO_IS_FINE = {
    *("--seed", "--epsilon", "--radius", "--weight-decay", "--average", "--ramp-epochs", "--trades-weight"),
    *("--validation", "--target", "--instance", "--version"),
}
# A pair of them, of which -1 may be the lower.
MAY_BE_NEGATIVE = {"--bounds"}


def commands(program: typer.Typer, *path: str) -> Iterator[tuple[tuple[str, ...], Callable[..., Any]]]:
    for command in program.registered_commands:
        yield (*path, command.name or command.callback.__name__), command.callback
    for group in program.registered_groups:
        yield from commands(group.typer_instance, *path, group.name)


COMMANDS = dict(commands(app))


def parameters(command: Callable[..., Any]) -> Iterator[tuple[str, Parameter, Any, Any]]:
    """Of each option and argument: its name, and what the signature, the annotation and Typer know of it."""
    hints = get_type_hints(command, include_extras=True)
    for parameter in signature(command).parameters.values():
        annotation = hints[parameter.name]
        infos = [each for each in get_args(annotation) if isinstance(each, OptionInfo | ArgumentInfo)]
        if infos:
            yield option_name(parameter, annotation), parameter, get_args(annotation)[0], infos[0]


def needed(command: Callable[..., Any], but: str) -> list[str]:
    """What a command asks for, apart from one option."""
    given: list[str] = []
    for name, parameter, _, info in parameters(command):
        if parameter.default is Parameter.empty and name != but:
            given += ["x"] if isinstance(info, ArgumentInfo) else [name, "x"]
    return given


def edges_of(name: str, annotation: Any) -> Iterator[list[str]]:
    """Words of the command line that give an option what it cannot have."""
    kinds = set(get_args(annotation)) or {annotation}
    if bool in kinds:
        return
    values = [""]
    if kinds & {int, float}:
        values += ["nan", "inf", "-inf", "1e400", "1000000000000", "-1000000000000", "x"]
        values += [] if name in MAY_BE_NEGATIVE else ["-1"]
        values += [] if name in {*ZERO_IS_FINE, *MAY_BE_NEGATIVE} else ["0"]
    for value in values:
        is_pair = len(get_args(next(iter(kinds)))) == 2 or name in ("--bounds", "--arrays")
        yield [name, value, value] if is_pair else [f"{name}={value}"]


def said(arguments: list[str]) -> tuple[int, list[str]]:
    result = CliRunner().invoke(PROGRAM, arguments)
    return result.exit_code, result.stderr.strip().splitlines()


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_an_option_at_its_edge_is_refused_by_name_in_one_line(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wrong = []
    for name, _, annotation, info in parameters(COMMANDS[path]):
        for words in edges_of(name, annotation) if isinstance(info, OptionInfo) else ():
            code, lines = said([*path, *needed(COMMANDS[path], name), *words])
            if code != 2 or len(lines) != 1 or name not in lines[0]:
                wrong.append((words, code, lines))
    assert not wrong
    assert not list(tmp_path.iterdir())


def test_there_are_options_to_try():
    every = (each for command in COMMANDS.values() for each in parameters(command))
    tried = [words for name, _, annotation, _ in every for words in edges_of(name, annotation)]
    assert len(tried) > 300


@pytest.mark.parametrize("arguments", [("evaluate", "--attack", ","), ("detect", "--train-attack", " , ")])
def test_a_list_of_no_names_is_refused(arguments):
    code, lines = said(list(arguments))
    assert code == 2
    assert lines == [f"Error: names are separated by commas. Received: names={arguments[-1]!r}"]
