"""EOT-PGD with bisection on the norm: the usual attack on a defence that draws points, held against OptRegion.

Expectation over transformation (Athalye et al., ICML 2018): gradients of the mean margin over fresh points of the
region. Projected gradient descent in L2 with them, from the image, within a radius that is bisected for each image.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from advkeras.attacks import OptRegion
from advkeras.models import Classifier
from advkeras.randomness import derive_seeds
from advkeras.searches.ensembles import NO_AIM
from advkeras.searches.geometry import length, per_image, unit
from advkeras.searches.problem import Problem

# Radii are tried out so many times, the first one at this share of the whole range's RMS.
_ROUNDS, _FIRST = 5, 0.02
# A step over the radius times the iterations, and points at which it is seen whether the region is turned.
_CROSSINGS, _POINTS = 2.5, 80


def eot_pgd(attack: OptRegion, classifier: Classifier, images: Any, labels: Any) -> tuple[Any, Any, int]:
    """The nearest points found, whether they turn a vote of the region that was right, and gradients of each image.

    Args:
        attack: OptRegion with the region, members and budget; the last vote is its own.
        classifier: what is attacked.
        images: (N, H, W, C).
        labels: (N,).
    """
    labels = np.asarray(labels, np.int32)
    problem = Problem(images, labels, False, np.arange(len(images), dtype=np.int32))
    few, many = (attack._ensemble(classifier, problem, count) for count in (attack.members, _POINTS))
    iterations = attack.gradients // (_ROUNDS * attack.members)

    @tf.function
    def descend(images: Any, goals: Any, radius: Any, seeds: Any) -> Any:
        points = images
        for iteration in tf.range(iterations):
            with tf.GradientTape() as tape:
                tape.watch(points)
                logits = few.logits(classifier, points, seeds, iteration, ())
                objective = few.judge(logits, goals, tf.fill(tf.shape(goals), NO_AIM), ()).objective
            step = _CROSSINGS * radius / iterations
            offset = points + per_image(step) * unit(tape.gradient(objective, points)) - images
            offset *= per_image(tf.minimum(1.0, tf.math.divide_no_nan(radius, length(offset))))
            points = tf.clip_by_value(images + offset, *classifier.bounds)
        return points

    @tf.function(reduce_retracing=True)
    def turned(points: Any, goals: Any, seeds: Any) -> Any:
        logits = many.logits(classifier, points, seeds, tf.constant(0), ())
        return many.judge(logits, goals, tf.fill(tf.shape(goals), NO_AIM), ()).reached

    best, found = images.copy(), np.zeros(len(images), bool)
    below, above = np.zeros(len(images)), np.full(len(images), np.inf)
    radius = np.full(len(images), _FIRST * (classifier.bounds[1] - classifier.bounds[0]) * np.sqrt(images[0].size))
    for number in range(_ROUNDS):
        seeds = tf.constant(derive_seeds(attack.seed, "eot-pgd", number, places=problem.places))
        points = descend(tf.constant(images), labels, tf.constant(radius, tf.float32), seeds).numpy()
        reached = np.concatenate(
            [turned(points[i : i + 4], labels[i : i + 4], seeds[i : i + 4]).numpy() for i in range(0, len(points), 4)]
        )
        best[reached], found = points[reached], found | reached
        above, below = np.where(reached, radius, above), np.where(reached, below, radius)
        radius = np.where(np.isinf(above), 2 * radius, np.where(below > 0, np.sqrt(below * above), radius / 2))
    right = attack.decisions(classifier, problem, labels) == labels
    success = found & right & attack.verify(classifier, problem, best)
    return best, success, _ROUNDS * iterations * attack.members
