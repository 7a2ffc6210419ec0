"""What parameters may be, wherever they are given: in Python, for every parameter of everything that has some."""

import json
from dataclasses import fields, is_dataclass
from typing import Any, get_args

import numpy as np
import pytest
import tensorflow as tf

from advkeras.attacks import FGSM, registry
from advkeras.boundary import BoundarySearch
from advkeras.datasets import CIFAR10, MNIST
from advkeras.defenses.region_classification import RegionClassification
from advkeras.errors import InvalidInputError
from advkeras.models import Classifier
from advkeras.parameters import BelowOne, Count, NotNegative, Positive, Seed, annotations_of, held
from advkeras.regions import Ball, Gaussian, Hypercube, Radial
from advkeras.regions.voting import RegionVote
from advkeras.searches.decoupled_search import DecoupledSearch
from advkeras.searches.norms import NormName
from advkeras.searches.penalty_search import PenaltySearch
from advkeras.training.recipes import TrainingRecipe

OWNERS = [
    *(registry.configure(name, MNIST) for name in registry.names()),
    DecoupledSearch(),
    PenaltySearch(patience=3),
    BoundarySearch(directions=10, step=0.1, reach=1.0, batch_size=4),
    *(region(0.3) for region in (Hypercube, Ball, Radial, Gaussian)),
    RegionVote(region=Hypercube(0.3)),
    TrainingRecipe.default(CIFAR10, "trades", patience=2, validation=100),
]
WRONG = (
    float("nan"),
    float("inf"),
    -float("inf"),
    10**12,
    -(10**12),
    1e300,
    "many",
    [1],
    np.float64("nan"),
    np.int64(10**12),
)


def kinds(annotation: Any) -> set[Any]:
    return {annotation}.union(*map(kinds, get_args(annotation))) if get_args(annotation) else {annotation}


def numbers(owner: Any) -> list[str]:
    """The parameters that are numbers."""
    return [name for name, annotation in annotations_of(type(owner)).items() if kinds(annotation) & {int, float}]


@pytest.mark.parametrize("owner", OWNERS, ids=lambda owner: getattr(owner, "name", type(owner).__name__))
def test_a_number_that_cannot_be_is_refused_by_name(owner):
    values = {each.name: getattr(owner, each.name) for each in fields(owner) if each.init}
    for name in numbers(owner):
        for wrong in WRONG:
            with pytest.raises(InvalidInputError, match=f"^{name} must .*Received: {name}="):
                type(owner)(**{**values, name: wrong})


def test_there_are_parameters_to_try():
    assert all(is_dataclass(owner) and numbers(owner) for owner in OWNERS)
    assert sum(len(numbers(owner)) for owner in OWNERS) * len(WRONG) > 500


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        (np.float32(0.5), NotNegative),
        (np.int64(3), Count),
        (np.bool_(True), bool),
        (3, float),
        (None, float | None),
        (np.float64(2.0), NotNegative | None),
        ("l2", NormName),
        (object(), object),
        ((1, 2), tuple[int, int]),
    ],
)
def test_what_is_right_is_taken_numpys_numbers_as_pythons(value, annotation):
    assert held("it", value, annotation) == value
    assert type(held("it", value, annotation)).__module__ != "numpy"


@pytest.mark.parametrize(
    ("value", "annotation", "message"),
    [
        (True, Count, "it must be a whole number. Received: it=True"),
        (1, bool, "it must be true or false. Received: it=1"),
        (2.0, Count, "it must be a whole number. Received: it=2.0"),
        (0, Count, "it must be at least 1. Received: it=0"),
        (0.0, Positive, "it must be positive. Received: it=0.0"),
        (-1, Seed, "it must lie in [0, 4294967296). Received: it=-1"),
        (1.0, BelowOne, "it must lie in [0, 1). Received: it=1.0"),
        (None, Count, "it must be a whole number. Received: it=None"),
        ("l3", NormName, "it must be 'l2' or 'linf'. Received: it='l3'"),
        (float("nan"), NotNegative | None, "it must be finite. Received: it=nan"),
    ],
)
def test_what_is_wrong_is_said(value, annotation, message):
    with pytest.raises(InvalidInputError) as caught:
        held("it", value, annotation)
    assert str(caught.value) == message


IMAGES, LABELS = np.full((2, 3, 4, 2), 0.5, np.float32), [0, 1]
CALLS = {
    "bounds of words": (lambda it: it(bounds=("a", "b")), r"bounds must be two numbers. Received: bounds=\('a', 'b'\)"),
    "a single bound": (lambda it: it(bounds=(0,)), "bounds must be two numbers"),
    "bounds that are a number": (lambda it: it(bounds=5), "bounds must be two numbers"),
    "a bound beyond all": (lambda it: it(bounds=(0, 10**400)), "bounds must be two numbers"),
    "a bound beyond float32": (lambda it: it(bounds=(0, 1e39)), "bounds must be finite and increasing"),
    "bounds that are one in float32": (lambda it: it(bounds=(999_999_999, 1e9)), "bounds must be finite and incre"),
    "bounds below float32": (lambda it: it(bounds=(0, 1e-46)), "bounds must be finite and increasing"),
    "a shape of two": (lambda it: it(input_shape=(6, 6)), r"input_shape must be \(height, width, channels\)"),
    "no shape": (lambda it: it(input_shape=None), r"input_shape must be \(height, width, channels\)"),
    "a shape of less than nothing": (lambda it: it(input_shape=(-6, 6, 1)), "input_shape must be at least 1"),
    "a shape of parts": (lambda it: it(input_shape=(6.5, 6, 1)), "input_shape must be a whole number"),
    "a threshold of words": (lambda it: it(threshold="x"), "threshold must be a number"),
    "a name that is a number": (lambda it: it(output_name=3), "output_name must be a word or none"),
    "a place beyond all": (lambda it: it(output_name="9" * 5_000), "has no output '999"),
    "no classes": (lambda it: it(classes=0), "classes must be at least 1"),
    "one level": (lambda it: it(levels=1), "levels must be at least 2"),
    "a model that is a number": (lambda _: Classifier.load(3), "a model is a name, a folder or a file"),
    "a model of a long name": (lambda _: Classifier.load("x" * 5_000), "unknown model 'xxx"),
    "a shape of a single number": (lambda _: Classifier.load("mnist-pgd", shape=5), r"shape must be \(height, width"),
    "channels of words": (lambda _: Classifier.load("mnist-pgd", channels_first="x"), "channels_first must be true"),
    "ragged images": (lambda it: it().check_images([[1], [2, 3]]), "images must be an array of numbers. Received: "),
    "complex images": (lambda it: it().predict(IMAGES + 1j), "array of numbers. Received: dtype complex64"),
    "images of text": (lambda it: it().predict(IMAGES.astype(str)), "array of numbers. Received: dtype <U"),
    "no images": (lambda it: it().predict(None), "array of numbers. Received: dtype object"),
    "an image alone": (lambda it: it().logits(IMAGES[0]), r"images of shape \(N, 3, 4, 2\)"),
    "a batch of less than nothing": (lambda it: it().predict(IMAGES, batch_size=-1), "batch_size must not be negative"),
    "a radius of words": (lambda it: RegionClassification(it(), radius="x"), "radius must be a number"),
    "a seed of words": (lambda it: RegionClassification(it(), radius=0.1, seed="x"), "seed must be a whole number"),
    "a seed beyond 32 bits": (lambda it: RegionClassification(it(), radius=0.1, seed=2**32), "seed must lie in"),
    "bounds of a vote": (
        lambda it: RegionClassification(it(), radius=0.1, bounds=(0, np.nan)),
        "bounds must be finite",
    ),
    "too few places": (
        lambda it: RegionClassification(it(), radius=0.1, seed=1).predict(IMAGES, places=[1]),
        "places must be 2 whole numbers",
    ),
    "places beyond 32 bits": (lambda it: FGSM(epsilon=0.1)(it(), IMAGES, LABELS, places=[0, 2**32]), "places must lie"),
    "places below zero": (lambda it: FGSM(epsilon=0.1)(it(), IMAGES, LABELS, places=[0, -1]), "places must lie in 0"),
}


@pytest.mark.parametrize("case", CALLS)
def test_what_python_is_given_that_cannot_be_is_one_line(case):
    def classifier(**said):
        usual = {"bounds": (0.0, 1.0), "input_shape": (3, 4, 2), "name": "mean"}
        return Classifier(lambda images: tf.reduce_mean(images, axis=(1, 2)), **{**usual, **said})

    call, message = CALLS[case]
    with pytest.raises(InvalidInputError, match=message) as caught:
        call(classifier)
    assert len(str(caught.value).splitlines()) == 1


def test_an_attack_with_numpys_numbers_can_be_written_down():
    attack = registry.configure("pgd", MNIST, {"epsilon": np.float32(0.25), "iterations": np.int64(3)})
    assert json.loads(json.dumps(attack.get_config()))["iterations"] == 3
