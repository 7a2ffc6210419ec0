"""Types of arrays, and lengths of what lies between two images."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from advkeras.errors import InvalidInputError, first_line

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]
BoolArray = npt.NDArray[np.bool_]
# How many channels a picture may have: grey, colours, colours and transparency.
PICTURE_CHANNELS = (1, 3, 4)
# The class of an image whose logits are no numbers: the classifier does not classify it.
NO_CLASS = -1
Progress = Callable[[int, int], None]


def pixels_of(images: npt.ArrayLike) -> FloatArray:
    """Images as numbers of type float32; what is larger than these becomes infinite.

    Raises:
        InvalidInputError: if they are no numbers, or of several shapes.
    """
    try:
        array = np.asarray(images)
        if array.dtype.kind in "cmMOSU":
            raise TypeError(f"dtype {array.dtype}")
        with np.errstate(over="ignore"):
            return array.astype(np.float32, copy=False)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"images must be an array of numbers. Received: {first_line(error)}") from None


def linf(difference: npt.NDArray[Any]) -> FloatArray:
    """The largest change of a pixel, over all but the first axis: (N, ...) to (N,)."""
    return np.asarray(np.abs(difference).reshape(len(difference), -1).max(axis=1), np.float32)


def l2(difference: npt.NDArray[Any]) -> FloatArray:
    """Euclidean length over all but the first axis: (N, ...) to (N,)."""
    return np.asarray(np.sqrt(_squares(difference)), np.float32)


def rms(difference: npt.NDArray[Any]) -> FloatArray:
    """RMS over all but the first axis: (N, ...) to (N,). The paper's measure of distortion (section 4)."""
    return np.asarray(np.sqrt(_squares(difference) / np.prod(difference.shape[1:])), np.float32)


def _squares(difference: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Squared Euclidean length over all but the first axis, (N, ...) to (N,), with no copy of all in float64."""
    flat = np.asarray(difference).reshape(len(difference), -1)
    return np.asarray(np.einsum("ni,ni->n", flat, flat, dtype=np.float64))


def slack(bounds: tuple[float, float]) -> float:
    """By how much a distance may exceed an epsilon, in pixel units, and count as equal."""
    low, high = bounds
    return 1e-5 * (high - low)


def no_progress(done: int, total: int) -> None:
    """Reports to nobody."""
