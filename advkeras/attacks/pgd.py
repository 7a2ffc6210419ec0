"""Projected gradient descent (Madry et al., ICLR 2018)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import tensorflow as tf

from advkeras.attacks.base import FixedNormAttack, FloatArray, Problem, Progress, Tally, require
from advkeras.attacks.batches import run_in_batches
from advkeras.attacks.geometry import length, per_image
from advkeras.attacks.gradients import cross_entropy_gradient, isolated
from advkeras.models import Classifier
from advkeras.randomness import derive_seed
from advkeras.regions import Ball, Hypercube

Norm = Literal["linf", "l2"]


@dataclass(frozen=True, kw_only=True)
class PGD(FixedNormAttack):
    """Projected gradient descent: steps along the gradient of the cross-entropy, projected on a ball of epsilon.

    The last iterate counts, as in Madry et al. (ICLR 2018), section 2.1.

    Args:
        epsilon: radius of the ball, in the classifier's pixel unit: the largest change of a pixel (``linf``) or the
            Euclidean length of the change (``l2``).
        step: length of a step, in the same unit.
        iterations: number of steps.
        norm: ``"linf"`` or ``"l2"``.
        random_start: start at a uniformly drawn point of the ball instead of at the image.
    """

    step: float
    iterations: int = 40
    norm: Norm = "linf"
    random_start: bool = True

    name: ClassVar[str] = "pgd"
    title: ClassVar[str] = "PGD"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.step > 0, "step must be positive", step=self.step)
        require(self.iterations >= 1, "iterations must be at least 1", iterations=self.iterations)
        require(self.norm in ("linf", "l2"), "norm must be 'linf' or 'l2'", norm=self.norm)

    def run(self, classifier: Classifier, problem: Problem, tally: Tally, progress: Progress) -> FloatArray:
        """Candidates for the problem's images, batch by batch."""
        attack = classifier.graph(
            (self, problem.targeted),
            lambda: self._graph_function(classifier, problem.targeted),
            [classifier.image_signature, tf.TensorSpec((None,), tf.int32), tf.TensorSpec((2,), tf.int32)],
            jit_compile=self.jit_compile,
        )

        def attacked(batch: Any) -> Any:
            seed = tf.constant(derive_seed(self.seed, self.name, int(batch[0])), tf.int32)
            return attack(problem.images[batch], problem.goals[batch], seed)

        tally.gradients += len(problem) * self.iterations
        return run_in_batches(
            attacked,
            len(problem),
            batch_size=self.batch_size,
            progress=progress,
            fixed_shapes=self.jit_compile,
        )

    def distance(self, difference: FloatArray) -> FloatArray:
        """The norm that epsilon bounds."""
        flat = difference.reshape(len(difference), -1)
        return np.asarray(np.linalg.norm(flat, ord=np.inf if self.norm == "linf" else 2, axis=1), np.float32)

    def _graph_function(self, classifier: Classifier, targeted: bool) -> Any:
        def attack(images: Any, goals: Any, seed: Any) -> Any:
            return projected_gradient(
                lambda points, goals: cross_entropy_gradient(classifier, points, goals, targeted=targeted),
                images,
                goals,
                epsilon=tf.constant(self.epsilon, tf.float32),
                step=tf.constant(self.step, tf.float32),
                iterations=self.iterations,
                norm=self.norm,
                bounds=classifier.bounds,
                seed=seed if self.random_start else None,
            )

        return attack


def projected_gradient(
    gradient: Callable[[Any, Any], Any],
    images: Any,
    goals: Any,
    *,
    epsilon: Any,
    step: Any,
    iterations: int,
    bounds: tuple[float, float],
    seed: Any | None,
    norm: Norm = "linf",
) -> Any:
    """The loop of PGD as a TensorFlow function, to be compiled into an attack or a training step.

    Args:
        gradient: from points (B, H, W, C) and goals to the direction in which to go, (B, H, W, C).
        images: (B, H, W, C) float32.
        goals: (B, ...), what the gradient needs to know of each image.
        epsilon: scalar float32, radius of the ball.
        step: scalar float32, length of a step.
        iterations: number of steps.
        bounds: lowest and highest pixel value.
        seed: (2,) int32, of the random start; None starts at the images.
        norm: ``"linf"`` or ``"l2"``.

    Returns:
        The last iterate, (B, H, W, C) float32.
    """

    def project(points: Any) -> Any:
        offset = points - images
        if norm == "linf":
            offset = tf.clip_by_value(offset, -epsilon, epsilon)
        else:
            offset *= per_image(tf.minimum(1.0, epsilon / tf.maximum(length(offset), 1e-12)))
        return tf.clip_by_value(images + offset, *bounds)

    gradient_at = isolated(gradient)

    def advance(index: Any, points: Any) -> tuple[Any, Any]:
        steepest = gradient_at(points, goals)
        steepness = per_image(tf.maximum(length(steepest), 1e-12))
        direction = tf.sign(steepest) if norm == "linf" else steepest / steepness
        return index + 1, project(points + step * direction)

    # Uniformly drawn from the ball.
    unit_ball = Hypercube(1.0) if norm == "linf" else Ball(1.0)
    start = images if seed is None else project(images + epsilon * unit_ball.offsets(tf.shape(images), seed))
    _, points = tf.while_loop(
        lambda index, _: index < iterations, advance, (tf.constant(0), start), parallel_iterations=1
    )
    return tf.stop_gradient(points)
