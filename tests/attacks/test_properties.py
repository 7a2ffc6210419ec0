"""What holds for every attack whatever the images are."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advkeras.attacks import (
    APGD,
    FAB,
    FGSM,
    PGD,
    AutoAttack,
    HopSkipJump,
    OptBrittle,
    OptLinf,
    OptMargin,
    OptMimic,
    OptRegion,
    OptStrong,
    QuickAttack,
    Square,
    TargetedAPGD,
    configure,
    names,
)
from advkeras.datasets import MNIST
from advkeras.searches.decoupled_search import DecoupledSearch
from advkeras.searches.penalty_search import PenaltySearch

from ..conftest import FEATURES, SHAPE, linear_classifier
from ..grids import grid

PENALTY = PenaltySearch(weight_steps=2, iterations=20)
SHORT = DecoupledSearch(gradients=15)
ATTACKS = [
    FGSM(epsilon=0.2),
    PGD(epsilon=0.2, step=0.1, iterations=5),
    PGD(epsilon=0.5, step=0.1, iterations=5, norm="l2"),
    PGD(epsilon=0.2, iterations=5, loss="margin", restarts=2),
    OptBrittle(search=PENALTY),
    OptStrong(confidence=2.0, search=PENALTY),
    OptMargin(member_rms=0.1, ensemble_size=4, search=PENALTY),
    OptMargin(member_rms=0.1, ensemble_size=4, clip_members=True, search=replace(PENALTY, patience=3)),
    OptBrittle(search=SHORT),
    OptLinf(search=DecoupledSearch(gradients=15, norm="linf")),
    OptBrittle(),
    OptMargin(member_rms=0.1, ensemble_size=4, search=SHORT),
    OptRegion(radius=0.2, samples=20, gradients=60),
    OptRegion(radius=0.2, samples=20, gradients=60, region="gaussian", combine="mean_logits"),
    OptMimic(reach=0.2, samples=20, gradients=60),
    Square(epsilon=0.2, queries=30),
    HopSkipJump(queries=120, initial_samples=20),
    Square(epsilon=0.5, queries=30, norm="l2"),
    QuickAttack(epsilon=0.2, gradients=20),
    QuickAttack(epsilon=0.5, gradients=20, norm="l2"),
    APGD(epsilon=0.2, iterations=5),
    APGD(epsilon=0.5, iterations=5, norm="l2", loss="dlr", restarts=2),
    TargetedAPGD(epsilon=0.2, iterations=5),
    FAB(iterations=5),
    FAB(iterations=5, norm="l2"),
    AutoAttack(epsilon=0.2, iterations=5, queries=20),
    AutoAttack(epsilon=0.2, iterations=2, queries=10, version="plus"),
    AutoAttack(epsilon=0.2, iterations=2, version="rand"),
]
IDS = [f"{index}-{attack.name}" for index, attack in enumerate(ATTACKS)]
# These draw random points at each step.
DRAWING = ("optregion", "optmimic")
# Forwards that an attack's passes leave out.
FEW = 4
CLASSIFIER = linear_classifier(
    np.random.default_rng(0).standard_normal((FEATURES, 3)) * 4, np.zeros(3), bounds=(-1.0, 1.0)
)


def random_images(seed, count):
    """Images with pixels on the bounds among them."""
    generator = np.random.default_rng(seed)
    return np.clip(generator.uniform(-1.5, 1.5, (count, *SHAPE)), -1, 1).astype(np.float32)


@pytest.mark.parametrize("attack", ATTACKS, ids=IDS)
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 6))
def test_results_are_within_bounds_consistent_and_the_same_again(attack, seed, count):
    images = random_images(seed, count)
    labels = np.random.default_rng(seed).integers(0, 3, count)
    result = attack(CLASSIFIER, images, labels)
    assert result.adversarials.min() >= -1
    assert result.adversarials.max() <= 1
    assert np.isfinite(result.adversarials).all()
    np.testing.assert_array_equal(result.predictions, CLASSIFIER.predict(result.adversarials))
    np.testing.assert_array_equal(result.benign_predictions, CLASSIFIER.predict(images))
    assert not (result.success & ~result.attacked).any()
    assert not (result.success & (result.distortion == 0)).any()
    if attack.name != "optregion":
        np.testing.assert_array_equal(result.attacked, result.benign_predictions == labels)
        assert not (result.success & (result.predictions == labels)).any()
    forwards, gradients = attack.passes
    assert result.gradient_count <= gradients * count
    assert result.forward_count <= (forwards + FEW) * count
    rms = np.sqrt(((result.adversarials - images) ** 2).reshape(count, -1).mean(axis=1))
    np.testing.assert_allclose(result.distortion, rms, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(attack(CLASSIFIER, images, labels).adversarials, result.adversarials)


# HopSkipJump starts at the other images of the call.
@pytest.mark.parametrize("attack", [a for a in ATTACKS if a.name != "hopskipjump"], ids=lambda a: a.name)
@settings(max_examples=2, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_an_images_place_and_neither_its_company_nor_the_batch_decides_its_result(attack, seed):
    images = random_images(seed, 5)
    labels = CLASSIFIER.predict(images)
    straight = attack(CLASSIFIER, images, labels)
    order = np.random.default_rng(seed).permutation(5)[:3]
    permuted = replace(attack, batch_size=2)(CLASSIFIER, images[order], labels[order], places=order)
    np.testing.assert_allclose(permuted.adversarials, straight.adversarials[order], atol=1e-3)
    np.testing.assert_array_equal(permuted.success, straight.success[order])


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1, 4, 1000])
def test_the_batch_size_changes_nothing(batch_size):
    images = random_images(1, 9)
    labels = CLASSIFIER.predict(images)
    for attack in ATTACKS:
        parts = replace(attack, batch_size=batch_size)
        np.testing.assert_allclose(
            parts(CLASSIFIER, images, labels).adversarials,
            attack(CLASSIFIER, images, labels).adversarials,
            atol=1e-3,
        )


@pytest.mark.slow
@pytest.mark.parametrize("attack", [a for a in ATTACKS if a.name in DRAWING], ids=repr)
def test_xla_is_as_another_seed_to_attacks_that_draw(attack):
    """XLA draws other random numbers from the same seed, so only averages over images can be compared."""
    images = random_images(1, 40)
    labels = CLASSIFIER.predict(images)
    plain, compiled = (replace(attack, samples=100, jit_compile=on)(CLASSIFIER, images, labels) for on in (False, True))
    both = compiled.success & plain.success
    assert both.sum() >= 30
    np.testing.assert_allclose(compiled.distortion[both].mean(), plain.distortion[both].mean(), rtol=0.1)


@pytest.mark.parametrize(
    ("attack",),
    grid(
        (attack for attack in ATTACKS if hasattr(attack, "jit_compile") and attack.name not in DRAWING),
        fast=[(ATTACKS[8],)],
    ),
    ids=lambda attack: attack.name,
)
def test_xla_finds_the_same(attack):
    """PGD's random start is another one, since XLA draws other random numbers from the same seed."""
    images = random_images(1, 5)
    labels = CLASSIFIER.predict(images)
    plain = attack(CLASSIFIER, images, labels)
    compiled = replace(attack, jit_compile=True, batch_size=16)(CLASSIFIER, images, labels)
    np.testing.assert_array_equal(compiled.success, plain.success)
    if attack.name == "pgd":
        np.testing.assert_allclose(compiled.distortion, plain.distortion, rtol=0.3)
    else:
        np.testing.assert_allclose(compiled.adversarials, plain.adversarials, atol=5e-3)


@pytest.mark.parametrize(
    "seeded",
    [
        PGD(epsilon=0.2, step=0.001, iterations=1),
        OptMargin(member_rms=0.4, search=PENALTY),
        Square(epsilon=0.2, queries=2),
        HopSkipJump(queries=120, initial_samples=20),
    ],
)
def test_another_seed_gives_another_result(seeded):
    images = random_images(2, 8)
    labels = CLASSIFIER.predict(images)
    other = type(seeded).from_config({**seeded.get_config(), "seed": 1})
    assert not np.array_equal(
        seeded(CLASSIFIER, images, labels).adversarials, other(CLASSIFIER, images, labels).adversarials
    )


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_random_start_is_anywhere_in_the_ball(norm):
    attack = PGD(epsilon=0.3, step=1e-6, iterations=1, norm=norm, loss="margin")
    images = np.zeros((200, *SHAPE), np.float32)
    difference = attack(CLASSIFIER, images, CLASSIFIER.predict(images)).adversarials
    distance = attack.distance(difference)
    assert (distance <= 0.3 + 1e-5).all()
    # It is uniform there: so the share of the ball within a distance is that distance's power of 24.
    shares = np.quantile((distance / 0.3) ** FEATURES, [0.25, 0.5, 0.75])
    np.testing.assert_allclose(shares, [0.25, 0.5, 0.75], atol=0.12)


@pytest.mark.parametrize("name", names())
def test_an_attack_is_a_value(name):
    attack = configure(name, MNIST)
    assert type(attack).from_config(attack.get_config()) == attack
    assert hash(attack) == hash(configure(name, MNIST))
