"""A classifier that counts what goes through it, so that nobody who uses it has to."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from advkeras.models.classifier import Classifier


class Passes(NamedTuple):
    """How many single images have gone through a network.

    Attributes:
        forwards: forward only.
        gradients: forward and backward; backward again, for a second gradient of the same pass.
    """

    forwards: int
    gradients: int


class PassCounter:
    """Counts on the device, whether the network runs eagerly or within a compiled loop."""

    def __init__(self) -> None:
        # Images that went forward, images that went backward, and those of the first that went backward, too.
        self._counts = tf.Variable([0, 0, 0], trainable=False, dtype=tf.int64)

    @property
    def passes(self) -> Passes:
        """All so far."""
        forwards, gradients, differentiated = self._counts.numpy().tolist()
        return Passes(forwards - differentiated, gradients)

    def add_forwards(self, count: int) -> None:
        """Counts images that went forward somewhere else."""
        self._counts.assign_add([count, 0, 0])

    def through(self, images: Any) -> Any:
        """The images (B, H, W, C), counted as they go on, and as a gradient comes back; a TensorFlow function."""
        number = tf.shape(images, out_type=tf.int64)[0]
        zero = tf.zeros_like(number)
        seen: list[bool] = []

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def counting(points: Any) -> Any:
            def backwards(upstream: Any) -> Any:
                # Of one forward pass several gradients may be taken.
                self._counts.assign_add(tf.stack([zero, number, zero if seen else number]))
                seen.append(True)
                return upstream

            return tf.identity(points), backwards

        self._counts.assign_add(tf.stack([number, zero, zero]))
        return counting(images)


class CountedClassifier(Classifier):
    """A classifier that answers as another one does, and counts what goes through it.

    Args:
        classifier: the other one. Its compiled functions stay its own, since they do not count.
    """

    def __init__(self, classifier: Classifier) -> None:
        self.__dict__.update(classifier.__dict__)
        self.differentiable = classifier.differentiable
        self._graphs = {}
        self._classifier = classifier
        self._counter = PassCounter()

    def __call__(self, images: Any) -> Any:
        """Logits (N, classes) float32 of images (N, H, W, C) float32, as tensors; usable inside a tf.function."""
        return self._classifier(self._counter.through(images))

    def logits(self, images: npt.ArrayLike, *, batch_size: int = 256) -> npt.NDArray[np.float32]:
        """Logits (N, classes) float32 of images (N, H, W, C), as arrays, in batches."""
        array = np.asarray(images, np.float32)
        self._counter.add_forwards(len(array))
        return self._classifier.logits(array, batch_size=batch_size)

    @property
    def passes(self) -> Passes:
        """All so far."""
        return self._counter.passes
