"""The trained models that come with advkeras."""

import numpy as np
import pytest

from advkeras.attacks import PGD
from advkeras.attacks.accuracy import CARD_IMAGES
from advkeras.datasets import load_sample
from advkeras.models import Classifier, zoo

NAMES = ("cifar10-natural", "cifar10-pgd", "mnist-natural", "mnist-pgd")
TRAINING_IMAGES = {"mnist": 60_000, "cifar10": 50_000}


def test_the_zoo_has_its_models():
    assert zoo.names() == NAMES
    assert zoo.names_for("mnist") == NAMES[2:]
    assert zoo.names_for("cifar10") == NAMES[:2]


@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_as_good_on_the_sample_as_its_card_says(name):
    card = zoo.card(name)
    assert zoo.is_intact(name)
    classifier = Classifier.load(name)
    assert (classifier.name, classifier.bounds, classifier.input_shape) == (name, card.bounds, card.input_shape)
    sample = load_sample(card.dataset)
    stated = card.accuracies["benign"]["rate"]
    accuracy = (classifier.predict(sample.images) == sample.labels).mean()
    # Four standard errors of the sample.
    assert abs(accuracy - stated) < 4 * (stated * (1 - stated) / len(sample)) ** 0.5


@pytest.mark.slow
def test_the_robust_model_withstands_pgd_as_its_card_says(sample):
    card = zoo.card("mnist-pgd")
    attack = PGD.from_config({**card.accuracies["pgd"]["attack"], "iterations": 20, "step": 0.03})
    result = attack(Classifier.load("mnist-pgd"), sample.images[:200], sample.labels[:200])
    robust = (result.predictions == sample.labels[:200]).mean()
    assert abs(robust - card.accuracies["pgd"]["rate"]) < 0.06


@pytest.mark.parametrize("name", NAMES)
def test_a_card_says_how_to_make_the_model_again(name):
    card = zoo.card(name)
    assert card.command.startswith(f"advkeras train --dataset {card.dataset} ")
    assert card.command.endswith(f" --output saved_models/{name}")
    assert (f"--defense {card.defense}" in card.command) or card.defense == "none"
    assert card.data["images"] == TRAINING_IMAGES[card.dataset]
    assert len(card.history) == card.recipe["epochs"]
    assert card.accuracies["benign"]["of"] == 10_000
    assert card.accuracies["pgd"]["of"] == CARD_IMAGES[card.dataset]
    assert card.seed == card.recipe["seed"]


def test_the_natural_model_does_not_withstand_pgd(natural, sample):
    result = PGD(epsilon=0.3, step=0.03, iterations=20)(natural, sample.images[:50], sample.labels[:50])
    assert np.mean(result.success) > 0.95
