"""The active test: attacks where an example surely exists."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf

from advkeras.arrays import no_progress
from advkeras.attacks import FGSM, PGD, DecoupledSearch, OptBrittle, OptLinf, Square
from advkeras.datasets import LabelledImages
from advkeras.evaluation.active_test import Binarised, binarised, discriminant
from advkeras.evaluation.protocol import Protocol
from advkeras.evaluation.results import read
from advkeras.evaluation.runner import evaluate
from advkeras.evaluation.slices import slices_of
from advkeras.models import Classifier
from advkeras.models.features import LOGITS, PENULTIMATE, features_of
from advkeras.reporting.tables import caption

from ..conftest import SHAPE
from .test_run_folder import CLASSIFIER, SPEC

EPSILON = 0.1


def network(*before, activation="relu", name="mine"):
    keras.utils.set_random_seed(0)
    layers = [
        keras.Input(SHAPE),
        *before,
        keras.layers.Flatten(),
        keras.layers.Dense(40, activation),
        keras.layers.Dense(3),
    ]
    model = keras.Sequential(layers, name=name)
    return Classifier.from_keras(model, bounds=(0.0, 1.0), channels_first=False)


@pytest.fixture(scope="module")
def data():
    images = np.random.default_rng(0).uniform(0.2, 0.8, (6, *SHAPE)).astype(np.float32)
    return LabelledImages(images, np.zeros(6, np.int32), "made-up images", "test")


@pytest.mark.parametrize("features", [3, 40, 1_500])
def test_the_discriminant_is_fishers_with_a_ridge(features):
    generator = np.random.default_rng(0)
    others = generator.standard_normal((200, features)) * generator.uniform(0.1, 3.0, features)
    one = generator.standard_normal(features)
    spread = others - others.mean(axis=0)
    covariance = spread.T @ spread / 200 + 1e-3 * (spread**2).mean() * np.eye(features)
    expected = np.linalg.solve(covariance, one - others.mean(axis=0))
    np.testing.assert_allclose(discriminant(one, others), expected / np.linalg.norm(expected), atol=1e-6)


def test_features_are_what_the_last_dense_layer_gets(data):
    classifier = network()
    function, words = features_of(classifier)
    assert words == PENULTIMATE
    kernel, bias = classifier.model.layers[-1].get_weights()
    np.testing.assert_allclose(
        np.asarray(function(data.images)) @ kernel + bias, classifier.logits(data.images), atol=1e-5
    )
    function, words = features_of(CLASSIFIER)
    assert words == LOGITS
    np.testing.assert_allclose(np.asarray(function(data.images)), CLASSIFIER.logits(data.images), atol=1e-5)


def test_new_layers_tell_the_corner_from_what_lies_inside(data):
    classifier = network()
    (part,) = slices_of(data, 6)
    known = {"classifier": classifier, "checksum": "", "part": part, "of": "checks", "shown": "active test"}
    result = Binarised(count=3, epsilon=EPSILON, seed=0, **known).compute([], no_progress)
    arrays = result.arrays
    assert arrays["usable"].sum() >= 2
    row = int(np.flatnonzero(arrays["usable"])[0])
    binary = binarised(classifier, tf.Variable(arrays["weights"][row]), tf.Variable(arrays["bias"][row]))
    image = data.images[[0, 2, 5][row]]
    offsets = np.random.default_rng(1).uniform(-EPSILON, EPSILON, (500, *SHAPE))
    assert binary.num_classes == 2
    assert (binary.predict(np.clip(image + offsets, 0, 1)) == 0).mean() > 0.98
    again = Binarised(count=3, epsilon=EPSILON, seed=0, **known).compute([], no_progress)
    np.testing.assert_array_equal(again.arrays["weights"], arrays["weights"])


def test_points_go_through_the_network_as_memory_allows(data):
    """However many at once, they are the same ones."""
    (part,) = slices_of(data, 6)
    found = []
    for size in (5_000, 70):
        classifier = network()
        classifier.__dict__["at_once"] = size
        known = {"classifier": classifier, "checksum": "", "part": part, "of": "checks", "shown": "active test"}
        test = Binarised(count=1, epsilon=EPSILON, seed=0, **known)
        seen = list(test._points(data.images[0], 0))
        assert max(len(points) for points in seen) <= size
        found.append(np.concatenate(seen))
    assert len(found[0]) == 1 + 999 + 200 + 1
    np.testing.assert_array_equal(*found)
    assert np.abs(found[0] - data.images[0]).max() <= EPSILON + 1e-6


def evaluated(classifier, data, folder, *attacks):
    asked = replace(Protocol.build(SPEC, epsilon=EPSILON), attacks=attacks, region_samples=2)
    labelled = replace(data, labels=classifier.predict(data.images))
    options = {"convergence": False, "active_test": True, "slice_size": 4}
    found = evaluate([classifier], labelled, SPEC, asked, folder, **options)
    assert read(folder) == found
    return found


def test_attacks_by_good_gradients_pass(data, tmp_path):
    """Where features are linear, the corner that the gradient points to lies farther than the one drawn."""
    search = DecoupledSearch(gradients=20, norm="linf")
    attacks = (
        PGD(epsilon=EPSILON, iterations=10),
        OptLinf(search=search),
        OptBrittle(search=DecoupledSearch(gradients=10)),
    )
    found = evaluated(network(activation=None), data, tmp_path, *attacks)
    rows = {row.attack: row.active for row in found.models[0].rows}
    assert rows["benign"] is rows["optbrittle"] is None
    assert rows["pgd"].of == rows["optlinf"].of >= 4
    assert rows["pgd"].count == rows["pgd"].of
    assert rows["optlinf"].count == rows["optlinf"].of
    assert not [flag for flag in found.flags if flag.name == "active-test"]
    told = f"Active test, examples that surely exist: mine, on its {PENULTIMATE}: PGD {rows['pgd'].count} of "
    assert told in caption(found)


@keras.saving.register_keras_serializable("test")
class Rounded(keras.layers.Layer):
    """Rounds to ten values, with a gradient of zero."""

    def call(self, values):
        return tf.round(9.0 * values) / 9.0 + 0.0 * values


def test_an_attack_whose_gradients_are_masked_raises_the_flag(data, tmp_path):
    found = evaluated(
        network(Rounded(), name="stepped"), data, tmp_path, FGSM(epsilon=EPSILON), Square(epsilon=EPSILON)
    )
    flag = next(flag for flag in found.flags if flag.name == "active-test")
    assert (flag.model, flag.attack) == ("stepped", "fgsm")
    assert flag.images.count == flag.images.of > 0
