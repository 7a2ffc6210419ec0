"""Momentum iterative FGSM (Dong et al., CVPR 2018): an attack that stays within epsilon."""

from dataclasses import dataclass
from typing import ClassVar

import tensorflow as tf

from advkeras.attacks import FixedNormAttack, loss_slope, register
from advkeras.parameters import Count


@register
@dataclass(frozen=True, kw_only=True)
class MomentumFGSM(FixedNormAttack):
    """Steps along the sign of an average of the gradients, each brought to one size.

    Args:
        iterations: steps, each of epsilon over their number.
        decay: the older gradients' weight in the average.
    """

    iterations: Count = 10
    decay: float = 1.0

    name: ClassVar[str] = "mi-fgsm"
    title: ClassVar[str] = "MI-FGSM"
    work: ClassVar[str] = "iterations"

    def run(self, classifier, problem, progress):
        """The last points of the steps."""

        def step(images, goals, points, momentum):
            slope = loss_slope(classifier, points, goals, targeted=problem.targeted)
            size = tf.reduce_mean(tf.abs(slope.gradient), axis=[1, 2, 3], keepdims=True)
            momentum = self.decay * momentum + tf.math.divide_no_nan(slope.gradient, size)
            points += self.epsilon / self.iterations * tf.sign(momentum)
            points = tf.clip_by_value(points, images - self.epsilon, images + self.epsilon)
            return tf.clip_by_value(points, *classifier.bounds), momentum

        pixels, classes = classifier.image_signature, tf.TensorSpec((None,), tf.int32)
        key = (self.name, self.epsilon, self.iterations, self.decay, problem.targeted)
        compiled = classifier.graph(key, lambda: step, [pixels, classes, pixels, pixels])
        found = problem.images.copy()
        for first in range(0, len(problem), self.batch_size):
            batch = slice(first, first + self.batch_size)
            points, momentum = problem.images[batch], tf.zeros_like(problem.images[batch])
            for _ in range(self.iterations):
                points, momentum = compiled(problem.images[batch], problem.goals[batch], points, momentum)
            found[batch] = points
            progress(min(first + self.batch_size, len(problem)), len(problem))
        return found
