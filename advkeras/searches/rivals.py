"""Which wrong classes are near an image, by a linear estimate: where a search is worth aiming."""

import math
from typing import Any

import numpy as np
import tensorflow as tf

from advkeras.arrays import FloatArray, IntArray, no_progress
from advkeras.models import Classifier
from advkeras.searches.batches import run_in_batches
from advkeras.searches.ensembles import NO_AIM
from advkeras.searches.gradients import chosen_logits, slope
from advkeras.searches.norms import NORMS
from advkeras.searches.problem import Problem

# Classes whose distance is estimated, at most: those of the largest logits.
_CANDIDATES = 8


def count(classifier: Classifier) -> int:
    """Classes that are ranked, and gradients that ranking takes for each image; none where there is only one wrong."""
    wrong = classifier.num_classes - 1
    return min(_CANDIDATES, wrong) if wrong > 1 else 0


def leading(classifier: Classifier, problem: Problem, most: int, *, batch_size: int) -> IntArray:
    """Wrong classes of the largest logits at the images, the largest first: (N, count) int32.

    Args:
        classifier: what is attacked.
        problem: images and true classes.
        most: classes, at most.
        batch_size: images that go through the network at once.
    """
    logits = classifier.logits(problem.images, batch_size=batch_size)
    logits[np.arange(len(problem)), problem.goals] = -np.inf
    ranked = np.argsort(-logits, axis=1, kind="stable")
    return ranked[:, : min(most, classifier.num_classes - 1)].astype(np.int32)


def nearest(
    classifier: Classifier, problem: Problem, known: IntArray, *, norm: str, batch_size: int
) -> tuple[IntArray, FloatArray]:
    """Wrong classes, the nearest first, and estimates of their distances, infinite where flat: (N, count) each.

    The estimate is the logit gap over the dual norm of its gradient, as in MALT (Melamed et al., arXiv 2407.02240).

    Args:
        classifier: what is attacked.
        problem: images and true classes.
        known: (N,) int32, a class of each image whose estimate is infinite, since a search has already been there;
            NO_AIM for none.
        norm: ``"l2"`` or ``"linf"``.
        batch_size: images that go through the network at once.
    """
    ranked = count(classifier)
    logits = classifier.logits(problem.images, batch_size=batch_size)
    rows = np.arange(len(problem))
    lowest = np.finfo(np.float32).min
    logits[rows, problem.goals] = lowest
    logits[rows[known != NO_AIM], known[known != NO_AIM]] = lowest
    candidates = np.argsort(-logits, axis=1)[:, :ranked].astype(np.int32)
    estimate = classifier.graph(
        ("rivals", norm),
        lambda: _estimate(classifier, norm),
        [classifier.image_signature, tf.TensorSpec((None,), tf.int32), tf.TensorSpec((None,), tf.int32)],
    )

    def of_pairs(batch: Any) -> tuple[Any, ...]:
        images = batch // ranked
        return estimate(problem.images[images], problem.goals[images], candidates.reshape(-1)[batch])  # type: ignore[no-any-return]

    estimates, zero, nonfinite = run_in_batches(
        classifier, of_pairs, candidates.size, batch_size=batch_size, progress=no_progress
    )
    left_out = (candidates == problem.goals[:, None]) | (candidates == known[:, None])
    problem.weak.add((zero.reshape(-1, ranked) & ~left_out).sum(axis=1), nonfinite.reshape(-1, ranked).sum(axis=1))
    distances = np.where(left_out, np.inf, estimates.reshape(-1, ranked)).astype(np.float32)
    order = np.argsort(distances, axis=1, kind="stable")
    return np.take_along_axis(candidates, order, axis=1), np.take_along_axis(distances, order, axis=1)


def _estimate(classifier: Classifier, norm: str) -> Any:
    def estimate(images: Any, goals: Any, candidates: Any) -> Any:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            logits = classifier(images)
            gap = chosen_logits(logits, goals) - chosen_logits(logits, candidates)
        uphill = slope(gap, tape.gradient(gap, images))
        steepness = NORMS[norm].steepness(uphill.gradient)
        distance = tf.where(steepness > 0, tf.math.divide_no_nan(gap, steepness), math.inf)
        return distance, uphill.zero, uphill.nonfinite

    return estimate
