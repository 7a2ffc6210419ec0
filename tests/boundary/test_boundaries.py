"""Boundary distances and purity, against what is known of them in closed form or counted by hand."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from advkeras.boundary import BoundarySearch, purity, random_directions
from advkeras.datasets import CIFAR10, MNIST
from advkeras.errors import InvalidInputError
from advkeras.models import Classifier

from ..conftest import FEATURES, SHAPE, linear_classifier

STEP, REACH = 0.003, 0.1
THREE_CLASSES = linear_classifier(np.random.default_rng(2).standard_normal((FEATURES, 3)), np.zeros(3))


def by_hand(classifier, images: np.ndarray, search: BoundarySearch) -> tuple[np.ndarray, np.ndarray]:
    """The definition, one image and one direction at a time."""
    directions = random_directions(search.directions, SHAPE, negatives=search.negatives, seed=search.seed)
    distances = np.full((len(images), search.directions), np.inf)
    adjacent = np.full((len(images), search.directions), -1)
    lengths = search.step * np.arange(1, search.steps + 1)
    for i, image in enumerate(images):
        own = classifier.predict(image[None])[0]
        for j, direction in enumerate(directions):
            points = np.clip(image + lengths[:, None, None, None] * direction, *classifier.bounds)
            classes = classifier.predict(points.astype(np.float32))
            looked_at = np.append(np.arange(search.stride, search.steps, search.stride), search.steps) - 1
            beyond = looked_at[classes[looked_at] != own]
            if len(beyond):
                before = np.arange(max(beyond[0] - search.stride + 1, 0), beyond[0] + 1)
                first = before[classes[before] != own][0]
                distances[i, j], adjacent[i, j] = lengths[first], classes[first]
    return distances, adjacent


def test_directions_are_orthogonal_and_of_rms_1():
    directions = random_directions(20, SHAPE, negatives=True, seed=3).reshape(20, -1)
    np.testing.assert_allclose(directions[:10] @ directions[:10].T, FEATURES * np.eye(10), atol=1e-4)
    np.testing.assert_array_equal(directions[10:], -directions[:10])
    assert (random_directions(5, SHAPE, negatives=False, seed=4) != directions[:5].reshape(5, *SHAPE)).any()


def test_what_is_not_classified_lies_beyond_no_boundary_and_has_none():
    def darkly(images):
        first = tf.reshape(images, (-1, FEATURES))[:, :1]
        return tf.where(first > 0.6, np.nan, tf.concat([3 - first, first], axis=1))  # class 0, or none

    classifier = Classifier(darkly, bounds=(0.0, 1.0), input_shape=SHAPE, name="darkly")
    images = np.full((2, *SHAPE), 0.5, np.float32)
    images[1, 0, 0, 0] = 0.7
    found = BoundarySearch(directions=24, negatives=True, step=0.02, reach=0.4)(classifier, images)
    np.testing.assert_array_equal(found.classes, [0, -1])
    assert np.isinf(found.distances).all()
    assert not found.met.any()
    assert found.forward_count == 2 * 24 * 20 + 2
    assert 0 <= found.seconds < 60


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (0.0, 255.0)])
def test_distances_to_a_hyperplane_are_the_closed_form_to_a_step(half_space, grey_images, bounds):
    low, high = bounds
    classifier, normal = half_space(bounds=bounds)
    search = BoundarySearch(
        directions=24, negatives=True, step=STEP * (high - low), reach=REACH * (high - low), batch_size=7
    )
    images = grey_images(bounds=bounds, spread=0.02)
    found = search(classifier, images)
    directions = random_directions(24, SHAPE, negatives=True, seed=0).reshape(24, -1)
    beyond = (images.reshape(len(images), -1) - (low + high) / 2) @ normal
    with np.errstate(divide="ignore"):
        exact = -beyond[:, None] / (directions @ normal)[None]
    reachable = (exact > 0) & (exact <= search.step * search.steps)
    np.testing.assert_array_equal(found.met, reachable)
    late = found.distances[reachable] - exact[reachable]
    assert (late > -1e-4 * (high - low)).all()
    assert (late <= search.step * 1.001).all()
    np.testing.assert_array_equal(
        found.adjacent[reachable], (1 - np.broadcast_to(found.classes[:, None], reachable.shape))[reachable]
    )
    assert np.isinf(found.distances[~reachable]).all()
    assert 0.1 < reachable.mean() < 0.9


def test_points_are_clipped_to_the_bounds(grey_images):
    """Class 1 lies where the sum of pixels is larger than any clipped image's, so no boundary is met."""
    weights = np.zeros((FEATURES, 2))
    weights[:, 1] = 1.0
    classifier = linear_classifier(weights, np.array([0.0, -FEATURES - 1e-3]))
    found = BoundarySearch(directions=8, step=0.1, reach=5.0)(classifier, grey_images())
    assert not found.met.any()
    assert found.forward_count == 8 * 8 * 50 + 8


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 40), st.integers(1, 9), st.booleans(), st.integers(1, 25))
def test_the_result_does_not_depend_on_the_batch(batch_size, count, negatives, stride):
    images = np.random.default_rng(count).uniform(0.3, 0.7, (count, *SHAPE)).astype(np.float32)
    search = BoundarySearch(
        directions=6,
        negatives=negatives,
        step=0.02,
        reach=0.4,
        stride=stride,
        seed=count,
        batch_size=batch_size,
    )
    found = search(THREE_CLASSES, images)
    distances, adjacent = by_hand(THREE_CLASSES, images, search)
    np.testing.assert_allclose(found.distances, distances, rtol=1e-6)
    np.testing.assert_array_equal(found.adjacent, adjacent)
    if stride == 1:
        walked = np.where(found.met, np.rint(found.distances / search.step), search.steps)
        assert found.forward_count == walked.sum() + count


def test_with_a_stride_a_boundary_that_is_crossed_once_is_found_at_the_same_step(half_space, grey_images):
    classifier, _ = half_space(bounds=(0.0, 1.0))
    images = grey_images(bounds=(0.0, 1.0), spread=0.02)
    every, some = (
        BoundarySearch(directions=24, negatives=True, step=STEP, reach=REACH, stride=stride)(classifier, images)
        for stride in (1, 5)
    )
    np.testing.assert_array_equal(some.distances, every.distances)
    np.testing.assert_array_equal(some.adjacent, every.adjacent)
    assert some.forward_count < every.forward_count / 2


def test_no_forward_is_wasted_on_more_images_than_are_walked_at_once():
    images = np.random.default_rng(0).uniform(0.3, 0.7, (37, *SHAPE)).astype(np.float32)
    search, seen = BoundarySearch(directions=4, step=0.02, reach=0.4), []
    found = search(THREE_CLASSES, images, progress=lambda done, total: seen.append((done, total)))
    np.testing.assert_array_equal(found.adjacent[20:], search(THREE_CLASSES, images[20:]).adjacent)
    walked = np.where(found.met, np.rint(found.distances / search.step), search.steps)
    assert found.forward_count == walked.sum() + len(images)
    assert seen == [(16, 37), (32, 37), (37, 37)]


def test_purity_counted_by_hand():
    adjacent = np.array([[1, 1, 2, 3], [2, 2, 2, -1], [-1, -1, -1, -1], [0, 1, 2, 3]], np.int32)
    expected = [[0.5, 0.75, 1.0], [1.0, 1.0, 1.0], [np.nan] * 3, [0.25, 0.5, 0.75]]
    np.testing.assert_allclose(purity(adjacent, 4), expected)


@given(st.lists(st.integers(-1, 4), min_size=1, max_size=30))
def test_purity_grows_to_1_and_does_not_depend_on_the_order(adjacent):
    values = purity(np.array([adjacent, adjacent[::-1]], np.int32), 6)
    np.testing.assert_array_equal(values[0], values[1])
    if max(adjacent) >= 0:
        assert (np.diff(values[0]) >= 0).all()
        assert values[0][-1] == pytest.approx(1.0)
        assert values[0][0] >= 1 / 5


def test_the_papers_settings():
    mnist, cifar = BoundarySearch.paper(MNIST), BoundarySearch.paper(CIFAR10)
    assert (mnist.directions, mnist.negatives, mnist.steps) == (1568, True, 50)
    assert (cifar.directions, cifar.negatives, cifar.steps) == (1000, False, 63)


def test_senseless_searches_are_refused(grey_images):
    for call, message in (
        (lambda: BoundarySearch(directions=0, step=1, reach=1), "directions=0"),
        (lambda: BoundarySearch(directions=3, negatives=True, step=1, reach=1), "even number"),
        (lambda: BoundarySearch(directions=3, step=0, reach=1), "step=0"),
        (lambda: BoundarySearch(directions=3, step=1, reach=2, stride=0), "stride=0"),
        (lambda: BoundarySearch(directions=3, step=1, reach=0.5), "reach must be at least a step"),
        (
            lambda: BoundarySearch(directions=25, step=0.1, reach=1)(THREE_CLASSES, grey_images()),
            "24 features has no 25 orthogonal directions",
        ),
    ):
        with pytest.raises(InvalidInputError, match=message):
            call()


def test_the_graph_function_finds_the_same(grey_images):
    search = BoundarySearch(directions=6, step=0.02, reach=0.4)
    found = search(THREE_CLASSES, grey_images())
    distances, adjacent = search.graph_function(THREE_CLASSES)(grey_images())
    np.testing.assert_array_equal(distances, found.distances)
    np.testing.assert_array_equal(adjacent, found.adjacent)
