"""Images and labels as people keep them, made (N, H, W, C) and (N,)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from advkeras.arrays import PICTURE_CHANNELS
from advkeras.datasets.found import EIGHT_BITS, Bounds, Shape
from advkeras.errors import InvalidInputError

Array = npt.NDArray[Any]

_BITS, _SIXTEEN_BITS = (0.0, 1.0), (0.0, 65535.0)
_FOURTEEN_BITS = 2**14


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
        pixels = self.array[:count].astype(np.float32)
        if self.unit is None or self.unit == bounds:
            return pixels
        (low, high), (least, most) = bounds, self.unit
        return (low + (pixels - least) * ((high - low) / (most - least))).astype(np.float32)


def images_of(array: Array, *, where: str, shape: Shape | None, bounds: Bounds | None) -> Pixels:
    """Images as (N, H, W, C): a missing channel axis is added, and channels that come first go last.

    Booleans and whole numbers say their unit by their range: 0 and 1, 8 bits, or 16. So do floating-point numbers that
    are whole ones from 0 to 255, unless the bounds say that they are meant as they are.

    Args:
        array: of numbers or booleans.
        where: for messages.
        shape: height, width and channels that images should have.
        bounds: that the images should have.

    Raises:
        InvalidInputError: if it is not that, or pixels are not finite.
    """
    if not (np.issubdtype(array.dtype, np.number) or array.dtype == bool) or np.iscomplexobj(array):
        raise InvalidInputError(f"{where}: images must be numbers. Received: dtype {array.dtype}")
    if array.ndim not in (3, 4) or not array.size:
        raise InvalidInputError(
            f"{where}: images must have the shape (N, H, W, C), (N, H, W) or (N, C, H, W). Received: {array.shape}"
        )
    if np.issubdtype(array.dtype, np.floating):
        odd = np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(axis=1))
        if len(odd):
            raise InvalidInputError(f"{where}: pixels must be finite. Received: NaN or infinite ones in image {odd[0]}")
    formed = array[..., np.newaxis] if array.ndim == 3 else array
    return Pixels(_channels_last(formed, shape), _unit_of(array, bounds, where))


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
    if flat.shape[:1] != (images,) or flat.ndim not in (1, 2):
        raise InvalidInputError(f"{where}: expected a label for each of {images:,} images. Received: {array.shape}")
    if flat.ndim == 2:
        if not _is_number(flat) or not (((flat == 0) | (flat == 1)).all() and (flat.sum(axis=1) == 1).all()):
            raise InvalidInputError(
                f"{where}: labels must be (N,), or one-hot rows (N, classes). Received: {array.shape}, row 0: {flat[0]}"
            )
        return flat.argmax(axis=1).astype(np.int32), None
    if flat.dtype.kind in "SUO":
        return _named(flat, where, class_names)
    if not _is_number(flat) or not (np.isfinite(flat).all() and (flat == np.rint(flat)).all() and (flat >= 0).all()):
        raise InvalidInputError(f"{where}: labels must be whole numbers from 0. Received: {flat[:3]}, {flat.dtype}")
    if flat.max() >= 2**31:
        raise InvalidInputError(f"{where}: labels must be whole numbers from 0. Received: {flat.max()}")
    return flat.astype(np.int32), None


def _is_number(array: Array) -> bool:
    return array.dtype.kind in "biuf"


def _named(
    flat: Array, where: str, known: Sequence[str] | None
) -> tuple[npt.NDArray[np.int32], tuple[str, ...] | None]:
    texts = [each.decode(errors="replace") if isinstance(each, bytes) else str(each) for each in flat.tolist()]
    if all(text.isdecimal() for text in texts):
        return np.array([int(text) for text in texts], np.int32), None
    seen = sorted(set(texts))
    # Other names for the same number of classes are names to show.
    names = tuple(known) if known is not None and set(seen) <= set(known) else tuple(seen)
    if known is not None and names != tuple(known) and len(known) != len(names):
        strange = next(text for text in seen if text not in known)
        raise InvalidInputError(f"{where}: the label {strange!r} is none of the classes {', '.join(known)}")
    return np.array([names.index(text) for text in texts], np.int32), names


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
