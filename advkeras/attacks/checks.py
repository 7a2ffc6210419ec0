"""What an attack is given, held against what it takes: hyperparameters, and numbers for each image."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from advkeras.arrays import IntArray
from advkeras.errors import InvalidInputError, unknown_name
from advkeras.models import Classifier
from advkeras.parameters import LARGEST_WHOLE, annotations_of, held


def check_parameters(name: str, owner: Any, given: Mapping[str, Any]) -> None:
    """Holds values against the fields of a dataclass.

    Args:
        name: of the owner, for the message.
        owner: a dataclass.
        given: values by the fields' names.

    Raises:
        InvalidInputError: if there is no such field, or the value does not fit.
    """
    annotations = annotations_of(owner)
    for parameter, value in given.items():
        if parameter not in annotations:
            raise InvalidInputError(unknown_name(f"parameter of {name}", parameter, tuple(annotations)))
        held(parameter, value, annotations[parameter])


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


def check_places(places: npt.ArrayLike, count: int) -> IntArray:
    """Images' places in a data set as (N,) int32.

    Raises:
        InvalidInputError: if they are not as many whole numbers from 0.
    """
    array = whole_numbers("places", places, count)
    if array.min() < 0 or array.max() > LARGEST_WHOLE:
        raise InvalidInputError(f"places must lie in 0...{LARGEST_WHOLE}. Received: {array.min()}...{array.max()}")
    return array.astype(np.int32)


def whole_numbers(name: str, values: npt.ArrayLike, count: int) -> npt.NDArray[Any]:
    """Whole numbers of any size, (N,).

    Raises:
        InvalidInputError: if they are something else.
    """
    array = np.asarray(values)
    if array.shape != (count,) or not np.issubdtype(array.dtype, np.integer):
        raise InvalidInputError(
            f"{name} must be {count} whole numbers, one for each image. Received: shape {array.shape}, {array.dtype}"
        )
    return array
