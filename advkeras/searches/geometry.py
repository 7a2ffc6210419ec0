"""Lengths and directions in image space, as TensorFlow functions that no scale of pixels or gradients upsets."""

from typing import Any

import tensorflow as tf

from advkeras.models.pixel_grid import settled

# Rounds in which a point's distance is brought back to what it was before pixels met the bounds.
_NORM_ROUNDS = 3
# More of them, where pixels are rounded as well and a distance may be too long. In these a point goes no farther, once
# it has moved.
_GRID_ROUNDS = 3


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


def per_image(values: Any) -> Any:
    """(B,) as (B, 1, 1, 1), to go with images."""
    return tf.reshape(values, (-1, 1, 1, 1))
