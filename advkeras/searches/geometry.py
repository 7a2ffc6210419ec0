"""Lengths and directions in image space, as TensorFlow functions that no scale of pixels or gradients upsets."""

import math
from typing import Any

import tensorflow as tf

from advkeras.models.pixel_grid import settled, step_of

# Rounds in which a point's distance is brought back to what it was before pixels met the bounds.
_NORM_ROUNDS = 3
# More of them, where pixels are rounded as well and a distance may be too long. In these a point goes no farther, once
# it has moved.
_GRID_ROUNDS = 3
# Rounds in which the farthest picture along a direction is found, each of which halves what is left, and how far, in
# powers of 2, the largest entry may have to go beyond the distance where other pixels meet the bounds.
_PICTURE_ROUNDS, _BEYOND = 15, 6.0
# By what share of a step, at most, entries that are equal move on earlier or later.
_UNEVEN = 0.02
# By what share a picture may be farther away: a whole number of steps is not one in float32.
_ROUNDING = 1e-6


def along(images: Any, direction: Any, norm: Any, bounds: tuple[float, float], levels: int | None = None) -> Any:
    """The points at a Euclidean distance from images along a direction, within the bounds: (B, H, W, C).

    Pixels that meet a bound stay there, and the others go on until the distance is reached, approximately and as far as
    there is room. So do those that are rounded to the values of a picture.

    Args:
        images: (B, H, W, C).
        direction: (B, H, W, C), of any length; zero stays at the image.
        norm: (B,), in pixel units.
        bounds: lowest and highest pixel value.
        levels: how many values a pixel may have; any number by default.
    """
    forward = unit(direction)
    scale = norm
    points = settled(images + per_image(scale) * forward, bounds, levels)
    # Rounding makes a distance longer or shorter; clipping makes it shorter. Below half a step nothing moves.
    least, rounds = (1.0, _NORM_ROUNDS) if levels is None else (0.5, _NORM_ROUNDS + _GRID_ROUNDS)
    for number in range(rounds):
        reached = length(points - images)
        change = tf.where(reached > 0, tf.math.divide_no_nan(norm, reached), 2.0 if levels else 0.0)
        most = 2.0 if number < _NORM_ROUNDS else tf.where(reached > 0, 1.0, 2.0)
        scale *= tf.clip_by_value(change, least, most)
        points = settled(images + per_image(scale) * forward, bounds, levels)
    return points


def pictures_within(images: Any, direction: Any, norm: Any, bounds: tuple[float, float], levels: int) -> Any:
    """The farthest pictures along a direction within a Euclidean distance from pictures: (B, H, W, C).

    Each pixel is as far as the direction says, but for rounding. Where the distance is too short for all pixels to
    move, those with the largest entries do; :func:`along` would leave most of such images where they are.

    Args:
        images: (B, H, W, C), pictures.
        direction: (B, H, W, C), of any length; zero stays at the image.
        norm: (B,), in pixel units.
        bounds: lowest and highest pixel value.
        levels: how many values a pixel may have.
    """
    (low, high), step = bounds, step_of(bounds, levels)
    up = direction > 0
    free = where_entries((up & (images < high - step / 2)) | (~up & (images > low + step / 2)), direction)
    forward = step * tf.math.divide_no_nan(free, per_image(largest_entry(free)))
    # Entries that are equal would move together or not at all.
    uneven = tf.linspace(-_UNEVEN, _UNEVEN, math.prod(images.shape[1:]))
    nudged = images + step * tf.sign(free) * tf.reshape(uneven, (1, *images.shape[1:]))

    def pictures(power: Any) -> Any:
        return settled(nudged + per_image(tf.pow(2.0, power)) * forward, bounds, levels)

    # The length grows with the power, so that halving finds it.
    def halved(index: Any, least: Any, most: Any) -> tuple[Any, Any, Any]:
        middle = (least + most) / 2
        fits = length(pictures(middle) - images) <= norm * (1 + _ROUNDING)
        return index + 1, tf.where(fits, middle, least), tf.where(fits, most, middle)

    # Below half a step nothing moves.
    nothing = tf.fill(tf.shape(norm), tf.constant(math.log2(0.5 - 1.1 * _UNEVEN), tf.float32))
    most = tf.math.log(norm / step + 1.0) / math.log(2.0) + _BEYOND
    _, least, _ = tf.while_loop(
        lambda index, *_: index < _PICTURE_ROUNDS, halved, (tf.constant(0), nothing, most), parallel_iterations=1
    )
    return pictures(least)


def length(values: Any) -> Any:
    """Euclidean length over all but the first axis: (B, H, W, C) to (B,). Squares neither vanish nor overflow."""
    largest = largest_entry(values)
    scaled = tf.math.divide_no_nan(values, per_image(largest))
    return largest * tf.sqrt(tf.reduce_sum(tf.square(scaled), axis=[1, 2, 3]))


def unit(values: Any) -> Any:
    """The values (B, H, W, C), each image's divided by its Euclidean length; zero where that is zero."""
    scaled = tf.math.divide_no_nan(values, per_image(largest_entry(values)))
    return tf.math.divide_no_nan(scaled, per_image(tf.sqrt(tf.reduce_sum(tf.square(scaled), axis=[1, 2, 3]))))


def largest_entry(values: Any) -> Any:
    """Largest absolute value over all but the first axis: (B, H, W, C) to (B,)."""
    return tf.reduce_max(tf.abs(values), axis=[1, 2, 3])


def where_images(mask: Any, images: Any, others: Any) -> Any:
    """The images (B, H, W, C) where the mask (B,) says so, and the others where it does not.

    It copies whole images. ``tf.where`` goes entry by entry, and takes up to twenty times as long on CPUs.
    """
    return tf.raw_ops.Select(condition=mask, x=images, y=others)


def where_entries(mask: Any, values: Any) -> Any:
    """The values (B, H, W, C) where the mask, of the same shape, says so, and 0 where it does not: without a branch."""
    return tf.math.multiply_no_nan(values, tf.cast(mask, values.dtype))


def per_image(values: Any) -> Any:
    """(B,) as (B, 1, 1, 1), to go with images."""
    return tf.reshape(values, (-1, 1, 1, 1))
