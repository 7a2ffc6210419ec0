"""What is noted after each epoch of a training: accuracy under PGD, a collapse, time, pictures of crafted examples."""

import os
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from advkeras.arrays import FloatArray, IntArray
from advkeras.errors import AdvkerasError
from advkeras.models.classifier import classes_of
from advkeras.randomness import derive_seeds
from advkeras.regions import Hypercube
from advkeras.searches.gradients import adversarial_margin, loss_slope
from advkeras.searches.projected_gradient import projected_gradient
from advkeras.training import distribution

_ITERATIONS = 20
_COLLAPSE_RATIO = 0.5
_PICTURES = 8


# Keras has no type information, so its classes look like Any to a type checker.
class RobustValidation(keras.callbacks.Callback):  # type: ignore[misc]
    """Measures accuracy under PGD after each epoch, and says when training has collapsed.

    Training on single-step examples can end in catastrophic overfitting (Wong et al., ICLR 2020): high accuracy on
    the examples that it crafts itself and next to none under PGD with several steps.

    Args:
        images: (N, H, W, C) float32.
        labels: (N,) int32.
        epsilon: in pixel units.
        grown_after: epochs after which epsilon has its full size; a collapse is only called from there on.
        report: called with one line when a collapse is seen.

    Attributes:
        collapsed: whether accuracy under PGD was below half of the accuracy on the crafted examples, and of that on the
            images as they are, at the last look.
    """

    def __init__(
        self, images: FloatArray, labels: IntArray, *, epsilon: float, grown_after: float, report: Callable[[str], None]
    ) -> None:
        super().__init__()
        self._images, self._labels = images, labels
        self._epsilon = epsilon
        self._grown_after = grown_after
        self._report = report
        self._counts: Any = None
        self.collapsed = False

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds ``val_accuracy`` and ``val_robust_accuracy`` to the epoch's logs."""
        logs = {} if logs is None else logs
        # Workers differ in what batch normalisation has seen, and have to stop after the same epoch.
        benign, robust = distribution.of_the_chief(self.model.distribute_strategy, self.accuracies())
        logs["val_accuracy"], logs["val_robust_accuracy"] = benign, robust
        crafted = float(logs.get("accuracy", 0.0))
        self.collapsed = (
            self.model.attack is not None
            and epoch + 1 >= self._grown_after
            and crafted > 0.3
            and robust < _COLLAPSE_RATIO * min(crafted, benign)
        )
        if self.collapsed:
            self._report(
                f"catastrophic overfitting after epoch {epoch + 1}: {crafted:.0%} on the examples crafted in training, "
                f"{robust:.0%} under PGD with {_ITERATIONS} steps; use --defense pgd, a smaller --epsilon "
                "or more --iterations"
            )

    def accuracies(self, batch_size: int = 256) -> tuple[float, float]:
        """Accuracy on the images, and under PGD with 20 steps of epsilon/8 from a random start."""
        if self._counts is None:
            self._counts = tf.function(self._correct, reduce_retracing=True, autograph=False)
        seeds = derive_seeds(0, "robust validation", places=range(len(self._labels)))
        benign = robust = 0
        for start in range(0, len(self._labels), batch_size):
            batch = slice(start, start + batch_size)
            counts = self._counts(self._images[batch], self._labels[batch], seeds[batch])
            benign, robust = benign + int(counts[0]), robust + int(counts[1])
        return benign / len(self._labels), robust / len(self._labels)

    def _correct(self, images: Any, labels: Any, seeds: Any) -> tuple[Any, Any]:
        def answers(points: Any) -> Any:
            return tf.cast(self.model(points, training=False), tf.float32)

        found = projected_gradient(
            lambda points, goals: loss_slope(answers, points, goals, targeted=False),
            lambda points, goals: adversarial_margin(answers(points), goals, targeted=False),
            images,
            labels,
            epsilon=tf.constant(self._epsilon, tf.float32),
            step=tf.constant(self._epsilon / 8, tf.float32),
            iterations=_ITERATIONS,
            bounds=self.model.bounds,
            start=self._epsilon * Hypercube(1.0).offsets_by_image(images.shape[1:], seeds),
        )
        return tuple(
            tf.reduce_sum(tf.cast(classes_of(answers(batch)) == labels, tf.int32)) for batch in (images, found.points)
        )


class EndsAtNaN(keras.callbacks.Callback):  # type: ignore[misc]
    """Ends a training whose loss or weights are no numbers any more; comes before what would keep them.

    Raises:
        AdvkerasError: at the end of such an epoch.
    """

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Looks at the epoch's figures and at the weights."""
        figures = {name: value for name, value in (logs or {}).items() if not np.isfinite(value)}
        if not figures and all(np.isfinite(each).all() for each in self.model.get_weights()):
            return
        found = ", ".join(f"{name} {float(value)}" for name, value in figures.items()) or "weights that are not finite"
        raise AdvkerasError(
            f"training has ended in NaN in epoch {epoch + 1}: {found}. Nothing is written; begin again with a smaller "
            "--learning-rate and --no-resume"
        )


class EpochSeconds(keras.callbacks.Callback):  # type: ignore[misc]
    """Adds the time that an epoch took to its logs, so that the time of a run that was stopped can be summed up."""

    def __init__(self) -> None:
        super().__init__()
        self._start = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts the clock."""
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds ``seconds``."""
        if logs is not None:
            logs["seconds"] = round(time.perf_counter() - self._start, 1)


class CraftedPictures(keras.callbacks.Callback):  # type: ignore[misc]
    """Draws images and the examples that training crafts of them, for TensorBoard, after each epoch.

    Args:
        folder: of TensorBoard's logs.
        images: (N, H, W, C) float32, of which the first eight are drawn.
        labels: (N,) int32.
    """

    def __init__(self, folder: str | os.PathLike[str], images: FloatArray, labels: IntArray) -> None:
        super().__init__()
        self._folder = str(folder)
        self._images, self._labels = images[:_PICTURES], labels[:_PICTURES]
        self._writer: Any = None
        self._craft: Any = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes one picture: the images above, the crafted examples below."""
        if self._writer is None:
            self._writer = tf.summary.create_file_writer(self._folder)
            self._craft = tf.function(self.model.craft, autograph=False)
        low, high = self.model.bounds
        crafted = self._craft(self._images, self._labels)
        rows = [tf.concat(tf.unstack(row), axis=1) for row in (self._images, crafted)]
        picture = (tf.concat(rows, axis=0) - low) / (high - low)
        # TensorBoard draws one, three or four channels.
        shown = picture if picture.shape[-1] in (1, 3) else picture[..., :1]
        with self._writer.as_default(step=epoch):
            tf.summary.image("crafted examples", shown[None])
        self._writer.flush()
