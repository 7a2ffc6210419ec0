"""What an attack is given, held against what it takes: hyperparameters, and numbers for each image."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, get_args

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
