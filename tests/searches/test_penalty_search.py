"""The binary search on the weight, and each weight's descent, against plain ones."""

import numpy as np
import pytest
import tensorflow as tf

from advkeras.attacks import OptBrittle, OptStrong
from advkeras.searches.penalty_search import PenaltySearch

from ..conftest import SHAPE
from ..recording import RecordingClassifier, wavy

IMAGE = np.random.default_rng(8).uniform(0.3, 0.7, (1, *SHAPE)).astype(np.float32)


def test_a_distortion_that_falls_by_less_than_a_thousandth_is_stalled():
    search = PenaltySearch(patience=9)
    state, stalled = search._initial(IMAGE, np.zeros(1, np.int32)), []
    # Distances are squared; a point that fools nobody is no progress, however near.
    for distance, margin in ((4.0, -1.0), (2.0, 1.0), (1.999, 1.0), (1.998, 1.0), (1.9, 1.0), (1.0, -1.0)):
        numbers = (np.float32([value]) for value in (distance, margin, 1.0))
        found = *numbers, np.zeros_like(IMAGE), np.array([False]), np.array([False])
        state = search._iterate(lambda *_, found=found: (IMAGE, *found), state, ())
        stalled.append(int(state.stalled[0]))
    assert stalled == [0, 0, 1, 2, 0, 1]
    assert (float(state.best_distance[0]), int(state.best_step[0])) == (pytest.approx(1.9), 4)


def weights_of_plain_bisection(first, enough, steps):
    lower, upper, weight, tried = 0.0, np.inf, first, []
    for _ in range(steps):
        tried.append(weight)
        if weight >= enough:
            upper = min(upper, weight)
        else:
            lower = max(lower, weight)
        weight = (lower + upper) / 2 if upper < np.inf else 10 * weight
    return tried


@pytest.mark.parametrize("enough", [0.3, 0.7, 1.5, 6.0, 230.0])
def test_the_weights_are_those_of_a_bisection(enough):
    steps, search = 9, PenaltySearch(initial_weight=1.0, weight_steps=20, iterations=30)
    state = search._initial(IMAGE, np.zeros(1, np.int32))
    tried = []
    for _ in range(steps):
        weight = float(np.asarray(state.weight)[0])
        tried.append(weight)
        through = state._replace(iteration=np.array([30], np.int32), succeeded=np.array([weight >= enough]))
        state = search._next_weight(through)
    np.testing.assert_allclose(tried, weights_of_plain_bisection(1.0, enough, steps), rtol=1e-5)
    np.testing.assert_array_equal(state.weight_step, [steps])


def test_each_weight_begins_anew():
    """No weight succeeds, so the second is ten times the first: its points are those of a search that begins there."""
    visited = []
    for first, steps in ((1e-4, 2), (1e-3, 1)):
        classifier = wavy()
        label = classifier.answer(IMAGE.reshape(1, -1)).argmax(axis=1)
        search = PenaltySearch(initial_weight=first, weight_steps=steps, iterations=20, learning_rate=0.05)
        OptStrong(confidence=1e4, search=search)(classifier, IMAGE, label)
        visited.append(classifier.points())
    both, second = visited
    np.testing.assert_allclose(both[21:41], second[1:21], atol=1e-5)
    assert np.abs(both[1:21] - both[21:41]).max() > 1e-3


def test_a_weight_is_given_up_where_its_loss_does_not_fall():
    """Nothing changes the logits: the loss is looked at after 100 iterations, and again after as many."""
    flat = RecordingClassifier(lambda flat: 0.0 * flat[:, :2] + tf.constant([3.0, 0.0]))
    result = OptBrittle(search=PenaltySearch(weight_steps=2, iterations=1_000))(flat, IMAGE, np.array([0]))
    assert result.gradient_count == 2 * 200


def test_a_descent_is_adams():
    """Against a few lines of NumPy in float64."""
    scale, rate, weight, iterations = 3.0, 0.1, 5.0, 12
    normal = np.random.default_rng(5).standard_normal(IMAGE.size)
    matrix = tf.constant(np.stack([np.zeros(IMAGE.size), scale * normal], axis=1), tf.float32)
    classifier = RecordingClassifier(lambda flat: (flat - 0.5) @ matrix - tf.constant([0.0, 4.0]))
    label = classifier.answer(IMAGE.reshape(1, -1)).argmax(axis=1)
    assert label == 0
    search = PenaltySearch(learning_rate=rate, initial_weight=weight, weight_steps=1, iterations=iterations)
    OptBrittle(search=search)(classifier, IMAGE, label)
    image = IMAGE.reshape(-1).astype(np.float64)
    variable = np.arctanh((2 * image - 1) * 0.999999)
    first, second = np.zeros_like(variable), np.zeros_like(variable)
    for iteration in range(1, iterations + 1):
        point = (np.tanh(variable) + 1) / 2
        np.testing.assert_allclose(classifier.points()[iteration], point, atol=2e-5)
        missed = max(0.0, 4.0 - scale * (point - 0.5) @ normal)
        by_point = 2 * (point - image) - weight * (missed > 0) * scale * normal
        gradient = by_point * (1 - (2 * point - 1) ** 2) / 2
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        step = rate * np.sqrt(1 - 0.999**iteration) / (1 - 0.9**iteration)
        variable = variable - step * first / (np.sqrt(second) + 1e-8)


def test_patience_ends_a_search_after_so_many_iterations_and_no_sooner():
    search = PenaltySearch(patience=3, weight_steps=4, iterations=50)
    state = search._initial(np.repeat(IMAGE, 3, axis=0), np.zeros(3, np.int32))
    after = search._next_weight(state._replace(stalled=np.array([2, 3, 4], np.int32)))
    np.testing.assert_array_equal(after.finished, [False, True, True])


def test_what_is_told_of_an_image_does_not_depend_on_its_company():
    """One image is given up early, the others go on: it stays in their batch to the end of a call."""
    images = np.random.default_rng(3).uniform(0.3, 0.7, (6, *SHAPE)).astype(np.float32)
    classifier = wavy()
    labels = classifier.answer(images.reshape(6, -1)).argmax(axis=1)
    attack = OptBrittle(search=PenaltySearch(patience=3, weight_steps=4, iterations=60, learning_rate=0.003))
    together = attack(classifier, images, labels)
    alone = [attack(classifier, images[i : i + 1], labels[i : i + 1]) for i in range(6)]
    np.testing.assert_array_equal(together.trace.steps, [each.trace.steps[0] for each in alone])
    assert len(set(together.trace.steps.tolist())) > 1
