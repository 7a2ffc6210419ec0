"""What an attack is given, held against what it takes: hyperparameters, and numbers for each image."""

from collections.abc import Mapping
from dataclasses import fields
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
import numpy.typing as npt

from advkeras.arrays import IntArray
from advkeras.errors import InvalidInputError, unknown_name
from advkeras.models import Classifier


def check_types(name: str, owner: Any, given: Mapping[str, Any]) -> None:
    """Holds values against the fields of a dataclass.

    Args:
        name: of the owner, for the message.
        owner: a dataclass.
        given: values by the fields' names.

    Raises:
        InvalidInputError: if there is no such field, or the value's type does not fit.
    """
    types = _annotations(owner)
    for parameter, value in given.items():
        if parameter not in types:
            raise InvalidInputError(unknown_name(f"parameter of {name}", parameter, tuple(types)))
        wanted = list(dict.fromkeys(_WORDS[kind] for kind in _plain_kinds(types[parameter])))
        if wanted and not _fits(value, types[parameter]):
            raise InvalidInputError(f"{parameter} must be {' or '.join(wanted)}. Received: {value!r}")


_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a word", type(None): "none"}
_ACCEPTED: dict[Any, tuple[type, ...]] = {
    int: (int, np.integer),
    float: (int, float, np.integer, np.floating),
    bool: (bool, np.bool_),
}


def _annotations(owner: Any) -> dict[str, Any]:
    """The fields' types; strings, where what they name is not known here."""
    try:
        known = get_type_hints(owner)
    except NameError:
        known = {}
    public = [field for field in fields(owner) if not field.name.startswith("_")]
    return {field.name: known.get(field.name, field.type) for field in public}


def _members(annotation: Any) -> tuple[Any, ...]:
    """Of a union; else itself."""
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _plain_kinds(annotation: Any) -> list[Any]:
    """The plain types that an annotation names; none, where it names another type, too, of which nothing is known."""
    kinds = []
    for member in _members(annotation):
        kinds += [type(value) for value in get_args(member)] if get_origin(member) is Literal else [member]
    return kinds if all(isinstance(kind, type) and kind in _WORDS for kind in kinds) else []


def _fits(value: Any, annotation: Any) -> bool:
    truth = isinstance(value, bool | np.bool_)
    return any(
        isinstance(value, _ACCEPTED.get(kind, (kind,))) and truth == (kind is bool) for kind in _plain_kinds(annotation)
    )


def check_classes(name: str, classes: npt.ArrayLike, count: int, classifier: Classifier) -> IntArray:
    """Classes as (N,) int32.

    Raises:
        InvalidInputError: if they are not as many whole numbers, or the classifier does not have such classes.
    """
    array = whole_numbers(name, classes, count)
    if array.min() < 0 or array.max() >= classifier.num_classes:
        raise InvalidInputError(
            f"{name} must lie in 0...{classifier.num_classes - 1}, the classes of {classifier.name}. "
            f"Received: {array.min()}...{array.max()}"
        )
    return array.astype(np.int32)


def whole_numbers(name: str, values: npt.ArrayLike, count: int) -> npt.NDArray[Any]:
    """Whole numbers, (N,).

    Raises:
        InvalidInputError: if they are something else.
    """
    array = np.asarray(values)
    if array.shape != (count,) or not np.issubdtype(array.dtype, np.integer):
        raise InvalidInputError(
            f"{name} must be {count} whole numbers, one for each image. Received: shape {array.shape}, {array.dtype}"
        )
    return array
