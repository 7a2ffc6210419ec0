"""Commands whose arguments are held against their annotations before anything else happens."""

from collections.abc import Callable
from functools import wraps
from inspect import Parameter, signature
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import typer
from typer.models import OptionInfo, ParameterInfo

from advkeras.errors import InvalidInputError
from advkeras.parameters import held

C = TypeVar("C", bound=Callable[..., Any])


class CheckedTyper(typer.Typer):
    """Commands whose numbers are finite and in their intervals, whoever adds an option."""

    def command(self, *args: Any, **kwargs: Any) -> Callable[[C], C]:
        """Registers a command."""
        register = super().command(*args, **kwargs)
        return lambda command: register(_checked(command))


def _checked(command: C) -> C:
    """A command that refuses what its annotations do not allow."""
    hints = get_type_hints(command, include_extras=True)
    names = {each.name: option_name(each, hints.get(each.name)) for each in signature(command).parameters.values()}

    @wraps(command)
    def checked(*args: Any, **given: Any) -> Any:
        for name, value in given.items():
            for each, annotation in _parts(value, hints.get(name, Any)):
                held(names[name], each, annotation)
        return command(*args, **given)

    return checked  # type: ignore[return-value]


def _parts(value: Any, annotation: Any) -> list[tuple[Any, Any]]:
    """What an option's value consists of, where it takes several."""
    if not isinstance(value, list | tuple):
        return [(value, annotation)]
    return [(each, type(each)) for each in value]


def option_name(parameter: Parameter, annotation: Any) -> str:
    """As the user types it."""
    found = get_args(annotation) if get_origin(annotation) is Annotated else ()
    info = next((each for each in found if isinstance(each, ParameterInfo)), None)
    if not isinstance(info, OptionInfo):
        return parameter.name
    declared = [each for each in info.param_decls or () if each.startswith("--")]
    return declared[0].split("/")[0] if declared else f"--{parameter.name.replace('_', '-')}"


def refuse_empty(arguments: list[str]) -> None:
    """Raises an :class:`InvalidInputError` if an argument is nothing: it would be the folder ``.``, or no name."""
    for place, argument in enumerate(arguments):
        option, _, value = argument.partition("=")
        if argument.strip() and (not option.startswith("--") or "=" not in argument or value.strip()):
            continue
        before = arguments[place - 1] if place and arguments[place - 1].startswith("-") else "an argument"
        name = option if option.startswith("--") else before
        raise InvalidInputError(f"{name} must not be empty: leave it out, or give a value. Received: {argument!r}")
