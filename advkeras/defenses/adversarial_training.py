"""Adversarial training (Madry et al., ICLR 2018) as a Keras model whose training step crafts its own examples."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from advkeras.attacks.base import FloatArray, IntArray
from advkeras.attacks.pgd import projected_gradient
from advkeras.randomness import derive_seed

_VALIDATION_ITERATIONS = 20
_COLLAPSE_RATIO = 0.5


@dataclass(frozen=True, kw_only=True)
class TrainingAttack:
    """The L-inf attack inside a training step.

    Args:
        epsilon: in pixel units, once fully grown.
        step: length of a step, as a share of epsilon.
        iterations: steps from a random start.
        ramp_steps: training steps over which epsilon grows linearly from 0.
    """

    epsilon: float
    step: float
    iterations: int
    ramp_steps: int = 0


# Keras has no type information, so its classes look like Any to a type checker.
class AdversarialTraining(keras.Model):  # type: ignore[misc]
    """Trains a network on examples that are crafted against it inside the compiled training step.

    ``compile`` and ``fit`` work as for any Keras model, callbacks and checkpoints included; batches are pairs of images
    and labels. The logged accuracy is the accuracy on the crafted examples.

    Args:
        network: maps images (B, H, W, C) to logits.
        bounds: lowest and highest pixel value.
        attack: crafts the examples; None trains on the images as they are.
        seed: of the random starts.
    """

    def __init__(
        self, network: Any, *, bounds: tuple[float, float], attack: TrainingAttack | None = None, seed: int = 0
    ) -> None:
        super().__init__(name=f"training_{network.name}")
        self.network = network
        self.bounds = bounds
        self.attack = attack
        self._seed = tf.constant(derive_seed(seed, "training"), tf.int32)

    def call(self, images: Any, training: bool | None = None) -> Any:
        """Logits of images."""
        return self.network(images, training=training)

    def train_step(self, data: Any) -> dict[str, Any]:
        """Crafts examples, and takes one step of the optimiser on them."""
        images, labels = data
        examples = self._craft(images, labels)
        with tf.GradientTape() as tape:
            logits = self.network(examples, training=True)
            loss = self.compute_loss(x=examples, y=labels, y_pred=logits)
        variables = self.trainable_variables
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(labels, logits)
        return {metric.name: metric.result() for metric in self.metrics}

    def _craft(self, images: Any, labels: Any) -> Any:
        if self.attack is None:
            return images
        taken = tf.cast(self.optimizer.iterations, tf.int32)
        grown = tf.minimum(1.0, (tf.cast(taken, tf.float32) + 1.0) / max(self.attack.ramp_steps, 1))
        epsilon = self.attack.epsilon * grown
        return projected_gradient(
            lambda points: self.network(points, training=False),
            images,
            tf.cast(labels, tf.int32),
            epsilon=epsilon,
            step=self.attack.step * epsilon,
            iterations=self.attack.iterations,
            bounds=self.bounds,
            seed=self._seed + tf.stack([0, taken]),
        )


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
        collapsed: whether accuracy under PGD was below half of the accuracy on the crafted examples at the last look.
    """

    def __init__(
        self, images: FloatArray, labels: IntArray, *, epsilon: float, grown_after: float, report: Callable[[str], None]
    ) -> None:
        super().__init__()
        self._images, self._labels = images, labels
        self._epsilon = epsilon
        self._grown_after = grown_after
        self._report = report
        self._accuracy: Any = None
        self.collapsed = False

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds ``val_robust_accuracy`` to the epoch's logs."""
        logs = {} if logs is None else logs
        robust = self.robust_accuracy()
        logs["val_robust_accuracy"] = robust
        crafted = float(logs.get("accuracy", 0.0))
        self.collapsed = (
            self.model.attack is not None
            and epoch + 1 >= self._grown_after
            and crafted > 0.3
            and robust < _COLLAPSE_RATIO * crafted
        )
        if self.collapsed:
            self._report(
                f"catastrophic overfitting after epoch {epoch + 1}: {crafted:.0%} on the examples crafted in training, "
                f"{robust:.0%} under PGD with {_VALIDATION_ITERATIONS} steps; use --defense pgd, a smaller --epsilon "
                "or more --iterations"
            )

    def robust_accuracy(self, batch_size: int = 256) -> float:
        """Accuracy under PGD with 20 steps of epsilon/8 from a random start."""
        if self._accuracy is None:
            self._accuracy = tf.function(self._correct, reduce_retracing=True)
        batches = range(0, len(self._labels), batch_size)
        correct = sum(
            int(self._accuracy(self._images[start : start + batch_size], self._labels[start : start + batch_size]))
            for start in batches
        )
        return correct / len(self._labels)

    def _correct(self, images: Any, labels: Any) -> Any:
        points = projected_gradient(
            lambda points: self.model(points, training=False),
            images,
            labels,
            epsilon=tf.constant(self._epsilon, tf.float32),
            step=tf.constant(self._epsilon / 8, tf.float32),
            iterations=_VALIDATION_ITERATIONS,
            bounds=self.model.bounds,
            seed=tf.constant(derive_seed(0, "robust validation"), tf.int32),
        )
        classes = tf.argmax(self.model(points, training=False), axis=1, output_type=tf.int32)
        return tf.reduce_sum(tf.cast(classes == labels, tf.int32))


def cosine_schedule(learning_rate: float, steps: int) -> Any:
    """A rate that falls to 0 along a cosine over all steps (Loshchilov and Hutter, ICLR 2017)."""
    return keras.optimizers.schedules.CosineDecay(learning_rate, decay_steps=max(steps, 1))


def shuffled_batches(images: FloatArray, labels: IntArray, *, batch_size: int, seed: int) -> Any:
    """Batches of all images in an order that changes with each epoch; the last, partial batch is left out.

    A training that is continued after a stop goes through the orders from the first one again.
    """
    order = tf.data.Dataset.range(len(labels)).shuffle(len(labels), seed=seed, reshuffle_each_iteration=True)
    table = tf.constant(images), tf.constant(np.asarray(labels, np.int32))
    return (
        order.batch(batch_size, drop_remainder=True)
        .map(lambda chosen: (tf.gather(table[0], chosen), tf.gather(table[1], chosen)))
        .prefetch(4)
    )
