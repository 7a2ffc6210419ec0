"""The columns in which a compiled loop notes what it sees, step by step: a part of its state, of a fixed width."""

from typing import Any

import numpy as np
import tensorflow as tf

from advkeras.arrays import FloatArray

# Columns; where a run has more steps, a column takes the highest of several.
WIDTH = 128


def columns(count: int) -> FloatArray:
    """The columns of so many images before the first step, (count, WIDTH) float32."""
    return np.full((count, WIDTH), -np.inf, np.float32)


def stride_of(steps: Any) -> Any:
    """For how many of so many steps a column stands; of a number, or of a tensor."""
    return (steps + WIDTH - 1) // WIDTH


def noted(seen: Any, margin: Any, step: Any, steps: Any) -> Any:
    """The columns with what a step has seen, as a TensorFlow function: (B, WIDTH).

    Args:
        seen: (B, WIDTH) float32, so far.
        margin: (B,) float32, at the step's point.
        step: which one it is, from 0: scalar int32, or (B,).
        steps: of the whole run, scalar int32.
    """
    column = tf.reshape(step // stride_of(steps), (-1, 1))
    return tf.where(tf.range(WIDTH)[None] == column, tf.maximum(seen, margin[:, None]), seen)
