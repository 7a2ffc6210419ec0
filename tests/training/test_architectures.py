"""The networks that are trained: their sizes, and the units of their pixels."""

import keras
import numpy as np
import pytest

from advkeras.datasets import CIFAR10, MNIST
from advkeras.datasets import registry as datasets
from advkeras.models import architectures

from ..grids import grid


def test_madrys_network_has_the_published_size():
    assert architectures.build("madry-mnist", MNIST).count_params() == 3_274_634


def test_the_other_networks_have_the_sizes_that_are_stated():
    assert architectures.build("resnet-small", CIFAR10).count_params() == 909_290
    assert architectures.build("wrn-32-10", CIFAR10).count_params() == 45_924_346


@pytest.mark.parametrize(
    ("name",), grid(architectures.names(), fast=[(name,) for name in architectures.names() if name != "wrn-32-10"])
)
def test_every_network_takes_any_image_in_its_own_unit(name):
    """Fixed or per-image standardisation is inside: the same picture in another unit gives the same logits."""
    keras.utils.set_random_seed(0)
    pictures = np.random.default_rng(0).uniform(0, 1, (2, 20, 24, 3)).astype(np.float32)
    answers, weights = [], None
    for low, high in ((0.0, 255.0), (-1.0, 1.0)):
        spec = datasets.own("mine", bounds=(low, high), shape=(20, 24, 3), class_names=("a", "b", "c"))
        network = architectures.build(name, spec)
        weights = weights or network.get_weights()
        network.set_weights(weights)
        answers.append(network(low + (high - low) * pictures).numpy())
    assert answers[0].shape == (2, 3)
    if name != "madry-mnist":  # which the paper feeds with pixels in [0, 1]
        np.testing.assert_allclose(answers[0], answers[1], rtol=1e-2, atol=1e-3)
