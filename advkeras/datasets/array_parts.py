"""Arrays of images and labels as a data set, in whatever form people keep them."""

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
import numpy.typing as npt

from advkeras.datasets.found import EIGHT_BITS, Found, Wanted
from advkeras.datasets.loading import LabelledImages
from advkeras.datasets.normal_form import Array, Pixels, images_of, labels_of
from advkeras.errors import InvalidInputError

# For each part, the reader of its images and labels.
Parts = Mapping[str, Callable[[], tuple[Array, Array]]]


def found_in(parts: Parts, wanted: Wanted, *, name: str, where: str, source: str) -> Found:
    """The data set of some arrays.

    Pixels of 8 bits, and others whose range says what white is, are scaled to the bounds; others are taken as they are,
    and so their bounds must be given.

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
    def normal(split: str) -> tuple[Pixels, npt.NDArray[np.int32], tuple[str, ...] | None]:
        images, labels = parts[split]()
        pixels = images_of(images, where=where, shape=wanted.shape, bounds=wanted.bounds)
        return pixels, *labels_of(labels, where=where, images=len(pixels.array), class_names=wanted.class_names)

    pixels, labels, names = normal("test")
    if wanted.bounds is None and pixels.unit is None:
        raise InvalidInputError(
            f"{where}: images of dtype {pixels.array.dtype} do not say their pixels' bounds: give them "
            "(--bounds LOW HIGH, in Python bounds=)"
        )
    bounds = wanted.bounds or EIGHT_BITS

    def read(split: str, examples: int | None) -> LabelledImages:
        kept, numbers, _ = normal(split)
        return LabelledImages(kept.first(examples, bounds), numbers[:examples], source, split)

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
