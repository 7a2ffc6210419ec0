"""Lengths and directions in image space, as TensorFlow functions."""

from typing import Any

import tensorflow as tf

# Rounds in which a point's distance is brought back to what it was before pixels met the bounds.
_NORM_ROUNDS = 3


def along(images: Any, direction: Any, norm: Any, bounds: tuple[float, float]) -> Any:
    """The points at a Euclidean distance from images along a direction, within the bounds: (B, H, W, C).

    Pixels that meet a bound stay there, and the others go on until the distance is reached, approximately and as far as
    there is room.

    Args:
        images: (B, H, W, C).
        direction: (B, H, W, C), of any length.
        norm: (B,), in pixel units.
        bounds: lowest and highest pixel value.
    """
    scale = norm / tf.maximum(length(direction), 1e-12)
    points = tf.clip_by_value(images + per_image(scale) * direction, *bounds)
    for _ in range(_NORM_ROUNDS):
        scale *= tf.clip_by_value(norm / tf.maximum(length(points - images), 1e-12), 1.0, 2.0)
        points = tf.clip_by_value(images + per_image(scale) * direction, *bounds)
    return points


def length(values: Any) -> Any:
    """Euclidean length over all but the first axis: (B, H, W, C) to (B,)."""
    return tf.sqrt(tf.reduce_sum(tf.square(values), axis=[1, 2, 3]))


def per_image(values: Any) -> Any:
    """(B,) as (B, 1, 1, 1), to go with images."""
    return values[:, None, None, None]
