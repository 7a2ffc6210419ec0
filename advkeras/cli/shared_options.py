"""Options that a command shares with others: the fields of a dataclass."""

from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Any


def with_options_of(kind: type[Any], argument: str, command: Callable[..., None]) -> Callable[..., None]:
    """A command with the fields of a dataclass as its options, too; it is handed an object of that class.

    Args:
        kind: the dataclass, whose fields are annotated as Typer's options are.
        argument: of the command, that takes the object.
        command: the function.
    """

    @wraps(command)
    def with_options(**given: Any) -> None:
        chosen = {field.name: given.pop(field.name) for field in fields(kind)}
        command(**given, **{argument: kind(**chosen)})

    shared = [
        Parameter(field.name, Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type)
        for field in fields(kind)
    ]
    own = [each for each in signature(command).parameters.values() if each.name != argument]
    parameters = [*shared, *(each.replace(kind=Parameter.KEYWORD_ONLY) for each in own)]
    # What Typer reads the options from.
    with_options.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {each.name: each.annotation for each in parameters}
    return with_options
