"""Gradients that say nothing are counted: each once, and no others."""

import numpy as np
import pytest
import tensorflow as tf

from advkeras.attacks import APGD, FAB, PGD, DecoupledSearch, OptBrittle, PenaltySearch

from ..conftest import SHAPE
from ..recording import RecordingClassifier

IMAGES = np.random.default_rng(4).uniform(0.1, 0.9, (3, *SHAPE)).astype(np.float32)


@tf.custom_gradient
def blind(pixel):
    return tf.zeros_like(pixel), lambda upstream: tf.fill(tf.shape(pixel), np.nan)


@pytest.mark.parametrize(
    ("attack", "gradients"),
    [
        (PGD(epsilon=0.1, iterations=8, loss="margin"), 8),
        (APGD(epsilon=0.1, iterations=10), 11),
        (FAB(iterations=10), 10),
        (OptBrittle(search=DecoupledSearch(gradients=60)), 60),  # in two parts
        (OptBrittle(search=PenaltySearch(weight_steps=1, iterations=10)), 10),
    ],
    ids=["pgd", "apgd", "fab", "decoupled", "penalty"],
)
def test_every_gradient_that_says_nothing_counts_once(attack, gradients):
    def flat(pixels):
        return 0.0 * pixels[:, :2] + tf.constant([3.0, 0.0])

    def nan(pixels):
        return tf.stack([30.0 + blind(pixels[:, 0]), tf.reduce_sum(pixels[:, 1:], axis=1)], axis=1)

    for logits, zero, nonfinite in ((flat, gradients, 0), (nan, 0, gradients)):
        result = attack(RecordingClassifier(logits), IMAGES, np.zeros(3, np.int32))
        np.testing.assert_array_equal(result.zero_gradients, zero)
        np.testing.assert_array_equal(result.nonfinite_gradients, nonfinite)


def test_a_search_that_has_reached_its_goal_has_no_zero_gradients(half_space, grey_images):
    """There the attack loss is 0, and so is its gradient, as it should be."""
    classifier, _ = half_space()
    images = grey_images(3)
    attack = OptBrittle(search=PenaltySearch(weight_steps=2, iterations=20))
    result = attack(classifier, images, classifier.predict(images))
    assert result.success.all()
    assert not result.zero_gradients.any()
