"""The parameters that attacks have unless one says otherwise, and what they cost."""

from dataclasses import replace

import numpy as np
import pytest

from advkeras.attacks import (
    APGD,
    FAB,
    FGSM,
    PGD,
    DecoupledSearch,
    HopSkipJump,
    OptBrittle,
    OptLinf,
    OptMargin,
    OptRegion,
    OptStrong,
    PenaltySearch,
    Square,
    configure,
    names,
)
from advkeras.datasets import CIFAR10, MNIST
from advkeras.datasets.registry import own
from advkeras.evaluation.units import raised

from ..conftest import SHAPE

# Forwards and gradients of an image, at most, as docs/attacks.md has them, and the classifications around a search.
PASSES = {
    "fgsm": (3, 1),
    "pgd": (3, 80),
    "optlinf": (5, 100),
    "optbrittle": (5, 200),
    "optstrong": (5, 200),
    "optmargin": (43, 80_000),
    "optregion": (603, 200),
    "optmimic": (2_003, 200),
    "quick": (3, 160),
    "square": (1_000, 0),
    "hopskipjump": (1_000, 0),
    "apgd": (3, 101),
    "apgd-t": (3, 909),
    "fab": (903, 900),
    "autoattack": (5_909, 1_910),
}


def test_opt_attacks_have_the_authors_parameters_on_each_data_set():
    mine = own("mine", bounds=(0.0, 1.0), shape=SHAPE, class_names=("a", "b"))
    mnist, cifar, theirs = (OptMargin.for_data(spec) for spec in (MNIST, CIFAR10, mine))
    assert [each.member_rms for each in (mnist, cifar, theirs)] == pytest.approx([0.3, 8.0, 8 / 255])
    assert [each.clip_members for each in (mnist, cifar, theirs)] == [False, False, True]
    authors = PenaltySearch(learning_rate=0.2, initial_weight=0.2, weight_steps=4, iterations=1_000)
    on_mnist = replace(authors, distance_scale=255.0**2)
    assert (mnist.search, cifar.search) == (replace(on_mnist, patience=5), DecoupledSearch(gradients=30))
    assert theirs.search == cifar.search, "equation (4) where nothing else is known"
    full = {name: configure(name, MNIST, full_search=True).search for name in ("optmargin", "optbrittle", "optlinf")}
    assert full == {"optmargin": on_mnist, "optbrittle": authors, "optlinf": OptLinf.search}
    on_cifar = replace(authors, learning_rate=0.01, initial_weight=1.0)
    assert configure("optbrittle", CIFAR10, full_search=True).search == on_cifar
    assert [configure("optmimic", spec).reach for spec in (MNIST, CIFAR10)] == [0.5, 127.5]


def test_attacks_send_as_much_through_a_network_as_the_guide_says():
    assert {name: configure(name, MNIST).passes for name in names()} == PASSES
    assert PGD(epsilon=0.1, iterations=5, restarts=2, loss="margin").passes == (3, 10)
    assert APGD(epsilon=0.1, iterations=3, restarts=2, samples=5).passes == (15, 40)
    assert FAB(iterations=3, targets=2, restarts=2).passes == (15, 12)
    assert FAB(iterations=3, targets=0, restarts=2).passes == (9, 54)
    assert OptMargin(member_rms=0.1).passes == (43, 600)


def test_optstrong_wants_a_margin_of_forty_and_searches_with_noise_from_its_first_step():
    assert OptStrong().confidence == 40.0
    assert OptStrong().search == DecoupledSearch(gradients=200, restarts=False)
    assert OptStrong.penalty == PenaltySearch(learning_rate=0.1, initial_weight=10.0, weight_steps=3, iterations=200)
    assert (OptRegion(radius=0.1).members, HopSkipJump().initial_samples) == (3, 100)


def test_pgds_steps_can_cross_the_ball():
    assert PGD(epsilon=0.4, iterations=20).step_length == pytest.approx(0.05)
    assert PGD(epsilon=0.4, step=0.3).step_length == 0.3


def test_so_many_times_the_work_is_of_what_an_attack_does():
    assert PGD(epsilon=0.1, iterations=40).with_work(3) == PGD(epsilon=0.1, iterations=120)
    assert Square(epsilon=0.1, queries=50).with_work(2) == Square(epsilon=0.1, queries=100)
    assert FGSM(epsilon=0.1).with_work(2) == FGSM(epsilon=0.1)
    search = PenaltySearch(iterations=50, patience=3)
    assert OptBrittle(search=search).with_work(2).search == PenaltySearch(iterations=100, patience=6)


@pytest.mark.parametrize("name", names())
def test_what_the_check_of_convergence_raises_is_what_it_tells_the_user_to_set(name):
    attack = configure(name, MNIST)
    told = dict(part.removeprefix(f"{name}.").split("=") for part in filter(None, raised(attack).split(" --set ")))
    assert configure(name, MNIST, **{key: int(value) for key, value in told.items()}) == attack.with_work(2)
    assert not attack.work or attack.work_setting[0] in told


def test_a_search_that_stops_when_nothing_improves_is_told_to_be_patient():
    assert raised(configure("optmargin", MNIST)) == "optmargin.iterations=2000 --set optmargin.patience=10"


@pytest.mark.parametrize(
    ("rescale", "halvings", "late"),
    [
        (True, [10, 50, 200, 1_000, 2_000, 4_000, 6_000, 8_000], 0),
        (False, [10, 50, 200, 500, 1_000, 2_000, 4_000, 6_000, 8_000], 1),
    ],
)
def test_squares_windows_are_halved_after_the_papers_queries(rescale, halvings, late):
    """At once, of 10,000 queries, or after them, as AutoAttack does whatever the budget."""
    square = Square(epsilon=0.1, queries=10_000 if rescale else 77, rescale=rescale, initial_share=0.8)
    asked = np.ravel([[halving - 1 + late, halving + late] for halving in halvings])
    expected = np.rint(2_800 * np.sqrt(0.8 / 2.0 ** (np.arange(1, len(asked) + 1) // 2)))
    np.testing.assert_array_equal(square.window_sides(asked, 2_800, 2_800), expected)
