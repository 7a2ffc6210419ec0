"""The images of a study, cut into slices of a fixed size: what a unit works on."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from advkeras import limits
from advkeras.arrays import FloatArray
from advkeras.datasets import DatasetSpec, LabelledImages
from advkeras.parameters import require_count

# Pixel values of a slice, 50 images of CIFAR-10: the tables' longest search takes a minute or two on two cores.
_VALUES = 50 * 32 * 32 * 3
_LEAST, _MOST = 8, 100
# Images of a run among which attacks look for what they start from.
_COMPANY = 100


@dataclass(frozen=True)
class Slice:
    """Images that a unit works on.

    Attributes:
        data: the images, with their true classes and places.
        number: of the slice, from 0.
        start: how many images come before it.
    """

    data: LabelledImages
    number: int
    start: int

    @cached_property
    def checksum(self) -> str:
        """Of images, true classes and places."""
        parts = (self.data.images, self.data.labels, self.data.places)
        return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()


def usual_size(spec: DatasetSpec) -> int:
    """Images of a slice where nobody says it: fewer of large ones."""
    return max(_LEAST, min(_MOST, _VALUES // math.prod(spec.shape)))


def slices_of(data: LabelledImages, size: int) -> tuple[Slice, ...]:
    """A study's images in slices; the last one may be smaller.

    Raises:
        InvalidInputError: if the size makes no sense, or results of such slices would be too large to be read again.
    """
    require_count(slice=size)
    pixels = min(size, len(data)) * math.prod(data.images.shape[1:])
    limits.require_room(2 * 4 * pixels, limits.UNIT, f"what is kept of a slice of {min(size, len(data)):,} images")
    parts = []
    for first in range(0, len(data), size):
        rows = slice(first, first + size)
        part = replace(data, images=data.images[rows], labels=data.labels[rows], places=data.places[rows])
        parts.append(Slice(part, first // size, first))
    return tuple(parts)


def company(data: LabelledImages) -> FloatArray:
    """Images that an attack may start from, the same for all slices."""
    return data.images[:_COMPANY]


def places_of(total: int, count: int) -> npt.NDArray[np.int64]:
    """The places of so many of a total, spread over it."""
    return np.linspace(0, total - 1, min(count, total)).round().astype(np.int64)


def checksum_of(parts: Sequence[Slice]) -> str:
    """Of all the images of a study, and of how they are cut."""
    return hashlib.sha256("".join(part.checksum for part in parts).encode()).hexdigest()
