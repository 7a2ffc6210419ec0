"""Region classification: closed forms, properties, and what a Keras layer must do."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from advkeras.defenses.region_classification import RegionClassification
from advkeras.errors import InvalidInputError
from advkeras.models import Classifier
from advkeras.regions.voting import STOPS

from ..conftest import FEATURES, SHAPE, linear_classifier

RANDOM = linear_classifier(np.random.default_rng(0).standard_normal((FEATURES, 3)), np.zeros(3))


def one_pixel(threshold: float) -> Classifier:
    """Class 1 where the first pixel lies above a threshold."""
    weights = np.zeros((FEATURES, 2))
    weights[0, 1] = 1.0
    return linear_classifier(weights, np.array([0.0, -threshold]))


def images_with_first_pixel(values) -> np.ndarray:
    images = np.full((len(values), *SHAPE), 0.5, np.float32)
    images.reshape(len(values), -1)[:, 0] = values
    return images


def test_votes_have_the_share_that_is_known_in_closed_form():
    """A pixel at p in [0, 1], moved uniformly by up to r and clipped, lies above t with a known probability."""
    pixels, threshold, radius, samples = np.array([0.3, 0.5, 0.55, 0.7, 0.95]), 0.6, 0.2, 20_000
    expected = np.clip((pixels + radius - threshold) / (2 * radius), 0, 1)
    votes = RegionClassification(one_pixel(threshold), radius=radius, samples=samples, seed=1, chunk_size=4096)(
        images_with_first_pixel(pixels)
    )["votes"].numpy()
    spread = np.sqrt(expected * (1 - expected) / samples)
    assert (votes.sum(axis=1) == samples).all()
    assert (np.abs(votes[:, 1] / samples - expected) <= 4.5 * spread).all()


def test_points_are_clipped_to_the_bounds():
    """No point lies above the upper bound, so none is of class 1."""
    votes = RegionClassification(one_pixel(1.0), radius=0.5, samples=500, seed=1)(images_with_first_pixel([0.9, 1.0]))
    np.testing.assert_array_equal(votes["votes"], [[500, 0], [500, 0]])


def test_a_normal_in_all_pixels_has_the_gaussian_share(half_space, grey_images):
    """The sum of many independent uniform offsets along a normal is close to Gaussian."""
    from scipy.stats import norm

    classifier, normal = half_space()
    images, radius, samples = grey_images(), 0.1, 8_000
    along = (images.reshape(len(images), -1) - 0.5) @ normal
    expected = norm.cdf(along / (radius / np.sqrt(3)))
    votes = RegionClassification(classifier, radius=radius, samples=samples, seed=0, chunk_size=4096)(images)["votes"]
    np.testing.assert_allclose(votes.numpy()[:, 1] / samples, expected, atol=0.02)


def test_a_call_outside_of_any_graph_is_compiled_and_draws_the_same(half_space, grey_images):
    classifier, _ = half_space()
    images, seeds = grey_images(count=3), np.arange(6, dtype=np.int32).reshape(3, 2)
    layer = RegionClassification(classifier, radius=0.1, samples=50, seed=2)
    for seed in (None, tf.constant([3, 4]), tf.constant(seeds)):
        in_graph = tf.function(layer, autograph=False)(tf.constant(images), seed)
        for key, value in layer(images, seed).items():
            np.testing.assert_array_equal(value, in_graph[key])
    traced = len(classifier._graphs)
    layer(images[:2])
    assert len(classifier._graphs) == traced


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1000), count=st.integers(1, 5), samples=st.integers(1, 9), chunk_size=st.integers(1, 20))
def test_radius_zero_is_point_classification(seed, count, samples, chunk_size):
    images = np.random.default_rng(seed).uniform(0, 1, (count, *SHAPE)).astype(np.float32)
    answer = RegionClassification(RANDOM, radius=0.0, samples=samples, chunk_size=chunk_size)(images)
    np.testing.assert_array_equal(answer["class"], RANDOM.predict(images))
    np.testing.assert_array_equal(answer["agreement"], 1)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1000), count=st.integers(1, 5), samples=st.integers(1, 9), chunk_size=st.integers(1, 20))
def test_every_sample_is_counted_once(seed, count, samples, chunk_size):
    images = np.random.default_rng(seed).uniform(0, 1, (count, *SHAPE)).astype(np.float32)
    answer = RegionClassification(RANDOM, radius=0.7, samples=samples, chunk_size=chunk_size, seed=seed)(images)
    votes = answer["votes"].numpy()
    np.testing.assert_array_equal(votes.sum(axis=1), samples)
    np.testing.assert_array_equal(answer["class"], votes.argmax(axis=1))
    np.testing.assert_allclose(answer["agreement"], votes.max(axis=1) / samples, rtol=1e-6)


def test_seeds():
    images = np.full((4, *SHAPE), 0.5, np.float32)

    def votes(seed, call_seed=None):
        layer = RegionClassification(RANDOM, radius=0.5, samples=50, seed=seed)
        return layer(images, seed=call_seed)["votes"].numpy()

    np.testing.assert_array_equal(votes(3), votes(3))
    assert not np.array_equal(votes(3), votes(4))
    fresh = RegionClassification(RANDOM, radius=0.5, samples=50)
    assert not np.array_equal(fresh.predict(images)["votes"], fresh.predict(images)["votes"])
    given_seed = tf.constant([1, 2], tf.int32)
    np.testing.assert_array_equal(votes(None, given_seed), votes(7, given_seed))


def test_the_layer_works_inside_a_keras_model(grey_images):
    network = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(3)])
    inputs = keras.Input(SHAPE)
    layer = RegionClassification(network, radius=0.1, samples=20, bounds=(0, 1), seed=0)
    model = keras.Model(inputs, layer(inputs))
    answer = model.predict(grey_images(), verbose=0)
    np.testing.assert_array_equal(answer["votes"].sum(axis=1), 20)
    assert len(layer.weights) == 2


def test_config_restores_the_layer(tmp_path, grey_images):
    network = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(3)])
    inputs = keras.Input(SHAPE)
    layer = RegionClassification(network, radius=0.1, samples=20, bounds=(0, 1), chunk_size=7, seed=0)
    model = keras.Model(inputs, layer(inputs))
    model.save(tmp_path / "region.keras")
    restored = keras.saving.load_model(tmp_path / "region.keras")
    again = model.predict(grey_images(), verbose=0)["votes"]
    np.testing.assert_array_equal(restored.predict(grey_images(), verbose=0)["votes"], again)


def test_images_of_another_shape_are_refused(half_space):
    layer = RegionClassification(half_space()[0], radius=0.1, samples=10)
    with pytest.raises(InvalidInputError, match=r"images of shape \(N, 3, 4, 2\)\. Received: \(5, 4, 2, 3\)"):
        layer.call(np.zeros((5, 4, 2, 3), np.float32))
    with pytest.raises(InvalidInputError, match=r"images of shape \(N, 3, 4, 2\)\. Received: \(24,\)"):
        layer.predict(np.zeros(24))


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 255.0, -0.1])
def test_pixels_that_the_classifier_does_not_take_are_refused(half_space, wrong):
    layer = RegionClassification(half_space()[0], radius=0.1, samples=10)
    images = np.zeros((2, 3, 4, 2), np.float32)
    images[1, 2, 3, 1] = wrong
    with pytest.raises(InvalidInputError, match="takes pixels in"):
        layer.predict(images)


@pytest.mark.parametrize("stop", STOPS)
def test_every_way_of_stopping_is_exported(tmp_path, grey_images, stop):
    # Most points around every image are of one class, so that a vote that may stop early does.
    logits = keras.layers.Dense(3, kernel_initializer=keras.initializers.GlorotUniform(seed=3))
    network = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), logits])
    logits.bias.assign(-network(np.full((1, *SHAPE), 0.5, np.float32))[0] + np.array([0.8, 0.0, 0.0], np.float32))
    # Three rows would be taken for three channels.
    classifier = Classifier.from_keras(network, bounds=(0, 1), channels_first=False)
    layer = RegionClassification(classifier, radius=0.5, samples=40, stop=stop)
    archive = keras.export.ExportArchive()
    archive.add_endpoint(
        "region_seeded",
        lambda images, seed: layer(images, seed=seed),
        input_signature=[tf.TensorSpec((None, *SHAPE), tf.float32), tf.TensorSpec((2,), tf.int32)],
    )
    archive.write_out(str(tmp_path / "1"), verbose=False)
    served, seed = tf.saved_model.load(str(tmp_path / "1")), tf.constant([1, 2], tf.int32)
    answer, expected = served.region_seeded(grey_images(), seed), layer(grey_images(), seed=seed)
    for key in ("class", "votes", "samples", "agreement"):
        np.testing.assert_array_equal(answer[key], expected[key])
    assert (answer["samples"].numpy() < 40).any() == (stop != "never")


def test_the_layer_of_a_keras_models_classifier_has_its_weights():
    network = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(3)])
    layer = RegionClassification(Classifier.from_keras(network, bounds=(0, 1)), radius=0.1)
    assert len(layer.weights) == 2
    assert layer.get_config()["bounds"] == [0.0, 1.0]


def test_config_names_the_place_of_a_loaded_classifier(natural, sample):
    layer = RegionClassification(natural, radius=0.3, samples=10, seed=0)
    restored = RegionClassification.from_config(layer.get_config())
    np.testing.assert_array_equal(
        restored.predict(sample.images[:5])["votes"], layer.predict(sample.images[:5])["votes"]
    )


def test_senseless_parameters_are_refused():
    network = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(3)])
    for call, message in (
        (lambda: RegionClassification(RANDOM, radius=-0.1), "radius=-0.1"),
        (lambda: RegionClassification(RANDOM, radius=0.1, samples=0), "samples=0"),
        (lambda: RegionClassification(RANDOM, radius=0.1, chunk_size=0), "chunk_size=0"),
        (lambda: RegionClassification(network, radius=0.1), "give bounds"),
        (lambda: RegionClassification(RANDOM, radius=0.1).get_config(), "made from a function"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            call()


def test_benign_digits_keep_their_class(natural, sample):
    answer = RegionClassification(natural, radius=0.3, samples=50, seed=0).predict(sample.images[:50])
    assert (answer["class"] == sample.labels[:50]).mean() >= 0.96
