"""What parameters may be, wherever they are given: in Python, for every parameter of everything that has some."""

import json
from dataclasses import fields, is_dataclass
from typing import Any, get_args

import numpy as np
import pytest

from advkeras.attacks import registry
from advkeras.boundary import BoundarySearch
from advkeras.datasets import CIFAR10, MNIST
from advkeras.errors import InvalidInputError
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


def test_an_attack_with_numpys_numbers_can_be_written_down():
    attack = registry.configure("pgd", MNIST, {"epsilon": np.float32(0.25), "iterations": np.int64(3)})
    assert json.loads(json.dumps(attack.get_config()))["iterations"] == 3
