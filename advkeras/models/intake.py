"""How images (N, H, W, C) are handed to networks that take them otherwise: without channels, flat, channels first."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from advkeras.arrays import PICTURE_CHANNELS
from advkeras.errors import InvalidInputError, UnknownShapeError
from advkeras.parameters import Count, held


@dataclass(frozen=True)
class Intake:
    """How a network takes images.

    Attributes:
        shape: height, width and channels of the images.
        prepare: from images (B, H, W, C) to what the network takes.
        batch: how many it takes at once; None for any number.
    """

    shape: tuple[int, int, int]
    prepare: Callable[[Any], Any]
    batch: int | None = None


def intake(
    taken: Sequence[int | None] | None,
    *,
    name: str,
    shape: tuple[int, int, int] | None = None,
    channels_first: bool | None = None,
) -> Intake:
    """How a network takes images.

    Args:
        taken: the shape of its input with the batch, None where a size is free; None where it says nothing.
        name: of the network, for messages.
        shape: of the images, where it is known: height, width, channels. Used where the network leaves it open.
        channels_first: whether its input has the channels first; found out by their number by default.

    Raises:
        UnknownShapeError: if the network leaves open what only the images say.
        InvalidInputError: if it takes no images.
    """
    sizes = None if taken is None else tuple(taken)
    if sizes is not None and (not 2 <= len(sizes) <= 4 or not all(_is_size(size) for size in sizes)):
        raise InvalidInputError(f"{name} must take one batch of images. Received: an input of shape {taken}")
    batch, free = (None, (None, None, None)) if sizes is None else (sizes[0], sizes[1:])
    if len(free) == 1:
        return Intake(_flat(free[0], shape, name), lambda images: tf.reshape(images, (-1, free[0])), batch)
    if len(free) == 2:
        height, width, _ = _filled((*free, 1), shape, name)
        return Intake((height, width, 1), lambda images: images[..., 0], batch)
    if _channels_first(free, shape) if channels_first is None else channels_first:
        channels, *sides = free
        return Intake(
            _filled((*sides, channels), shape, name), lambda images: tf.transpose(images, (0, 3, 1, 2)), batch
        )
    return Intake(_filled(free, shape, name), lambda images: images, batch)


def require_image_shape(name: str, shape: Any) -> tuple[int, int, int]:
    """Height, width and channels of images.

    Args:
        name: of what is a shape, for the message.
        shape: to be looked at.

    Raises:
        InvalidInputError: if they are not three whole numbers from 1.
    """
    try:
        height, width, channels = shape
    except (TypeError, ValueError):
        raise InvalidInputError(f"{name} must be (height, width, channels). Received: {name}={shape!r}") from None
    return held(name, height, Count), held(name, width, Count), held(name, channels, Count)


def in_batches_of(function: Callable[[Any], Any], batch: int) -> Callable[[Any], Any]:
    """A function of any number of images (N, ...), for one of a fixed number; the last batch is filled with copies.

    Args:
        function: from (batch, H, W, C) to (batch, classes) float32.
        batch: images at once.
    """

    def whole(images: Any) -> Any:
        count = tf.shape(images)[0]
        copies = tf.repeat(images[:1], -count % batch, axis=0)
        parts = tf.reshape(tf.concat([images, copies], axis=0), (-1, batch, *images.shape[1:]))
        found = tf.map_fn(function, parts, fn_output_signature=tf.float32)
        return tf.reshape(found, (-1, found.shape[-1]))[:count]

    return whole


def _is_size(size: Any) -> bool:
    return size is None or (isinstance(size, int) and size > 0)


def _channels_first(free: Sequence[int | None], shape: tuple[int, int, int] | None) -> bool:
    first, height, width = free
    if shape is not None:
        fits = [
            all(size in (None, wanted) for size, wanted in zip(sizes, shape, strict=True))
            for sizes in ((height, width, first), free)
        ]
        return fits[0] and not fits[1]
    # A network's height or width is seldom as small as that.
    return first in PICTURE_CHANNELS and width is not None and width not in PICTURE_CHANNELS


def _filled(free: Sequence[int | None], shape: tuple[int, int, int] | None, name: str) -> tuple[int, int, int]:
    if None in free and shape is None:
        raise UnknownShapeError(f"{name} takes images of any size: give shape=(HEIGHT, WIDTH, CHANNELS)")
    sizes = tuple(size if size is not None else (shape or ())[place] for place, size in enumerate(free))
    height, width, channels = (int(size) for size in sizes)
    return height, width, channels


def _flat(features: int | None, shape: tuple[int, int, int] | None, name: str) -> tuple[int, int, int]:
    if shape is None:
        raise UnknownShapeError(
            f"{name} takes {features} numbers for each image: give shape=(HEIGHT, WIDTH, CHANNELS) of the images"
        )
    if features not in (None, math.prod(shape)):
        raise InvalidInputError(f"{name} takes {features} numbers for each image. Received: images of shape {shape}")
    return shape
