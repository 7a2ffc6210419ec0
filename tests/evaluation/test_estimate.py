"""How long a run will take, before it begins: no less than it sends through the networks, and not far more."""

import numpy as np
import pytest

from advkeras.attacks import configure, names
from advkeras.datasets import MNIST
from advkeras.evaluation import estimate
from advkeras.evaluation.estimate import estimated_seconds
from advkeras.evaluation.slices import slices_of
from advkeras.evaluation.units import Examples, Votes
from advkeras.models import Classifier

from ..grids import grid

SMALL = {
    **{name: {"queries": 60} for name in ("square", "hopskipjump")},
    **{name: {"gradients": 20, "samples": 40} for name in ("optregion", "optmimic")},
    **{"fgsm": {}, "pgd": {"iterations": 5, "restarts": 2}, "optmargin": {"weight_steps": 2, "iterations": 5}},
}


@pytest.mark.parametrize(("name",), grid(names(), fast=[("pgd",), ("square",), ("optmargin",), ("optbrittle",)]))
def test_an_attack_takes_no_more_passes_than_it_says(name, natural, sample):
    data = sample.first(4)
    attack = configure(name, MNIST, **SMALL.get(name, {"gradients": 20}))
    result = attack(natural, data.images, data.labels)
    forwards, gradients = attack.passes
    assert result.gradient_count <= 4 * gradients
    assert result.forward_count <= 1.1 * 4 * forwards + 4 * 3
    assert result.gradient_count + result.forward_count >= 0.3 * 4 * (forwards + gradients)


def test_the_time_follows_from_the_passes(natural, sample, monkeypatch):
    monkeypatch.setattr(estimate, "measured_passes", lambda classifier: (0.5, 2.0))
    (part,) = slices_of(sample.first(3), 3)
    benign = Examples.planned(natural, "natural", part, None)
    pgd = Examples.planned(natural, "natural", part, configure("fgsm", MNIST))
    votes = Votes(radius=0.3, samples=10, seed=0, follows=(pgd,), **pgd.asked)
    assert estimated_seconds([benign]) == pytest.approx(3 * 0.5)
    assert estimated_seconds([pgd, votes]) == pytest.approx(3 * (3 * 0.5 + 2.0) + 3 * 10 * 0.5)


def test_passes_are_measured_and_a_classifier_without_gradients_has_none(half_space):
    classifier, _ = half_space()
    forward, gradient = estimate.measured_passes(classifier)
    assert 0 < forward < 1
    assert 0 < gradient < 1
    import tensorflow as tf

    rounded = Classifier(
        lambda images: tf.numpy_function(
            lambda x: x.reshape(len(x), -1)[:, :3].astype(np.float32), [images], tf.float32
        ),
        bounds=(0.0, 1.0),
        input_shape=(3, 4, 2),
        name="rounded",
        classes=3,
    )
    assert estimate.measured_passes(rounded)[1] == 0.0
