"""Where HopSkipJump starts, on classifiers on which noise has the wrong class."""

import json
from dataclasses import replace
from itertools import islice, product

import numpy as np
import pytest

from advkeras.attacks import HopSkipJump
from advkeras.errors import InvalidInputError
from advkeras.models import Classifier
from advkeras.searches.starts import noise_starts

from ..conftest import FEATURES, SHAPE, linear_classifier

# Every attack classifies the images before its search, and the examples twice after it.
OWN_FORWARDS = 3
# Brighter on average than any noise.
BRIGHTNESS = 0.8
LARGE = (16, 16, 1)


class Recorder(Classifier):
    """Keeps the points that it was asked about."""

    differentiable = False

    def __init__(self, classifier):
        super().__init__(classifier, bounds=classifier.bounds, input_shape=classifier.input_shape, name="recorder")
        self.asked = []

    def logits(self, images, *, batch_size=256):
        self.asked.append(np.array(images))
        return super().logits(images, batch_size=batch_size)


def by_brightness():
    """Class 1 is brighter than BRIGHTNESS on average."""
    weights = np.stack([np.zeros(FEATURES), np.full(FEATURES, 1.0)], axis=1)
    return Recorder(linear_classifier(weights, np.array([0.0, -BRIGHTNESS * FEATURES])))


def dark_images(count=8):
    return np.random.default_rng(1).uniform(0.2, 0.5, (count, *SHAPE)).astype(np.float32)


def bright_images(count=1):
    return np.random.default_rng(2).uniform(0.85, 1.0, (count, *SHAPE)).astype(np.float32)


def test_noise_grows_to_plain_noise_in_squares_that_double():
    image = np.full((8, 7, 2), 0.25, np.float32)
    starts = list(islice(noise_starts(image, (0.0, 1.0), np.random.default_rng(0)), 12))
    for start, (side, share) in zip(starts, product((1, 2, 4, 1), (0.5, 0.75, 1.0)), strict=True):
        squares = start[::side, ::side]
        np.testing.assert_array_equal(start, squares.repeat(side, axis=0).repeat(side, axis=1)[:8, :7])
        assert len(np.unique(start)) == squares.size
        towards = (start - image) / share + 0.25  # the noise, anywhere within the bounds
        assert -1e-6 <= towards.min() < towards.min() + 0.4 < towards.max() <= 1 + 1e-6


def test_results_depend_on_the_images_that_are_handed_over_and_on_no_code_of_advkeras():
    plain, some, others = HopSkipJump(), bright_images(2), dark_images(3)
    assert plain.data_checksum == ""
    attacks = (
        plain,
        plain.starting_at(some),
        plain.starting_at(others),
        plain.among(some),
        plain.starting_at(some).among(others),
    )
    assert len({each.data_checksum for each in attacks}) == len(attacks)
    assert plain.starting_at(some.copy()).data_checksum == attacks[1].data_checksum


def ten_classes():
    """The class of the nearest of ten prototypes, and two images near each. That of noise is 0, whose one is grey."""
    generator = np.random.default_rng(3)
    prototypes = np.where(generator.random((10, FEATURES)) < 0.5, 0.1, 0.9)
    prototypes[0] = 0.5
    labels = np.repeat(np.arange(10, dtype=np.int32), 2)
    images = prototypes[labels] + generator.uniform(-0.05, 0.05, (20, FEATURES))
    classifier = linear_classifier(40 * prototypes.T, -20 * (prototypes**2).sum(axis=1))
    return Recorder(classifier), prototypes, images.reshape(-1, *SHAPE).astype(np.float32), labels


def test_other_images_are_starts_where_all_noise_has_the_images_class():
    classifier = by_brightness()
    images = np.concatenate([dark_images(), bright_images()])
    labels = np.array([0] * 8 + [1])
    result = HopSkipJump(queries=500)(classifier, images, labels)
    assert result.success.all()
    least = np.abs(images.mean(axis=(1, 2, 3)) - BRIGHTNESS)
    assert (result.distortion >= least * 0.999).all()
    assert (result.distortion <= least * 1.15).all()


def test_the_nearest_of_the_other_images_is_asked_about_first():
    classifier = by_brightness()
    images = np.concatenate([bright_images(5), dark_images(1)])
    HopSkipJump(queries=20, batch_size=1)(classifier, images, np.array([1] * 5 + [0]))
    distances = np.linalg.norm((images[:5] - images[5]).reshape(5, -1), axis=1)
    first_asked = classifier.asked[1:-2]
    starts = [points[0] for points in first_asked if any(np.allclose(points[0], image) for image in images[:5])]
    np.testing.assert_allclose(starts[0], images[distances.argmin()], atol=1e-6)


def test_coarser_noise_is_a_start_where_fine_noise_has_the_images_class():
    """The left half is brighter than the right by a quarter: never in noise of single pixels, often in squares."""
    contrast = np.where(np.arange(16) < 8, 1.0, -1.0)[None, :, None] * np.ones(LARGE) / 128
    weights = 100 * np.stack([np.zeros(contrast.size), contrast.ravel()], axis=1)
    classifier = linear_classifier(weights, np.array([0.0, -25.0]), shape=LARGE)
    images = np.random.default_rng(4).uniform(0.4, 0.6, (5, *LARGE)).astype(np.float32)
    for one in range(5):
        result = HopSkipJump(queries=1_000)(classifier, images[[one]], np.array([0]))
        assert result.success.all()
        assert result.forward_count <= 1_000 + OWN_FORWARDS


def test_images_of_the_targets_are_starts_and_their_classes_are_asked_once():
    classifier, prototypes, images, labels = ten_classes()
    targets = (labels + 1) % 10
    result = HopSkipJump(queries=500)(classifier, images, labels, targets)
    assert result.success.all()
    np.testing.assert_array_equal(result.predictions, targets)
    assert result.forward_count == sum(map(len, classifier.asked)) <= 20 * (500 + OWN_FORWARDS) + 20
    # The targets' regions lie behind the hyperplanes halfway between the prototypes.
    flat, ours, theirs = images.reshape(20, -1), prototypes[labels], prototypes[targets]
    gaps = ((flat - theirs) ** 2).sum(axis=1) - ((flat - ours) ** 2).sum(axis=1)
    least = gaps / (2 * np.linalg.norm(theirs - ours, axis=1)) / np.sqrt(FEATURES)
    assert (result.distortion >= least * 0.999).all()
    assert (result.distortion <= least * 1.5).all()


@pytest.mark.parametrize("targeted", [False, True])
def test_starting_points_are_tried_before_all_else(targeted):
    classifier = by_brightness()
    # One of the wrong class, too; and an image of the call that is nearer than all of them.
    starting_points = np.concatenate([dark_images(1), np.ones((1, *SHAPE)), bright_images()]).astype(np.float32)
    images = np.concatenate([np.full((1, *SHAPE), 0.79), np.full((1, *SHAPE), 0.81)]).astype(np.float32)
    labels = np.array([0, 1])
    attack = HopSkipJump(queries=1).starting_at(starting_points)
    result = attack(classifier, images, labels, 1 - labels if targeted else None)
    asked_alone = [points for points in classifier.asked if len(points) == len(starting_points)]
    np.testing.assert_array_equal(asked_alone[0], starting_points)
    np.testing.assert_allclose(result.adversarials[0], bright_images()[0], atol=1e-6)
    np.testing.assert_allclose(result.adversarials[1], dark_images(1)[0], atol=1e-6)
    shared = 3 + (2 if targeted else 0)
    assert result.forward_count == 2 * (1 + OWN_FORWARDS) + shared


@pytest.mark.parametrize("queries", [1, 2, 13, 40, 300])
@pytest.mark.parametrize("targeted", [False, True])
def test_starts_are_paid_from_the_budget(queries, targeted):
    classifier = by_brightness()
    attack = HopSkipJump(queries=queries, initial_samples=10).starting_at(bright_images(6))
    for image in dark_images(3):
        classifier.asked.clear()
        result = attack(classifier, image[None], np.array([0]), np.array([1]) if targeted else None)
        assert result.success.all()
        assert result.forward_count == sum(map(len, classifier.asked)) <= queries + OWN_FORWARDS + 6


def test_starting_points_are_no_hyperparameters():
    plain = HopSkipJump(queries=40)
    attack = plain.starting_at(bright_images())
    assert attack.get_config() == plain.get_config() == json.loads(json.dumps(attack.get_config()))
    assert repr(attack) == repr(plain)
    assert attack in {attack, plain}
    assert attack not in (plain, plain.starting_at(bright_images()))
    for other in (replace(attack, queries=30), attack.starting_at(bright_images(2))):
        result = other(by_brightness(), dark_images(1), np.array([0]))
        assert result.success.all()


@pytest.mark.parametrize(
    ("starting_points", "message"),
    [
        (bright_images() * 255, "pixels in"),
        (bright_images()[:, :2], "shape"),
        (bright_images()[:0], "at least one image"),
    ],
    ids=["unit", "shape", "none"],
)
def test_starting_points_that_do_not_fit_are_refused(starting_points, message):
    attack = HopSkipJump().starting_at(starting_points)
    with pytest.raises(InvalidInputError, match=message):
        attack(by_brightness(), dark_images(), np.zeros(8, np.int32))


@pytest.mark.parametrize("targeted", [False, True])
def test_the_same_seed_finds_the_same_at_any_batch_size(targeted):
    classifier, _, images, labels = ten_classes()
    targets = (labels + 1) % 10 if targeted else None
    attack = HopSkipJump(queries=60, initial_samples=10).starting_at(images[::3] * 0.9 + 0.05)
    results = [
        replace(attack, batch_size=size)(classifier, images, labels, targets) for size in (256, 256, 1, 30, 5_000)
    ]
    assert results[0].success.all()
    np.testing.assert_array_equal(results[1].adversarials, results[0].adversarials)
    for other in results[2:]:
        np.testing.assert_allclose(other.adversarials, results[0].adversarials, atol=1e-3)
        assert other.forward_count == results[0].forward_count


def test_rounding_that_differs_after_the_search_undoes_nothing():
    normal = np.random.default_rng(5).standard_normal(256)
    normal /= np.linalg.norm(normal)
    plane = linear_classifier(np.stack([0 * normal, normal], axis=1), np.array([0.0, -normal.sum() / 2]), shape=LARGE)

    class Wavering(Recorder):
        """Answers the search, and nothing else, as if the hyperplane were a little nearer to class 0."""

        def logits(self, images, *, batch_size=256):
            return super().logits(images, batch_size=batch_size) + np.float32([0.0, 1e-5 if batch_size == 200 else 0])

    images = np.random.default_rng(6).uniform(0.4, 0.6, (40, *LARGE)).astype(np.float32)
    images -= np.float32((images.reshape(40, -1) - 0.5) @ normal + 0.5)[:, None, None, None] * normal.reshape(LARGE)
    images = np.clip(images, 0, 1).astype(np.float32)
    classifier = Wavering(plane)
    result = HopSkipJump(queries=300, batch_size=200)(classifier, images, np.zeros(40, np.int32))
    assert result.attacked.all()
    assert result.success.all()
