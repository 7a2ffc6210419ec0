"""Whatever way a search takes, what it returns is the best of all that it has looked at."""

import numpy as np
import pytest
import tensorflow as tf

from advkeras.attacks import PGD, HopSkipJump, OptBrittle
from advkeras.searches.decoupled_search import DecoupledSearch
from advkeras.searches.penalty_search import PenaltySearch

from ..conftest import FEATURES, SHAPE
from ..recording import RecordingClassifier, wavy

IMAGES = np.random.default_rng(8).uniform(0.3, 0.7, (4, *SHAPE)).astype(np.float32)
# What undoes rounding moves a result outwards by up to so much.
PUSHED = 1.004


def successes(classifier, image, label):
    """Distances of all points that were misclassified, in the order in which they were looked at."""
    points = classifier.points()
    fooled = classifier.answer(points).argmax(axis=1) != label
    return np.sqrt(((points[fooled] - image.reshape(FEATURES)) ** 2).mean(axis=1))


@pytest.mark.parametrize(
    ("attack", "frequency"),
    [
        (OptBrittle(search=DecoupledSearch(gradients=100)), 6),
        # One search comes nearer with nearly every success, unless regions are tiny.
        (OptBrittle(search=DecoupledSearch(gradients=40, restarts=False)), 60),
        (OptBrittle(search=PenaltySearch(learning_rate=0.05, initial_weight=0.1, weight_steps=3, iterations=60)), 6),
        (HopSkipJump(queries=200), 6),
    ],
    ids=["decoupled", "one search", "penalty", "hopskipjump"],
)
def test_the_nearest_success_is_returned(attack, frequency):
    classifier = wavy(frequency)
    for image in IMAGES:
        classifier.asked.clear()
        label = int(classifier.answer(image.reshape(1, FEATURES)).argmax())
        result = attack(classifier, image[None], np.array([label]))
        distances = successes(classifier, image, label)
        assert result.success.all()
        assert distances.min() * 0.999 <= result.distortion[0] <= distances.min() * PUSHED


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("loss", ["margin", "cross_entropy"])
def test_pgd_returns_the_point_of_the_largest_margin(norm, loss):
    epsilon = 0.03 if norm == "linf" else 0.1
    classifier = wavy()
    for image in IMAGES:
        classifier.asked.clear()
        label = int(classifier.answer(image.reshape(1, FEATURES)).argmax())
        attack = PGD(epsilon=epsilon, norm=norm, loss=loss, iterations=30, step=epsilon / 2)
        result = attack(classifier, image[None], np.array([label]))
        # The first is the image itself, the last ones are the verification's.
        logits = classifier.answer(classifier.points()[1:32])
        margins = np.delete(logits, label, axis=1).max(axis=1) - logits[:, label]
        found = classifier.answer(result.adversarials.reshape(1, FEATURES))[0]
        assert np.delete(found, label).max() - found[label] == pytest.approx(margins.max(), abs=2e-3)


def test_pgd_in_l2_may_stay_inside_the_ball():
    """The margin is largest at a point in the middle of the ball, 0.1 away."""
    image = np.full((1, *SHAPE), 0.5, np.float32)
    top = 0.5 + 0.1 * np.full(FEATURES, FEATURES**-0.5)

    def logits(flat):
        height = 1.0 - 400.0 * tf.reduce_sum(tf.square(flat - tf.constant(top, tf.float32)), axis=1)
        return tf.stack([tf.zeros_like(height), height], axis=1)

    classifier = RecordingClassifier(logits)
    result = PGD(epsilon=0.3, norm="l2", loss="margin", iterations=60, step=0.01)(classifier, image, np.array([0]))
    assert np.linalg.norm(result.adversarials.reshape(-1) - top) < 0.02
    lengths = np.linalg.norm(classifier.points() - 0.5, axis=1)
    assert lengths.max() <= 0.3 + 1e-5
