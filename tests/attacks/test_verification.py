"""What attacks promise is held against fresh passes: the margin, the members, the vote."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import tensorflow as tf

from advkeras.attacks import FixedNormAttack, OptBrittle, OptMargin, OptRegion
from advkeras.attacks.opt_attack import OptAttack
from advkeras.attacks.rounding import beyond_rounding
from advkeras.models import Classifier
from advkeras.searches.problem import Problem

from ..conftest import SHAPE
from ..recording import RecordingClassifier

BRIGHT = np.full((3, *SHAPE), 0.9, np.float32)


def by_brightness():
    """The margin of class 1 is 100 times the mean pixel beyond a half."""
    return RecordingClassifier(
        lambda flat: tf.stack([tf.zeros(tf.shape(flat)[0]), 100 * (tf.reduce_mean(flat, axis=1) - 0.5)], axis=1)
    )


def test_a_margin_that_is_missed_is_no_success():
    @dataclass(frozen=True, kw_only=True)
    class Short(OptAttack):
        name: ClassVar[str] = "short"
        title: ClassVar[str] = "Short"

        def run(self, classifier, problem, progress):
            return np.stack([np.full(SHAPE, value, np.float32) for value in (0.45, 0.475, 0.499)])

    classifier, labels = by_brightness(), np.ones(3, np.int32)
    for confidence, expected in ((0.0, [True] * 3), (2.0, [True, True, False]), (4.0, [True, False, False])):
        result = Short(confidence=confidence)(classifier, BRIGHT, labels)
        np.testing.assert_array_equal(result.success, expected)
        # Where there is no success the image stands in.
        np.testing.assert_array_equal((result.adversarials == BRIGHT).all(axis=(1, 2, 3)), ~np.array(expected))


@pytest.mark.parametrize("tampered", ["images", "goals"])
def test_an_attack_that_writes_into_its_problem_is_judged_by_what_was_given(tampered):
    @dataclass(frozen=True, kw_only=True)
    class Tampering(FixedNormAttack):
        name: ClassVar[str] = "tampering"
        title: ClassVar[str] = "Tampering"

        def run(self, classifier, problem, progress):
            if tampered == "images":
                problem.images[:] = 0.0  # misclassified, and far beyond epsilon
            else:
                problem.goals[:] = 0
            return problem.images

    images, labels = BRIGHT.copy(), np.ones(3, np.int32)
    result = Tampering(epsilon=0.1)(by_brightness(), images, labels)
    assert result.attacked.all()
    assert not result.success.any()
    np.testing.assert_array_equal(images, BRIGHT)
    np.testing.assert_array_equal(labels, 1)


def test_members_are_judged_as_they_are_classified_clipped_if_one_asks():
    """Beyond the bounds this network says what it never would within them."""

    def logits(flat):
        beyond = tf.reduce_sum(tf.nn.relu(flat - 1.0) + tf.nn.relu(-flat), axis=1)
        return tf.stack([tf.fill(tf.shape(beyond), 3.0), 4.0 - 100.0 * beyond], axis=1)

    problem = Problem(BRIGHT, np.zeros(3, np.int32), False, np.arange(3, dtype=np.int32))
    candidates = np.full_like(BRIGHT, 0.99)
    usual = OptMargin(member_rms=0.3, ensemble_size=4)
    for attack, clipped in ((usual, False), (replace(usual, clip_members=True), True)):
        np.testing.assert_array_equal(attack.verify(RecordingClassifier(logits), problem, candidates), [clipped] * 3)


def test_a_margin_that_is_just_met_is_a_success():
    """Logits in whole numbers, as quantised models have them: a tie is what the model makes of it."""

    def logits(images):
        lead = tf.round(100 * (tf.reduce_mean(images, axis=[1, 2, 3]) - 0.5))
        return tf.stack([tf.zeros_like(lead), lead], axis=1)

    classifier = Classifier(logits, bounds=(0.0, 1.0), input_shape=SHAPE, name="whole")
    problem = Problem(BRIGHT, np.ones(3, np.int32), False, np.arange(3, dtype=np.int32))
    candidates = np.stack([np.full(SHAPE, value, np.float32) for value in (0.45, 0.48, 0.5)])
    for confidence, expected in ((0.0, [True] * 3), (2.0, [True, True, False]), (5.0, [True, False, False])):
        found = OptBrittle(confidence=confidence).verify(classifier, problem, candidates)
        np.testing.assert_array_equal(found, expected)


def test_every_vote_is_of_points_that_no_other_has_seen():
    classifier = by_brightness()
    problem = Problem(BRIGHT, np.ones(3, np.int32), False, np.arange(3, dtype=np.int32))
    attack = OptRegion(radius=0.05, samples=30, combine="mean_logits")
    attack.decisions(classifier, problem, problem.goals)
    first = classifier.points()
    classifier.asked.clear()
    attack.verify(classifier, problem, BRIGHT)
    last = classifier.points()
    assert len(first) == len(last) == 90
    assert len(np.unique(np.concatenate([first, last]), axis=0)) == 180


def test_what_rounding_undoes_is_moved_outwards_until_it_holds():
    @dataclass(frozen=True, kw_only=True)
    class Picky(OptBrittle):
        def verify(self, classifier, problem, candidates):
            return (candidates - problem.images).mean(axis=(1, 2, 3)) <= -0.10015

    images = np.repeat(BRIGHT[:1], 4, axis=0)
    problem = Problem(images, np.ones(4, np.int32), False, np.arange(4, dtype=np.int32))
    candidates = images - np.array([0.1, 0.2, 0.0, 0.05], np.float32)[:, None, None, None]
    pushed = beyond_rounding(Picky(), by_brightness(), problem, candidates.copy())
    # By a thousandth: the first twice, the last as often as may be. The second holds; nothing was found of the third.
    np.testing.assert_allclose(images[0] - pushed[0], 0.1 * 1.001**2, rtol=1e-4)
    np.testing.assert_allclose(images[3] - pushed[3], 0.05 * 1.001**3, rtol=1e-4)
    np.testing.assert_array_equal(pushed[1:3], candidates[1:3])
