"""The attacks without gradients, on half-spaces of which only the logits are to be had."""

from dataclasses import replace

import numpy as np
import pytest

from advkeras.attacks import PGD, HopSkipJump, OptBrittle, Square
from advkeras.errors import InvalidInputError
from advkeras.models import Classifier
from advkeras.searches import boundary_walks

from ..conftest import FEATURES, SHAPE, linear_classifier, to_the_plane

BOUNDS = [(0.0, 1.0), (0.0, 255.0), (-1.0, 3.0)]
# Every attack classifies the images before its search, and the examples twice after it.
OWN_FORWARDS = 3


class Endpoint(Classifier):
    """Answers with logits, row by row alike in any batch, and keeps the points that it was asked about."""

    differentiable = False

    def __init__(self, classifier: Classifier, *, classes_only: bool = False) -> None:
        super().__init__(classifier, bounds=classifier.bounds, input_shape=SHAPE, name="endpoint")
        # The highest pixel at a time, so that the weights are as exact in one unit as in another.
        high = classifier.bounds[1]
        rows = [classifier.logits(image[None])[0] for image in high * np.eye(FEATURES).reshape(-1, *SHAPE)]
        self.bias = classifier.logits(np.zeros((1, *SHAPE)))[0]
        self.weights = (np.stack(rows).astype(np.float64) - self.bias) / high
        self.classes_only = classes_only
        self.asked: list[np.ndarray] = []

    def logits(self, images, *, batch_size=256):
        self.asked += [np.array(images[i : i + batch_size]) for i in range(0, len(images), batch_size)]
        products = np.reshape(images, (-1, FEATURES, 1)).astype(np.float64) * self.weights
        logits = (self.bias + products.sum(axis=1)).astype(np.float32)
        return np.eye(self.num_classes, dtype=np.float32)[logits.argmax(axis=1)] if self.classes_only else logits

    def __call__(self, images):
        raise AssertionError("there is no graph to run")

    def graph(self, *arguments, **options):
        raise AssertionError("there is no graph to compile")


@pytest.fixture
def endpoint(half_space):
    """A half-space behind an endpoint, and its normal."""

    def make(**options):
        classifier, normal = half_space(**options)
        return Endpoint(classifier), normal

    return make


def three_classes(bias=(0.0, 0.0, 0.0)):
    weights = np.linalg.qr(np.random.default_rng(3).standard_normal((FEATURES, 3)))[0] * 20
    return Endpoint(linear_classifier(weights, np.asarray(bias) - weights.sum(axis=0) / 2))


@pytest.mark.parametrize("bounds", BOUNDS)
def test_square_reaches_what_a_corner_of_the_ball_reaches(endpoint, grey_images, bounds):
    classifier, normal = endpoint(bounds=bounds)
    images = grey_images(count=40, bounds=bounds)
    epsilon = 0.02
    result = Square(epsilon=epsilon * (bounds[1] - bounds[0]))(classifier, images, classifier.predict(images))
    needed = to_the_plane(images, normal, bounds) / (epsilon * np.abs(normal).sum())
    assert (needed < 0.9).sum() >= 10
    assert (needed > 1.01).sum() >= 3
    assert result.success[needed < 0.9].all()
    assert not result.success[needed > 1.01].any()


def test_square_climbs_to_the_corner_of_the_ball(endpoint, grey_images):
    """From an image out of reach the search goes on to its budget's end."""
    classifier, normal = endpoint()
    images = grey_images(count=40)
    images = images[to_the_plane(images, normal) > 0.006 * np.abs(normal).sum()]
    labels = classifier.predict(images)
    result = Square(epsilon=0.005)(classifier, images, labels)
    away = np.where(labels == 0, 1, -1)[:, None] * normal
    climbed = ((result.adversarials - images).reshape(len(images), -1) * away).sum(axis=1)
    np.testing.assert_allclose(climbed, 0.005 * np.abs(normal).sum(), rtol=0.01)


def test_squares_windows_shrink_as_the_budget_is_used_up():
    attack = Square(epsilon=0.1, queries=5_000, initial_share=0.8)
    asked = np.array([4, 5, 24, 25, 100, 500, 3_999])
    shares = np.array([0.8, 0.4, 0.4, 0.2, 0.1, 0.05, 0.00625])
    np.testing.assert_array_equal(attack.window_sides(asked, 280, 280), np.rint(280 * np.sqrt(shares)))
    late = np.array([5_000])
    assert attack.window_sides(late, 28, 28) == 2
    assert attack.window_sides(late, 5, 5) == 1
    assert attack.window_sides(np.array([1]), 4, 100) == 4


@pytest.mark.parametrize("targeted", [False, True])
def test_square_asks_no_more_about_images_that_are_fooled(endpoint, grey_images, targeted):
    classifier, _ = endpoint()
    images = grey_images(count=40)
    images = images[classifier.predict(images) == 0]
    classifier.asked.clear()
    zeros = np.zeros(len(images), np.int32)
    result = Square(epsilon=0.02, queries=50, batch_size=7)(classifier, images, zeros, zeros + 1 if targeted else None)
    own = -(-len(images) // 7)
    of_the_search = np.concatenate(classifier.asked[own : -2 * own])
    assert 3 <= result.success.sum() < len(images)
    assert (classifier.predict(of_the_search) == 1).sum() == result.success.sum()


@pytest.mark.parametrize("queries", [1, 2, 13, 40, 300])
def test_no_image_takes_more_queries_than_its_budget(endpoint, grey_images, queries):
    classifier, normal = endpoint()
    images = grey_images(count=20)
    labels = classifier.predict(images)
    farthest = to_the_plane(images, normal).argsort()[-3:]
    for attack in (Square(epsilon=0.001, queries=queries), HopSkipJump(queries=queries, initial_samples=10)):
        for one in farthest:
            classifier.asked.clear()
            result = attack(classifier, images[[one]], labels[[one]])
            sent = sum(map(len, classifier.asked))
            assert sent == result.forward_count <= queries + OWN_FORWARDS
            assert result.gradient_count == 0
            if attack.name == "hopskipjump" and queries == 300:
                assert sent == queries + OWN_FORWARDS


def test_square_does_not_ask_again_about_the_best_point(endpoint, grey_images):
    classifier, _ = endpoint()
    images = grey_images(count=1)
    [label] = classifier.predict(images)
    classifier.asked.clear()
    result = Square(epsilon=0.0001, queries=300)(classifier, images, [label])
    sent = np.concatenate(classifier.asked[1 : 1 - OWN_FORWARDS])
    assert 150 < len(sent) == result.trace.queries[0] < 300
    answers = classifier.logits(sent)
    leads = answers[:, 1 - label] - answers[:, label]
    for place in range(1, len(sent)):
        assert (sent[place] != sent[leads[:place].argmax()]).any()


@pytest.mark.parametrize("bounds", BOUNDS)
def test_hopskipjump_comes_near_the_projection_on_the_hyperplane(endpoint, grey_images, bounds):
    classifier, normal = endpoint(bounds=bounds)
    images = grey_images(bounds=bounds)
    result = HopSkipJump(queries=2_000)(classifier, images, classifier.predict(images))
    least = to_the_plane(images, normal, bounds) / np.sqrt(FEATURES) * (bounds[1] - bounds[0])
    assert result.success.all()
    assert (result.distortion >= least * 0.999).all()
    assert (result.distortion <= least * 1.15).all()


def test_hopskipjump_sees_classes_only(half_space, grey_images):
    by_logits, by_classes = (Endpoint(half_space()[0], classes_only=only) for only in (False, True))
    images = grey_images()
    labels = by_logits.predict(images)
    attack = HopSkipJump(queries=200, initial_samples=20)
    np.testing.assert_array_equal(
        attack(by_classes, images, labels).adversarials, attack(by_logits, images, labels).adversarials
    )


@pytest.mark.parametrize("attack", [Square(epsilon=0.3), HopSkipJump(queries=500)], ids=lambda attack: attack.name)
def test_targets_are_reached(grey_images, attack):
    classifier = three_classes()
    images = grey_images()
    labels = classifier.predict(images)
    result = attack(classifier, images, labels, (labels + 1) % 3)
    assert result.success.all()
    np.testing.assert_array_equal(result.predictions, (labels + 1) % 3)


def test_hopskipjump_leaves_an_image_as_it_was_where_no_noise_is_of_the_target(grey_images):
    classifier = three_classes(bias=(0.0, 0.0, -1000.0))
    images = grey_images()
    result = HopSkipJump(queries=500)(classifier, images, classifier.predict(images), np.full(len(images), 2))
    assert not result.success.any()
    np.testing.assert_array_equal(result.adversarials, images)
    assert result.forward_count == len(images) * (50 + OWN_FORWARDS)


def test_of_large_images_hopskipjump_walks_with_a_few_at_a_time(endpoint, grey_images, monkeypatch):
    classifier, _ = endpoint()
    images = grey_images(count=20)
    labels = classifier.predict(images)
    expected = HopSkipJump(queries=300)(classifier, images, labels)
    classifier.asked.clear()
    monkeypatch.setattr(boundary_walks, "_PIXELS_AT_ONCE", 3 * boundary_walks.POINTS_AT_ONCE * FEATURES)
    result = HopSkipJump(queries=300)(classifier, images, labels)
    np.testing.assert_array_equal(result.adversarials, expected.adversarials)
    assert max(map(len, classifier.asked[1:-2])) == 3 * boundary_walks.POINTS_AT_ONCE


@pytest.mark.parametrize(
    "attack", [Square(epsilon=0.02, queries=100), HopSkipJump(queries=300)], ids=lambda attack: attack.name
)
class TestBoth:
    """What holds for both attacks."""

    def test_bounds_are_only_a_unit(self, endpoint, grey_images, attack):
        found = []
        # By a power of two, so that no answer differs by rounding.
        for bounds in ((0.0, 1.0), (0.0, 256.0)):
            classifier, _ = endpoint(bounds=bounds)
            images = grey_images(bounds=bounds)
            scaled = replace(attack, epsilon=attack.epsilon * bounds[1]) if attack.name == "square" else attack
            found.append(scaled(classifier, images, classifier.predict(images)))
        np.testing.assert_allclose(found[1].adversarials / 256, found[0].adversarials, atol=1e-6)
        np.testing.assert_array_equal(found[1].success, found[0].success)

    @pytest.mark.parametrize("batch_size", [1, 60, 5_000])
    def test_the_batch_size_changes_nothing(self, endpoint, grey_images, attack, batch_size):
        classifier, _ = endpoint()
        images = grey_images(count=20)
        labels = classifier.predict(images)
        expected = attack(classifier, images, labels)
        classifier.asked.clear()
        result = replace(attack, batch_size=batch_size)(classifier, images, labels)
        np.testing.assert_array_equal(result.adversarials, expected.adversarials)
        assert result.forward_count == expected.forward_count
        assert max(map(len, classifier.asked[1:-2])) <= batch_size

    def test_images_that_are_wrong_already_are_left_alone(self, endpoint, grey_images, attack):
        classifier, _ = endpoint()
        images = grey_images()
        result = attack(classifier, images, 1 - classifier.predict(images))
        np.testing.assert_array_equal(result.adversarials, images)
        assert result.forward_count == 2 * len(images)


@pytest.mark.parametrize("attack", [PGD(epsilon=0.1, step=0.02), OptBrittle()], ids=lambda attack: attack.name)
def test_attacks_that_need_gradients_are_refused_by_an_endpoint(endpoint, grey_images, attack):
    classifier, _ = endpoint()
    images = grey_images()
    message = (
        f"{attack.title} needs gradients, and endpoint gives none by its pixels: use hopskipjump or square. "
        "Received: differentiable=False"
    )
    with pytest.raises(InvalidInputError, match=f"^{message}$"):
        attack(classifier, images, np.zeros(len(images), np.int32))
