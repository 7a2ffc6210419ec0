"""Classifiers that keep what they are asked, and one that is anything but linear."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from advkeras.models import Classifier

from .conftest import FEATURES, SHAPE


class RecordingClassifier(Classifier):
    """Keeps every point that goes through it, in the order in which it does.

    Args:
        logits: from flattened images (N, FEATURES) to logits.
        bounds: lowest and highest pixel value.

    Attributes:
        asked: batches of points (n, H, W, C).
    """

    at_once = 256  # Not measured: that asks, too.

    def __init__(self, logits: Callable[[Any], Any], bounds: tuple[float, float] = (0.0, 1.0)) -> None:
        self.asked: list[np.ndarray] = []
        self._logits = logits

        def note(points: np.ndarray) -> np.int32:
            self.asked.append(points.copy())
            return np.int32(0)

        def recording(images: Any) -> Any:
            with tf.control_dependencies([tf.numpy_function(note, [images], tf.int32)]):
                return logits(tf.reshape(images, (-1, FEATURES)))

        super().__init__(recording, bounds=bounds, input_shape=SHAPE, name="recording")
        assert self.differentiable  # which is found out by asking
        self.asked.clear()

    def points(self) -> np.ndarray:
        """All points so far, (n, FEATURES)."""
        return np.concatenate(self.asked).reshape(-1, FEATURES)

    def answer(self, points: np.ndarray) -> np.ndarray:
        """Logits of points (n, FEATURES), which are not kept."""
        return np.asarray(self._logits(tf.constant(points, tf.float32)))


def wavy(frequency: float = 6.0) -> RecordingClassifier:
    """Three classes whose regions are small and many: gradients turn, and the nearest success is seldom the last."""
    generator = np.random.default_rng(4)
    inner = tf.constant(frequency * generator.standard_normal((FEATURES, 40)), tf.float32)
    outer = tf.constant(generator.standard_normal((40, 3)), tf.float32)
    return RecordingClassifier(lambda flat: tf.sin(flat @ inner) @ outer)


def projected(point: np.ndarray, start: np.ndarray, epsilon: float, norm: str) -> np.ndarray:
    """A point (FEATURES,) brought into the ball around a start and into [0, 1], in a few lines of NumPy."""
    offset = point - start
    if norm == "linf":
        offset = np.clip(offset, -epsilon, epsilon)
    else:
        offset = offset * min(1.0, epsilon / max(np.linalg.norm(offset), 1e-12))
    return np.clip(start + offset, 0, 1)
