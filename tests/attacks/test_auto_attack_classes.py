"""AutoAttack on networks of other sizes and numbers of classes than the data sets of the papers."""

import keras
import numpy as np
import pytest

from advkeras.arrays import l2, linf
from advkeras.attacks import FAB, AutoAttack
from advkeras.models import Classifier

SHAPE = (64, 64, 3)


@pytest.fixture(scope="module", params=[2, *(pytest.param(count, marks=pytest.mark.slow) for count in (3, 100))])
def network(request):
    """A small network that has been trained on nothing, and images that it classifies surely enough."""
    keras.utils.set_random_seed(request.param)
    model = keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Rescaling(1 / 64, offset=-2),
            keras.layers.Conv2D(6, 5, strides=4, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(request.param, activation="softmax"),
        ]
    )
    return model, np.random.default_rng(1).integers(0, 256, (6, *SHAPE)).astype(np.float32)


@pytest.mark.parametrize("norm", ["linf", pytest.param("l2", marks=pytest.mark.slow)])
def test_it_finds_what_its_parts_find(network, norm):
    model, images = network
    classifier = Classifier.from_keras(model, bounds=(0, 255))
    labels = classifier.predict(images)
    budget = {"norm": norm, "iterations": 4, "targets": 3}
    nearest = FAB(**budget)(classifier, images, labels)
    measure = linf if norm == "linf" else l2
    attack = AutoAttack(epsilon=float(np.median(measure(nearest.adversarials - images))), queries=20, **budget)
    result = attack(classifier, images, labels)
    parts = [part(classifier, images, labels) for part in attack.parts]
    # FAB, whose examples may lie anywhere, counts within epsilon.
    found = [part.success & (attack.distance(part.adversarials - images) <= attack.epsilon) for part in parts]
    assert 0 < result.success.sum() < len(images)
    np.testing.assert_array_equal(result.success, np.logical_or.reduce(found))
    assert (classifier.predict(result.adversarials) != labels)[result.success].all()
