"""The detector of adversarial examples: what it sees, what it learns, and that it is one graph with its search."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from advkeras.boundary import Boundaries, BoundarySearch, purity
from advkeras.boundary.detector import BoundaryDetector
from advkeras.boundary.features import BoundaryFeatures
from advkeras.boundary.threshold import balanced_threshold
from advkeras.errors import InvalidInputError

from ..conftest import FEATURES, SHAPE, linear_classifier

SEARCH = BoundarySearch(directions=48, negatives=True, step=0.05, reach=0.5)
CLASSES = 5
CLASSIFIER = linear_classifier(np.zeros((FEATURES, CLASSES)), np.zeros(CLASSES))


def made_up(count: int, *, nearest: float, seed: int) -> Boundaries:
    """Boundaries at distances between a nearest one and the reach, or beyond it."""
    generator = np.random.default_rng(seed)
    distances = generator.uniform(nearest, 0.6, (count, SEARCH.directions)).astype(np.float32)
    adjacent = generator.integers(0, CLASSES, distances.shape).astype(np.int32)
    met = distances <= SEARCH.reach
    return Boundaries(
        distances=np.where(met, distances, np.inf),
        adjacent=np.where(met, adjacent, -1),
        classes=np.zeros(count, np.int32),
        forward_count=0,
        seconds=0.0,
    )


def test_it_sees_sorted_shares_of_the_reach_and_purities():
    boundaries = made_up(6, nearest=0.1, seed=0)
    boundaries.distances[5], boundaries.adjacent[5] = np.inf, -1
    features = BoundaryFeatures(SEARCH.get_config(), CLASSES, bounds=(0, 1), input_shape=SHAPE)
    ordered, purities = features(boundaries.distances, boundaries.adjacent)
    np.testing.assert_allclose(
        ordered, np.sort(np.minimum(boundaries.distances / SEARCH.reach, 1.0), axis=1), rtol=1e-6
    )
    np.testing.assert_allclose(purities[:5], purity(boundaries.adjacent, CLASSES)[:5, :3], rtol=1e-6)
    np.testing.assert_array_equal(purities[5], 0.0)


def test_two_classes_have_full_purity_from_the_second_on():
    adjacent = np.zeros((1, SEARCH.directions), np.int32)
    features = BoundaryFeatures(SEARCH.get_config(), 2, bounds=(0, 1), input_shape=SHAPE)
    _, purities = features(np.full(adjacent.shape, 0.1, np.float32), adjacent)
    np.testing.assert_array_equal(purities, [[1.0, 1.0, 1.0]])


def test_it_learns_to_tell_near_boundaries_from_far_ones_and_survives_the_disk(tmp_path):
    detector = BoundaryDetector.build(SEARCH, CLASSIFIER)
    detector.fit(made_up(64, nearest=0.3, seed=1), made_up(64, nearest=0.05, seed=2), steps=150, batch_size=32)
    benign, adversarial = made_up(40, nearest=0.3, seed=3), made_up(40, nearest=0.05, seed=4)
    assert (detector.score(benign) < 0.5).mean() > 0.9
    assert (detector.score(adversarial) > 0.5).mean() > 0.9
    detector.save(tmp_path / "detector.keras")
    loaded = BoundaryDetector.load(tmp_path / "detector.keras")
    assert loaded.search == SEARCH
    loaded.check(CLASSIFIER)
    np.testing.assert_allclose(loaded.score(benign), detector.score(benign), rtol=1e-6)


def test_images_to_probabilities_is_one_graph(tmp_path, grey_images):
    search = BoundarySearch(directions=40, negatives=True, step=0.02, reach=0.4)
    classifier = linear_classifier(np.random.default_rng(2).standard_normal((FEATURES, 3)), np.zeros(3))
    detector = BoundaryDetector.build(search, classifier)
    found = search(classifier, grey_images())
    module = tf.Module()
    module.detect = tf.function(
        detector.function(classifier), input_signature=[tf.TensorSpec((None, *SHAPE), tf.float32)]
    )
    module.network = detector.network
    np.testing.assert_allclose(module.detect(grey_images()), detector.score(found), rtol=1e-5)
    tf.saved_model.save(module, str(tmp_path / "1"))
    served = tf.saved_model.load(str(tmp_path / "1"))
    np.testing.assert_allclose(served.detect(grey_images()[:3]), detector.score(found)[:3], rtol=1e-5)


def test_the_same_seed_gives_the_same_detector():
    scores = []
    for global_seed in (1, 2):
        keras.utils.set_random_seed(global_seed)
        detector = BoundaryDetector.build(SEARCH, CLASSIFIER, seed=4)
        detector.fit(made_up(16, nearest=0.3, seed=1), made_up(16, nearest=0.05, seed=2), steps=5, batch_size=8, seed=4)
        scores.append(detector.score(made_up(8, nearest=0.2, seed=3)))
    np.testing.assert_array_equal(*scores)


def test_it_ends_with_the_average_of_as_many_steps_as_it_is_given():
    detector, kernels = BoundaryDetector.build(SEARCH, CLASSIFIER), []
    note = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: kernels.append(detector.network.trainable_weights[0].numpy())
    )
    kinds = made_up(3, nearest=0.3, seed=1), made_up(3, nearest=0.05, seed=2)
    detector.fit(*kinds, steps=4, batch_size=2, callbacks=[note])
    assert len(kernels) == 4
    average = kernels[0]
    for kernel in kernels[1:]:
        average = 0.99 * average + 0.01 * kernel
    np.testing.assert_allclose(detector.network.trainable_weights[0].numpy(), average, atol=1e-6)
    assert BoundaryDetector.build(replace(SEARCH, directions=36), CLASSIFIER).search.directions == 36


def test_senseless_detectors_are_refused(tmp_path):
    (tmp_path / "text.keras").write_text("no model")
    few = BoundarySearch(directions=34, step=0.1, reach=1)
    nothing = made_up(0, nearest=0.1, seed=0)
    detector = BoundaryDetector.build(SEARCH, CLASSIFIER)
    benign, adversarial = made_up(3, nearest=0.3, seed=1), made_up(3, nearest=0.05, seed=2)
    brighter = linear_classifier(np.zeros((FEATURES, CLASSES)), np.zeros(CLASSES), bounds=(0.0, 255.0))
    two = linear_classifier(np.zeros((FEATURES, 2)), np.array([0.0, 2.0]))
    for call, message in (
        (lambda: BoundaryDetector.build(few, two), "at least 36 directions. Received: directions=34"),
        (lambda: detector.fit(nothing, nothing), "there must be benign images"),
        (lambda: detector.function(two), r"in \[0.0, 1.0\] and 5 classes. Received: linear, .* 2 classes"),
        (lambda: detector.check(brighter), r"in \[0.0, 1.0\] and 5 classes. Received: linear, .* in \[0.0, 255.0\]"),
        (lambda: detector.fit(benign, adversarial, steps=0), "steps must be at least 1. Received: steps=0"),
        (lambda: detector.fit(benign, adversarial, batch_size=3), "batch_size must be an even number"),
        (lambda: detector.fit(benign, adversarial, batch_size=0), "batch_size must be an even number"),
        (lambda: BoundaryDetector.load(tmp_path / "nowhere.keras"), "there is no detector"),
        (lambda: BoundaryDetector.load(tmp_path / "text.keras"), "text.keras is no detector"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            call()


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.lists(st.integers(0, 9), min_size=1, max_size=12))
def test_no_threshold_is_more_balanced(benign, adversarial):
    benign_scores, adversarial_scores = np.array(benign) / 10, np.array(adversarial) / 10

    def errors(threshold: float) -> float:
        return max(np.mean(benign_scores > threshold), np.mean(adversarial_scores <= threshold))

    best = balanced_threshold(benign_scores, adversarial_scores)
    assert all(errors(best) <= errors(other) + 1e-12 for other in np.arange(-0.05, 1.1, 0.05))


def test_a_half_is_the_balanced_threshold_of_the_training_images():
    benign, adversarial = made_up(30, nearest=0.2, seed=1), made_up(30, nearest=0.15, seed=2)
    detector = BoundaryDetector.build(SEARCH, CLASSIFIER)
    detector.fit(benign, adversarial, steps=20, batch_size=16)
    scores = detector.score(benign), detector.score(adversarial)
    errors = [max((scores[0] > t).mean(), (scores[1] <= t).mean()) for t in (0.5, balanced_threshold(*scores))]
    assert errors[0] == errors[1] > 0
