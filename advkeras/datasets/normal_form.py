"""Images and labels as people keep them, made (N, H, W, C) and (N,)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from advkeras.arrays import PICTURE_CHANNELS
from advkeras.datasets.found import EIGHT_BITS, Bounds, Shape
from advkeras.errors import InvalidInputError, plain_text

Array = npt.NDArray[Any]

_BITS, _SIXTEEN_BITS = (0.0, 1.0), (0.0, 65535.0)
_FOURTEEN_BITS = 2**14
# Of one data set, at most.
_MOST_CLASSES, _MOST_IMAGES = 10**6, 10**8


@dataclass(frozen=True)
class Pixels:
    """Images in the form (N, H, W, C).

    Attributes:
        array: of any number type.
        unit: what the lowest and the highest pixel value stand for in the array; None where it does not say so.
    """

    array: Array
    unit: Bounds | None

    def first(self, count: int | None, bounds: Bounds) -> npt.NDArray[np.float32]:
        """The first images, scaled from their unit to bounds where they say it; all where the number is None."""
        with np.errstate(over="ignore"):  # what becomes infinite lies outside all bounds
            pixels = self.array[:count].astype(np.float32)
        if self.unit is None or self.unit == bounds:
            return pixels
        (low, high), (least, most) = bounds, self.unit
        return (low + (pixels - least) * ((high - low) / (most - least))).astype(np.float32)


def require_images(shape: Sequence[int], *, where: str) -> None:
    """Makes sure that an array has the shape of images, and that there are some.

    Raises:
        InvalidInputError: if not.
    """
    if len(shape) not in (3, 4):
        raise InvalidInputError(
            f"{where}: images must have the shape (N, H, W, C), (N, H, W) or (N, C, H, W). Received: {tuple(shape)}"
        )
    if not math.prod(shape):
        what = "no images" if not shape[0] else "images without pixels"
        raise InvalidInputError(f"{where} has {what}. Received: an array of shape {tuple(shape)}")
    if shape[0] > _MOST_IMAGES:
        raise InvalidInputError(f"{where}: at most {_MOST_IMAGES:,} images are read. Received: {shape[0]:,}")


def images_of(
    array: Array, *, where: str, shape: Shape | None, bounds: Bounds | None, unit: Bounds | None = None
) -> Pixels:
    """Images as (N, H, W, C): a missing channel axis is added, and channels that come first go last.

    Booleans and whole numbers say their unit by their range: 0 and 1, 8 bits, or 16. So do floating-point numbers that
    are whole ones from 0 to 255, unless the bounds say that they are meant as they are.

    Args:
        array: of numbers or booleans.
        where: for messages.
        shape: height, width and channels that images should have.
        bounds: that the images should have.
        unit: what the lowest and the highest pixel value stand for, where that is known.

    Raises:
        InvalidInputError: if it is not that, or pixels are not finite.
    """
    if not _is_number(array):
        raise InvalidInputError(f"{where}: images must be numbers. Received: dtype {array.dtype}")
    require_images(array.shape, where=where)
    if np.issubdtype(array.dtype, np.floating):
        odd = np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(axis=1))
        if len(odd):
            raise InvalidInputError(f"{where}: pixels must be finite. Received: NaN or infinite ones in image {odd[0]}")
    formed = array[..., np.newaxis] if array.ndim == 3 else array
    return Pixels(_channels_last(formed, shape), unit or _unit_of(array, bounds, where))


def labels_of(
    array: Array, *, where: str, images: int, class_names: Sequence[str] | None = None
) -> tuple[npt.NDArray[np.int32], tuple[str, ...] | None]:
    """Labels as whole numbers (N,), from those, from a column, one-hot rows, whole floats, booleans or names.

    Args:
        array: of labels.
        where: for messages.
        images: how many there are.
        class_names: in their order; names are sorted by default.

    Returns:
        The labels, and the names of the classes where the labels are names.

    Raises:
        InvalidInputError: if they are none of these, or not as many as the images.
    """
    flat = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if flat.shape[:1] != (images,) or flat.ndim not in (1, 2) or not flat.size:
        raise InvalidInputError(f"{where}: expected a label for each of {images:,} images. Received: {array.shape}")
    if flat.ndim == 2:
        if not _is_number(flat) or not (((flat == 0) | (flat == 1)).all() and (flat.sum(axis=1) == 1).all()):
            raise InvalidInputError(
                f"{where}: labels must be (N,), or one-hot rows (N, classes). Received: {array.shape}, row 0: "
                f"{plain_text(flat[0], 100)}"
            )
        return _numbered(flat.argmax(axis=1), where), None
    if flat.dtype.kind in "SUO":
        return _named(flat, where, class_names)
    if not _is_number(flat) or not (np.isfinite(flat).all() and (flat == np.rint(flat)).all() and (flat >= 0).all()):
        received = plain_text(flat[:3], 100)
        raise InvalidInputError(f"{where}: labels must be whole numbers from 0. Received: {received}, {flat.dtype}")
    return _numbered(flat, where), None


def _is_number(array: Array) -> bool:
    return array.dtype.kind in "biuf"


def _named(
    flat: Array, where: str, known: Sequence[str] | None
) -> tuple[npt.NDArray[np.int32], tuple[str, ...] | None]:
    texts = [each.decode(errors="replace") if isinstance(each, bytes) else str(each) for each in flat.tolist()]
    if all(text.isdecimal() for text in texts):
        longest = max(texts, key=len)
        if len(longest) > len(str(_MOST_CLASSES)):
            raise _no_label(where, longest)
        return _numbered(np.array([int(text) for text in texts]), where), None
    seen = sorted(set(texts))
    # Other names for the same number of classes are names to show.
    names = tuple(known) if known is not None and set(seen) <= set(known) else tuple(seen)
    if known is not None and names != tuple(known) and len(known) != len(names):
        strange = next(text for text in seen if text not in known)
        raise InvalidInputError(
            f"{where}: the label {plain_text(strange, 60)!r} is none of the classes {plain_text(', '.join(known))}"
        )
    place = {name: number for number, name in reversed([*enumerate(names)])}
    return _numbered(np.array([place[text] for text in texts]), where), names


def _numbered(labels: Array, where: str) -> npt.NDArray[np.int32]:
    if labels.max() >= _MOST_CLASSES:
        raise _no_label(where, labels.max())
    return labels.astype(np.int32)


def _no_label(where: str, received: object) -> InvalidInputError:
    return InvalidInputError(
        f"{where}: labels must be whole numbers from 0 to {_MOST_CLASSES - 1:,}. Received: {plain_text(received, 100)}"
    )


def _channels_last(array: Array, shape: Shape | None) -> Array:
    moved = np.moveaxis(array, 1, -1)
    if shape is not None and shape in (array.shape[1:], moved.shape[1:]):
        return array if array.shape[1:] == shape else moved
    first, last = array.shape[1], array.shape[3]
    return moved if first in PICTURE_CHANNELS and last not in PICTURE_CHANNELS else array


def _unit_of(array: Array, bounds: Bounds | None, where: str) -> Bounds | None:
    """What the lowest and the highest value stand for, where the range says so without doubt."""
    least, most = float(array.min()), float(array.max())
    if np.issubdtype(array.dtype, np.floating):
        meant = bounds is not None and most <= bounds[1] + 1e-5 * (bounds[1] - bounds[0])
        whole = not meant and least >= 0 and 1 < most <= EIGHT_BITS[1] and np.array_equal(array, np.rint(array))
        return EIGHT_BITS if whole else None
    # The smallest unit that holds them. Numbers of 12 or 14 bits are kept in 16, too, and so say nothing.
    for unit in (_BITS, EIGHT_BITS):
        if least >= 0 and most <= unit[1]:
            return unit
    if least >= 0 and _FOURTEEN_BITS <= most <= _SIXTEEN_BITS[1]:
        return _SIXTEEN_BITS
    raise InvalidInputError(
        f"{where}: whole numbers from {least:g} to {most:g} do not say what white is: scale them to 8 bits, or to "
        f"floating-point numbers within the bounds. Received: dtype {array.dtype}"
    )
