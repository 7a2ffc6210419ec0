"""Adversarial training (Madry et al., ICLR 2018) as a Keras model whose training step crafts its own examples."""

from dataclasses import asdict, dataclass
from typing import Any, Self

import keras
import tensorflow as tf

from advkeras.randomness import derive_seed
from advkeras.regions import Hypercube
from advkeras.searches.gradients import Slope, divergence, divergence_slope, loss_slope
from advkeras.searches.projected_gradient import last_iterate
from advkeras.training import distribution


@dataclass(frozen=True, kw_only=True)
class TrainingAttack:
    """The L-inf attack inside a training step.

    Args:
        epsilon: in pixel units, once fully grown.
        step: length of a step, as a share of epsilon.
        iterations: steps from a random start.
        ramp_steps: training steps over which epsilon grows linearly from 0.
        trades_weight: beta of TRADES, which trains on images and examples together, and crafts them to diverge; None
            trains on the examples alone, crafted to be misclassified.
    """

    epsilon: float
    step: float
    iterations: int
    ramp_steps: int = 0
    trades_weight: float | None = None


# Keras has no type information, so its classes look like Any to a type checker.
@keras.saving.register_keras_serializable("advkeras")
class AdversarialTraining(keras.Model):  # type: ignore[misc]
    """Trains a network on examples that are crafted against it inside the compiled training step.

    ``compile``, ``fit``, ``train_on_batch`` and ``save`` work as for any Keras model: with callbacks, checkpoints,
    weights of images and of classes, mixed precision and tf.distribute. Images may be whole numbers; labels are classes
    (B,) or (B, 1), or one-hot rows, as the loss takes them. The logged accuracy is that on the crafted examples.

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
        self.seed = seed
        self._start = derive_seed(seed, "training")
        self.built = bool(network.built)

    def build(self, input_shape: Any) -> None:
        """Builds the network."""
        if not self.network.built:
            self.network.build(input_shape)
        self.built = True

    def get_config(self) -> dict[str, Any]:
        """What it takes to make such a model again, the network's weights apart."""
        return {
            "network": keras.saving.serialize_keras_object(self.network),
            "bounds": list(self.bounds),
            "attack": self.attack and asdict(self.attack),
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Self:
        """The inverse of :meth:`get_config`."""
        low, high = config["bounds"]
        return cls(
            keras.saving.deserialize_keras_object(config["network"], custom_objects),
            bounds=(low, high),
            attack=config["attack"] and TrainingAttack(**config["attack"]),
            seed=config["seed"],
        )

    def call(self, images: Any, training: bool | None = None) -> Any:
        """Logits of images."""
        return self.network(images, training=training)

    def train_step(self, data: Any) -> dict[str, Any]:
        """Crafts examples, and takes one step of the optimiser on them."""
        given, labels, weights = keras.utils.unpack_x_y_sample_weight(data)
        images = tf.cast(given, tf.float32)
        examples = self.craft(images, labels)
        with tf.GradientTape() as tape:
            if self.attack is None or self.attack.trades_weight is None:
                logits = self.network(examples, training=True)
                loss = self.compute_loss(y=labels, y_pred=logits, sample_weight=weights)
            else:
                # Both at once, so that batch normalisation sees them together.
                both = self.network(tf.concat([images, examples], axis=0), training=True)
                natural, logits = tf.split(both, 2)
                apart = divergence(logits, natural)
                # compute_loss gives a replica's share of the loss of the whole batch.
                diverged = tf.reduce_mean(apart if weights is None else tf.cast(weights, apart.dtype) * apart)
                loss = self.compute_loss(y=labels, y_pred=natural, sample_weight=weights)
                loss += self.attack.trades_weight * diverged / self.replicas
            scaled = self.optimizer.scale_loss(loss)
        variables = self.trainable_variables
        self.optimizer.apply(tape.gradient(scaled, variables), variables)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss * self.replicas, sample_weight=tf.shape(images)[0])
        results = self.compute_metrics(images, labels, logits, sample_weight=weights)
        # With several workers Keras averages results over their first axis, which scalars do not have.
        return {name: value[None] for name, value in results.items()} if self._has_workers else results

    def craft(self, images: Any, labels: Any) -> Any:
        """Adversarial examples (B, H, W, C) float32 of images, at the strength that training has reached."""
        images = tf.cast(images, tf.float32)
        if self.attack is None:
            return images
        taken = tf.cast(self.optimizer.iterations, tf.int32)
        grown = tf.minimum(1.0, (tf.cast(taken, tf.float32) + 1.0) / max(self.attack.ramp_steps, 1))
        epsilon = self.attack.epsilon * grown
        replica = tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.int32)
        seed = tf.stack(
            [tf.constant(self._start[0], tf.int32) + replica, tf.constant(self._start[1], tf.int32) + taken]
        )

        def answers(points: Any) -> Any:
            return self.network(points, training=False)

        if self.attack.trades_weight is None:
            goals = _classes(labels)

            def climb(points: Any, goals: Any) -> Slope:
                return loss_slope(answers, points, goals, targeted=False)
        else:
            goals = answers(images)

            def climb(points: Any, goals: Any) -> Slope:
                return divergence_slope(answers, points, goals)

        return last_iterate(
            climb,
            images,
            goals,
            epsilon=epsilon,
            step=self.attack.step * epsilon,
            iterations=self.attack.iterations,
            bounds=self.bounds,
            start=epsilon * Hypercube(1.0).offsets(tf.shape(images), seed),
        )

    @property
    def replicas(self) -> int:
        """Replicas that train together."""
        return int(self.distribute_strategy.num_replicas_in_sync)

    @property
    def _has_workers(self) -> bool:
        return distribution.has_workers(self.distribute_strategy)

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        # Keras 3 takes a batch from the distributed data to build what is not built yet, and cannot when there are
        # several workers (keras-team/keras issue 20585). Everything is built by prepare().
        if not self._has_workers:
            super()._maybe_symbolic_build(iterator=iterator, data_batch=data_batch)

    def prepare(self, images: Any, labels: Any) -> None:
        """Builds the model, its metrics and its optimiser, which restoring a backup wants, too.

        Args:
            images: (B, H, W, C) float32, a few.
            labels: (B,) int32.
        """
        logits = self(images)
        self.compute_loss(y=labels, y_pred=logits)
        self.compute_metrics(images, labels, logits)
        self.reset_metrics()
        self.optimizer.build(self.trainable_variables)


def _classes(labels: Any) -> Any:
    """Classes (B,) int32 of labels (B,), (B, 1), or (B, classes) one-hot."""
    labels = tf.convert_to_tensor(labels)
    if labels.shape.rank == 2 and labels.shape[1] != 1:
        return tf.argmax(labels, axis=1, output_type=tf.int32)
    return tf.cast(tf.reshape(labels, (-1,)), tf.int32)
