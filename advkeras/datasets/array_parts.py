"""Arrays of images and labels as a data set, in whatever form people keep them, read as far as they are needed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from advkeras import limits
from advkeras.datasets.found import EIGHT_BITS, Found, Wanted
from advkeras.datasets.loading import LabelledImages
from advkeras.datasets.normal_form import Array, Pixels, images_of, labels_of, require_images
from advkeras.errors import InvalidInputError

# Bytes of images that are looked at to see what their pixels stand for; most files have no more.
_LOOKED_AT = 2**26


@dataclass(frozen=True)
class Part:
    """A part of a data set, of which a file is read as far as that is needed.

    Attributes:
        shape: of the array of all images, known before they are read.
        row_size: bytes of an image.
        images: the first images; all where the number is None.
        labels: all labels.
    """

    shape: tuple[int, ...]
    row_size: int
    images: Callable[[int | None], Array]
    labels: Callable[[], Array]

    @classmethod
    def of(cls, images: Array, labels: Array) -> "Part":
        """The part that two arrays in memory are."""
        row_size = max(1, images.nbytes // max(1, len(images) if images.ndim else 1))
        return cls(images.shape, row_size, lambda rows: images[:rows], lambda: labels)


# For each part, what opens it.
Parts = Mapping[str, Callable[[], Part]]


def found_in(parts: Parts, wanted: Wanted, *, name: str, where: str, source: str) -> Found:
    """The data set of some arrays.

    Pixels of 8 bits, and others whose range says what white is, are scaled to the bounds; others are taken as they are,
    and so their bounds must be given. Of a large file the first images say it.

    Args:
        parts: ``test``, and ``train`` where there is such a part.
        wanted: how they are to be read.
        name: of the data set.
        where: for messages.
        source: where they come from, in words.

    Raises:
        InvalidInputError: if an array has not the shape or the type of images or labels, or bounds are needed.
    """

    @cache
    def opened(split: str) -> tuple[Part, Pixels, npt.NDArray[np.int32], tuple[str, ...] | None]:
        part = parts[split]()
        require_images(part.shape, where=where)
        limits.require_room(part.row_size, limits.PIECE, f"{where}: a single image")
        kept = part.images(max(1, _LOOKED_AT // part.row_size))
        pixels = images_of(kept, where=where, shape=wanted.shape, bounds=wanted.bounds)
        return (
            part,
            pixels,
            *labels_of(part.labels(), where=where, images=part.shape[0], class_names=wanted.class_names),
        )

    _, pixels, labels, names = opened("test")
    if wanted.bounds is None and pixels.unit is None:
        raise InvalidInputError(
            f"{where}: images of dtype {pixels.array.dtype} do not say their pixels' bounds: give them "
            "(--bounds LOW HIGH, in Python bounds=)"
        )
    bounds = wanted.bounds or EIGHT_BITS

    def read(split: str, examples: int | None) -> LabelledImages:
        part, kept, numbers, _ = opened(split)
        rows = part.shape[0] if examples is None else min(examples, part.shape[0])
        if rows > len(kept.array):
            kept = images_of(
                part.images(rows), where=where, shape=wanted.shape, bounds=wanted.bounds, unit=kept.unit or bounds
            )
        return LabelledImages(kept.first(rows, bounds), numbers[:rows], source, split)

    height, width, channels = pixels.array.shape[1:]
    return Found(
        name=name,
        bounds=bounds,
        shape=(height, width, channels),
        class_names=names,
        splits=tuple(parts),
        read=read,
        labels_seen=lambda: int(labels.max()) + 1,
    )
