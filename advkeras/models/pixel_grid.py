"""Examples that exist as pictures: points whose pixels have one of some values, evenly spaced between the bounds."""

from typing import Any

import numpy as np
import tensorflow as tf

from advkeras.arrays import FloatArray

# Of a step: how far a pixel may be from a value and count as on it.
_SLACK = 1e-3


def step_of(bounds: tuple[float, float], levels: int) -> float:
    """The distance between two neighbouring values of a pixel."""
    low, high = bounds
    return (high - low) / (levels - 1)


def settled(points: Any, bounds: tuple[float, float], levels: int | None) -> Any:
    """The nearest points within the bounds that pictures can have, as a TensorFlow function; any, without levels."""
    clipped = tf.clip_by_value(points, *bounds)
    if levels is None:
        return clipped
    low, step = bounds[0], step_of(bounds, levels)
    # As 8-bit pictures are scaled when they are read, to the bit.
    return low + tf.round((clipped - low) / step) * step


def settled_arrays(points: FloatArray, bounds: tuple[float, float], levels: int | None) -> FloatArray:
    """As :func:`settled`, of arrays."""
    return np.asarray(settled(tf.constant(points, tf.float32), bounds, levels).numpy())


def on_grid(images: FloatArray, bounds: tuple[float, float], levels: int) -> bool:
    """Whether images are such pictures."""
    nearest = settled_arrays(images, bounds, levels)
    return bool(np.abs(images - nearest).max() <= _SLACK * step_of(bounds, levels))


def towards(images: FloatArray, points: FloatArray, bounds: tuple[float, float], levels: int) -> FloatArray:
    """Pictures between pictures and points, as near to the points as they can be: no change of a pixel gets larger."""
    step = step_of(bounds, levels)
    whole = np.trunc((points - images) / step * (1 + _SLACK))
    return settled_arrays(np.asarray(images + whole * step, np.float32), bounds, levels)


def beyond(images: Any, points: Any, bounds: tuple[float, float], levels: int) -> Any:
    """Pictures on the far side of points, seen from pictures, as a TensorFlow function: no change gets smaller."""
    step = step_of(bounds, levels)
    change = (points - images) / step
    return settled(images + tf.sign(change) * tf.math.ceil(tf.abs(change) - _SLACK) * step, bounds, levels)


def reach(epsilon: float, bounds: tuple[float, float], levels: int | None) -> float:
    """The largest change of a pixel of a picture that is no larger than epsilon."""
    if levels is None:
        return epsilon
    step = step_of(bounds, levels)
    return float(np.floor(epsilon / step + _SLACK) * step)
