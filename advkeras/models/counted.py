"""A classifier that counts what goes through it, so that nobody who uses it has to."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from advkeras.models.classifier import Classifier

# Passes between one's forward and its backward part, at most: as those of a loop within the tape.
_LATEST = 4_096


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
        # Images that went forward, images that went backward, those of the first that went backward, too; then the
        # number of passes.
        self._counts = tf.Variable([0, 0, 0, 0], trainable=False, dtype=tf.int64)
        # Of each of the latest passes the images that went backward, too, which are not counted yet. Several gradients
        # of one pass may be taken at the same time: each writes the same number here, whichever comes first.
        self._backward = tf.Variable([0] * _LATEST, trainable=False, dtype=tf.int64)

    @property
    def passes(self) -> Passes:
        """All so far."""
        forwards, gradients, differentiated = self._totals()
        return Passes(int(forwards - differentiated), int(gradients))

    def _totals(self) -> npt.NDArray[np.int64]:
        """Images that went forward, images that went backward, and those of the first that went backward, too."""
        totals: npt.NDArray[np.int64] = self._counts.numpy()[:3]
        totals[2] += self._backward.numpy().sum()
        return totals

    def add_forwards(self, count: int) -> None:
        """Counts images that went forward somewhere else."""
        self._counts.assign_add([count, 0, 0, 0])

    @contextmanager
    def only(self, rows: int, of: int) -> Iterator[None]:
        """Counts so many of the rows of each batch that goes through; the others are copies that fill it."""
        if rows == of:
            yield
            return
        before = self._totals()
        yield
        copies = (self._totals() - before) * (of - rows) // of
        self._counts.assign_sub([*copies, 0])

    def through(self, images: Any) -> Any:
        """The images (B, H, W, C), counted as they go on, and as a gradient comes back; a TensorFlow function."""
        number = tf.shape(images, out_type=tf.int64)[0]
        zero, one = tf.zeros_like(number), tf.ones_like(number)
        # A gradient within a loop knows of the loop's own tensors alone, so the variables must be some of them.
        counts, backward = self._counts.handle, self._backward.handle
        if not tf.executing_eagerly():
            counts, backward = (tf.compat.v1.get_default_graph().capture(each) for each in (counts, backward))

        def add(values: list[Any]) -> Any:
            return tf.raw_ops.AssignAddVariableOp(resource=counts, value=tf.stack(values))

        def note(slot: Any, images: Any) -> Any:
            return tf.raw_ops.ResourceScatterUpdate(resource=backward, indices=slot, updates=images)

        # The pass takes over the slot of one that is long over, and counts what that has left there.
        slot = tf.raw_ops.ReadVariableOp(resource=counts, dtype=tf.int64)[3] % _LATEST
        left = tf.raw_ops.ResourceGather(resource=backward, indices=slot, dtype=tf.int64)
        with tf.control_dependencies([slot, left]):
            begun = [add([number, zero, left, one]), note(slot, zero)]
        with tf.control_dependencies(begun):
            slot = tf.identity(slot)

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def counting(points: Any, slot: Any) -> Any:
            def backwards(upstream: Any) -> Any:
                added = [add([zero, number, zero, zero]), note(slot, number)]
                # TensorFlow cannot make a Jacobian of what waits for an assignment; there it counts as one gradient.
                with tf.control_dependencies([] if _in_jacobian() else added):
                    return tf.identity(upstream), None

            return tf.identity(points), backwards

        return counting(images, slot)


def _in_jacobian() -> bool:
    """Whether a loop is being vectorised, as the tape's ``batch_jacobian`` does it."""
    return not tf.executing_eagerly() and "loop_body" in tf.compat.v1.get_default_graph().get_name_scope()


class CountedClassifier(Classifier):
    """A classifier that answers as another one does, and counts what goes through it.

    Args:
        classifier: the other one. Its compiled functions stay its own, since they do not count.
    """

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._counter = PassCounter()
        self._graphs = {}
        self.differentiable = classifier.differentiable

    def __getattr__(self, name: str) -> Any:
        """All else is the other one's."""
        if name == "_classifier":
            raise AttributeError(name)
        return getattr(self._classifier, name)

    def __call__(self, images: Any) -> Any:
        """Logits (N, classes) float32 of images (N, H, W, C) float32, as tensors; usable inside a tf.function."""
        return self._classifier(self._counter.through(images))

    def logits(self, images: npt.ArrayLike, *, batch_size: int | None = None) -> npt.NDArray[np.float32]:
        """Logits (N, classes) float32 of images (N, H, W, C), as arrays, in batches."""
        self._counter.add_forwards(len(np.asarray(images)))
        return self._classifier.logits(images, batch_size=batch_size)

    def predict(self, images: npt.ArrayLike, *, batch_size: int | None = None) -> npt.NDArray[np.int32]:
        """Classes (N,) int32 of images (N, H, W, C); :data:`NO_CLASS` where a logit is NaN."""
        self._counter.add_forwards(len(np.asarray(images)))
        return self._classifier.predict(images, batch_size=batch_size)

    @property
    def at_once(self) -> int:
        """Images whose gradients the memory budget holds at once."""
        return self._classifier.at_once

    @property
    def counted(self) -> "CountedClassifier":
        """Itself."""
        return self

    def counting(self, rows: int, of: int) -> AbstractContextManager[None]:
        """Counts so many of the rows of each batch that goes through; the others are copies that fill it."""
        return self._counter.only(rows, of)

    @property
    def passes(self) -> Passes:
        """All so far."""
        return self._counter.passes
