"""DeepFool (Moosavi-Dezfooli et al., CVPR 2016): an attack that looks for the least distortion."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import tensorflow as tf

from advkeras.attacks import MinimumNormAttack, register
from advkeras.errors import InvalidInputError
from advkeras.parameters import Count


@register
@dataclass(frozen=True, kw_only=True)
class DeepFool(MinimumNormAttack):
    """Goes to the nearest boundary of the classifier's linear approximation, again and again.

    Args:
        iterations: at most.
        overshoot: by such a share of its distance the result lies farther out.
    """

    iterations: Count = 50
    overshoot: float = 0.02

    name: ClassVar[str] = "deepfool"
    title: ClassVar[str] = "DeepFool"
    work: ClassVar[str] = "iterations"

    def run(self, classifier, problem, progress):
        """Points beyond the boundary; those that are not will not count."""
        if problem.targeted:
            raise InvalidInputError("DeepFool goes to the nearest class. Received: targets")

        def step(points, goals):
            with tf.GradientTape(persistent=True) as tape:
                tape.watch(points)
                logits = classifier(points)
                gaps = logits - tf.gather(logits, goals, axis=1, batch_dims=1)[:, None]
                columns = tf.unstack(gaps, axis=1)
            slopes = tf.stack([tape.gradient(column, points) for column in columns], axis=1)
            squares = tf.reduce_sum(tf.square(slopes), axis=[2, 3, 4])
            distances = tf.math.divide_no_nan(tf.abs(gaps), tf.sqrt(squares))
            nearest = tf.argmin(tf.where(squares > 0, distances, np.inf), axis=1)
            slope, square, gap = (tf.gather(each, nearest, axis=1, batch_dims=1) for each in (slopes, squares, gaps))
            share = tf.math.divide_no_nan(tf.abs(gap) + 1e-4, square)[:, None, None, None]
            there = tf.argmax(logits, axis=1, output_type=tf.int32) != goals
            return tf.where(there[:, None, None, None], points, points + share * slope)

        compiled = classifier.graph(
            self.name, lambda: step, [classifier.image_signature, tf.TensorSpec((None,), tf.int32)]
        )
        found = problem.images.copy()
        for first in range(0, len(problem), self.batch_size):
            batch = slice(first, first + self.batch_size)
            for _ in range(self.iterations):
                found[batch] = np.clip(compiled(found[batch], problem.goals[batch]), *classifier.bounds)
            progress(min(first + self.batch_size, len(problem)), len(problem))
        return problem.images + (1 + self.overshoot) * (found - problem.images)
