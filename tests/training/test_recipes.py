"""The default recipes, held against the cards of the zoo's models, which say what they have led to."""

from dataclasses import asdict, replace

import pytest

from advkeras.datasets import CIFAR10, MNIST, registry
from advkeras.models import Classifier, zoo
from advkeras.training.recipes import DEFENSES, TrainingRecipe

# What the cards' commands give in place of the defaults.
GIVEN = {"cifar10-pgd": {"epochs": 8}}


@pytest.mark.parametrize("name", zoo.names())
def test_the_defaults_are_what_the_zoo_was_trained_with(name):
    card = Classifier.load(name).card
    told = card.recipe
    default = asdict(TrainingRecipe.default(registry.get(card.dataset), told["defense"], **GIVEN.get(name, {})))
    assert told.items() <= default.items()
    assert all(f"--{option} {value}" in card.command for option, value in GIVEN.get(name, {}).items())


@pytest.mark.parametrize("name", ["ant", "zoo"])
def test_own_images_get_the_recipe_of_cifar10_without_augmentation(name):
    spec = registry.own(name, bounds=(0.0, 1.0), shape=(8, 8, 3), class_names=("a", "b"))
    mine, known = TrainingRecipe.default(spec, "pgd"), TrainingRecipe.default(CIFAR10, "pgd")
    assert mine == replace(known, architecture=mine.architecture, epsilon=spec.epsilon, augmentation="none")


@pytest.mark.parametrize("spec", [MNIST, CIFAR10], ids=lambda spec: spec.name)
@pytest.mark.parametrize("defense", DEFENSES)
def test_every_default_recipe_can_be_trained_with(spec, defense):
    recipe = TrainingRecipe.default(spec, defense)
    assert recipe.epsilon == (0.0 if defense == "none" else spec.epsilon)
    assert recipe.ramp_epochs < recipe.epochs
