"""Values of hyperparameters that may come from a command line, held against the dataclass that they are for."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_args

from advkeras.errors import InvalidInputError, unknown_name


def check_types(name: str, owner: Any, given: Mapping[str, Any]) -> None:
    """Holds values against the fields of a dataclass.

    Args:
        name: of the owner, for the message.
        owner: a dataclass.
        given: values by the fields' names.

    Raises:
        InvalidInputError: if there is no such field, or the value's type does not fit.
    """
    types = {field.name: field.type for field in fields(owner)}
    for parameter, value in given.items():
        if parameter not in types:
            raise InvalidInputError(unknown_name(f"parameter of {name}", parameter, tuple(types)))
        _check_type(parameter, value, types[parameter])


def _check_type(parameter: str, value: Any, annotation: Any) -> None:
    kinds = get_args(annotation) or (annotation,)
    for kind, accepted, words in (
        (bool, bool, "true or false"),
        (int, int, "a whole number"),
        (float, int | float, "a number"),
    ):
        if kind in kinds and (not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool)):
            raise InvalidInputError(f"{parameter} must be {words}. Received: {value!r}")
