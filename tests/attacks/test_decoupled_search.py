"""How the decoupled search spends its gradients, and its least distortion in L-inf."""

import numpy as np
import pytest
import tensorflow as tf

from advkeras.attacks import DecoupledSearch, OptBrittle, OptLinf, OptMargin, OptRegion
from advkeras.models import Classifier
from advkeras.searches.decoupled_step import _noisiness
from advkeras.searches.single_search import SingleSearch

from ..conftest import FEATURES, SHAPE, linear_classifier, to_the_plane
from ..grids import grid
from ..recording import RecordingClassifier

BOUNDS = [(0.0, 1.0), (0.0, 255.0), (-1.0, 3.0)]


@pytest.mark.parametrize(
    ("bounds", "targeted"), grid(BOUNDS, [False, True], fast=[(BOUNDS[1], True), (BOUNDS[2], False)])
)
def test_optlinf_finds_the_nearest_corner_beyond_the_hyperplane(half_space, grey_images, bounds, targeted):
    """With normal n the least L-inf distance is ``|n @ (x - middle)| / |n|_1``."""
    classifier, normal = half_space(bounds=bounds)
    images = grey_images(bounds=bounds)
    labels = classifier.predict(images)
    result = OptLinf()(classifier, images, labels, 1 - labels if targeted else None)
    assert result.success.all()
    low, high = bounds
    gaps = np.abs((images - (low + high) / 2).reshape(len(images), -1) @ normal)
    found = np.abs(result.adversarials - images).max(axis=(1, 2, 3))
    np.testing.assert_array_less(found, 1.02 * gaps / np.abs(normal).sum() + 1e-3 * (high - low))


@pytest.mark.parametrize(("attack", "order"), [(OptBrittle, 2), (OptLinf, np.inf)])
def test_a_search_that_can_go_nowhere_else_takes_all_the_gradients(natural, sample, attack, order):
    """Towards a target there is no other class to aim at, and gradients that do not turn make no use of noise."""
    digits, norm = sample.first(4), "l2" if order == 2 else "linf"
    distances = []
    for gradients in (20, 50):
        result = attack(search=DecoupledSearch(gradients=gradients, norm=norm))(
            natural, digits.images, digits.labels, (digits.labels + 1) % 10
        )
        assert result.success.all()
        assert result.gradient_count == gradients * len(digits)
        changes = (result.adversarials - digits.images).reshape(len(digits), -1)
        distances.append(np.linalg.norm(changes, ord=order, axis=1).mean())
    assert distances[1] < distances[0]


def zigzag(period: float) -> Classifier:
    """Class 1 lies beyond a plane, and the slopes along all other axes change their signs with every small step."""

    def logits(images):
        flat = tf.reshape(images - 0.5, (-1, FEATURES))
        waves = tf.reduce_sum(tf.sin(flat[:, 1:] * (2 * np.pi / period)), axis=1, keepdims=True) * period
        return tf.concat([tf.zeros_like(waves), flat[:, :1] - 0.1 + waves], axis=1)

    return Classifier(logits, bounds=(0.0, 1.0), input_shape=SHAPE, name="zigzag")


def test_in_linf_an_image_whose_gradients_turn_has_one_search():
    images = np.random.default_rng(1).uniform(0.45, 0.55, (4, *SHAPE)).astype(np.float32)
    found = [
        OptLinf(search=DecoupledSearch(gradients=100, norm="linf", restarts=restarts))(
            zigzag(0.01), images, np.zeros(4, np.int32)
        )
        for restarts in (True, False)
    ]
    np.testing.assert_allclose(found[0].adversarials, found[1].adversarials, atol=1e-3)


def test_searches_of_an_image_whose_gradients_turn_begin_anew_with_other_noise():
    turning = zigzag(1e-4)
    classifier = RecordingClassifier(lambda flat: turning(tf.reshape(flat, (-1, *SHAPE))))
    image = np.random.default_rng(1).uniform(0.45, 0.55, (1, *SHAPE)).astype(np.float32)
    OptBrittle(search=DecoupledSearch(gradients=131))(classifier, image, np.zeros(1, np.int32))
    points = classifier.points()[1:132]  # after the classification
    begun = np.flatnonzero((points == image.reshape(-1)).all(axis=1))
    assert begun.tolist() == [0, 50, 91]
    assert np.abs(points[51] - points[92]).max() > 1e-3, "each one's first point with noise"


def ten_classes(shape=SHAPE):
    weights = np.random.default_rng(3).standard_normal((int(np.prod(shape)), 10))
    return linear_classifier(weights, np.zeros(10), shape=shape)


@pytest.mark.parametrize("gradients", [64, 65, 72])
def test_gradients_that_leave_none_for_a_second_search_go_into_the_first(grey_images, gradients):
    classifier, images = ten_classes(), grey_images()
    search = DecoupledSearch(gradients=gradients, norm="linf")
    result = OptLinf(search=search)(classifier, images, classifier.predict(images))
    assert result.gradient_count == gradients * len(images)


@pytest.mark.parametrize("gradients", [131, 173, 247])
def test_gradients_that_cannot_be_shared_out_equally_are_no_more_than_were_given(grey_images, gradients):
    search = OptBrittle(search=DecoupledSearch(gradients=gradients))
    turning = np.random.default_rng(1).uniform(0.45, 0.55, (3, *SHAPE)).astype(np.float32)
    result = search(zigzag(0.01), turning, np.zeros(3, np.int32))
    assert result.gradient_count == gradients * len(turning)
    straight, images = ten_classes(), grey_images()
    result = search(straight, images, straight.predict(images))
    assert 50 * len(images) < result.gradient_count <= gradients * len(images)


def test_ensembles_of_different_sizes_have_graphs_of_their_own():
    shape = (6, 6, 1)
    classifier, images = ten_classes(shape), np.random.default_rng(1).uniform(0.4, 0.6, (3, *shape)).astype(np.float32)
    labels = classifier.predict(images)
    for size in (20, 24, 20):
        attack = OptMargin(member_rms=0.01, ensemble_size=size, search=DecoupledSearch(gradients=10))
        assert attack(classifier, images, labels).success.all()


def two_ways():
    """Class 1 leads and is 0.2 away along an axis; class 2 is 0.05 away along another one. And three grey images."""
    weights = np.zeros((FEATURES, 3))
    weights[0, 1], weights[1, 2] = 5.0, 40.0
    images = np.full((3, *SHAPE), 0.5, np.float32)
    return linear_classifier(weights, np.array([0.0, -2.5 - 1.0, -20.0 - 2.0])), images, np.zeros(3, np.int32)


@pytest.mark.parametrize(
    ("gradients", "iterations", "aims", "kappas"),
    [
        (200, [48, 48, 48, 47], [2, -1, -1, -1], [0, 0, 4, 4]),
        (310, [50, 50, 50, 50, 101], [2, -1, -1, -1, 2], [0, 0, 4, 4, 2]),
    ],
)
def test_searches_go_to_near_classes_then_wherever_one_leads_then_by_noise(
    monkeypatch, gradients, iterations, aims, kappas
):
    """The last of many gradients go towards the best class."""
    runs, once = [], SingleSearch.once

    def noted(self, problem, **given):
        runs.append(given)
        return once(self, problem, **given)

    monkeypatch.setattr(SingleSearch, "once", noted)
    result = OptBrittle(search=DecoupledSearch(gradients=gradients))(*two_ways())
    assert result.gradient_count == gradients * 3
    assert [run["iterations"] for run in runs] == iterations
    np.testing.assert_array_equal([run["aims"] for run in runs], np.repeat(np.array(aims)[:, None], 3, axis=1))
    np.testing.assert_array_equal([run["kappa"] for run in runs], np.repeat(np.array(kappas)[:, None], 3, axis=1))
    assert len({run["seeds"].tobytes() for run in runs}) == len(runs)
    np.testing.assert_array_equal(result.trace.begun, 7 + sum(iterations[:-1]))


def test_an_ensembles_further_searches_keep_to_the_budget():
    attack = OptMargin(member_rms=1e-4, ensemble_size=2, search=DecoupledSearch(gradients=100))
    result = attack(*two_ways())
    assert (result.predictions == 2).all()
    # Both members in each step; two classes are ranked at the image itself.
    assert result.gradient_count == 3 * (2 * (50 + 48) + 2)


def test_without_restarts_one_search_has_all_the_gradients():
    matrix = tf.constant(np.random.default_rng(3).standard_normal((FEATURES, 10)), tf.float32)
    classifier, image = RecordingClassifier(lambda flat: flat @ matrix), np.full((1, *SHAPE), 0.5, np.float32)
    label = classifier.answer(image.reshape(1, -1)).argmax(axis=1)
    OptBrittle(search=DecoupledSearch(gradients=80, restarts=False))(classifier, image, label)
    begun = (classifier.points()[1:81] == image.reshape(-1)).all(axis=1)
    assert np.flatnonzero(begun).tolist() == [0]


@pytest.mark.parametrize("restarts", [True, False])
def test_noise_is_four_times_the_perturbation_fades_and_is_gone_in_the_last_fifth(half_space, grey_images, restarts):
    """On a plane, where gradients agree; with restarts there is none. What is not along the normal is noise."""
    plane, normal = half_space()
    classifier = RecordingClassifier(lambda flat: plane(tf.reshape(flat, (-1, *SHAPE))))
    images = grey_images(count=40)
    OptBrittle(search=DecoupledSearch(gradients=20, restarts=restarts))(classifier, images, plane.predict(images))
    offsets = np.stack(classifier.asked[1:21]).reshape(20, 40, FEATURES) - images.reshape(40, FEATURES)
    noise = np.sqrt(((offsets - (offsets @ normal)[..., None] * normal) ** 2).mean(axis=-1))
    assert (noise[[0, *range(16, 20)]] < 1e-6).all()
    if restarts:
        assert (noise < 1e-6).all()
    else:
        assert (noise[1:16] > 1e-6).all()
        first = noise[1] / (to_the_plane(images, normal) / np.sqrt(FEATURES))
        assert first.mean() == pytest.approx(3.9, abs=0.4)


@pytest.mark.parametrize(("members", "least"), [(3, 79), (40, 1), (80, 80)])
def test_optregion_keeps_to_its_budget_however_many_members_a_step_has(grey_images, members, least):
    classifier, images = ten_classes(), grey_images(count=3)
    result = OptRegion(radius=0.02, members=members, gradients=80)(classifier, images, classifier.predict(images))
    assert least * 3 <= result.gradient_count <= 80 * 3
    assert not result.zero_gradients.any()


@pytest.mark.parametrize("attack", [OptBrittle(search=DecoupledSearch(gradients=200)), OptRegion(radius=0.01)])
def test_a_class_that_only_looks_near_is_not_the_only_one_that_is_aimed_at(attack):
    """Class 1 leads the others and seems to be a tenth away, but never wins; class 2 does, at three tenths."""

    def logits(images):
        pixels = tf.reshape(images, (-1, FEATURES)) - 0.5
        trap, way_out = 0.9 * tf.tanh(12.0 * pixels[:, 0]) - 1.0, 10.0 * (pixels[:, 1] - 0.3)
        return tf.stack([tf.zeros_like(trap), trap, way_out], axis=1)

    classifier = Classifier(logits, bounds=(0.0, 1.0), input_shape=SHAPE, name="trap")
    images = np.full((3, *SHAPE), 0.5, np.float32)
    result = attack(classifier, images, np.zeros(3, np.int32))
    assert result.success.all()
    assert (result.predictions == 2).all()
    assert result.distortion.max() < 0.35 / np.sqrt(FEATURES)


def test_noise_leaves_a_valley_that_no_class_leads_out_of():
    """The only wrong class is three tenths away along one pixel, and a tenth along another that is flat at first."""

    def logits(images):
        pixels = tf.reshape(images, (-1, FEATURES)) - 0.5
        along, beside = pixels[:, 0] - 0.3, 10.0 * (tf.nn.relu(pixels[:, 1] - 0.05) - 0.05)
        return tf.stack([tf.zeros_like(along), tf.maximum(along, beside), tf.fill(tf.shape(along), -9.0)], axis=1)

    classifier = Classifier(logits, bounds=(0.0, 1.0), input_shape=SHAPE, name="valley")
    images, labels = np.full((8, *SHAPE), 0.5, np.float32), np.zeros(8, np.int32)
    first, more = (OptBrittle(search=DecoupledSearch(gradients=each))(classifier, images, labels) for each in (50, 200))
    assert more.gradient_count > 190 * len(images)
    np.testing.assert_allclose(first.distortion * np.sqrt(FEATURES), 0.3, rtol=0.02)
    # Each of two searches with noise gets out of it, or does not.
    assert (more.distortion * np.sqrt(FEATURES) < 0.15).sum() >= 3


def test_noise_grows_as_gradients_agree_less():
    ends = (0.40, 0.46)
    shares = _noisiness(tf.constant([0.2, 0.40, 0.415, 0.43, 0.46, 0.9]), ends).numpy()
    np.testing.assert_allclose(shares, [1.0, 1.0, 0.75, 0.5, 0.0, 0.0], atol=1e-5)
