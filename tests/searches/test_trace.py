"""What searches record on their way, against what they looked at."""

import numpy as np
import pytest

from advkeras.attacks import (
    APGD,
    FAB,
    FGSM,
    PGD,
    AttackResult,
    AutoAttack,
    DecoupledSearch,
    HopSkipJump,
    OptBrittle,
    OptLinf,
    OptRegion,
    OptStrong,
    PenaltySearch,
    QuickAttack,
    Square,
    TargetedAPGD,
)
from advkeras.searches.noting import WIDTH
from advkeras.searches.trace import MOST, Trace, TraceRecorder

from ..conftest import SHAPE
from ..recording import wavy

IMAGE = np.random.default_rng(8).uniform(0.3, 0.7, (1, *SHAPE)).astype(np.float32)


def margins_of(classifier, points, label):
    logits = classifier.answer(points)
    others = np.delete(logits, label, axis=1)
    return others.max(axis=1) - logits[:, label]


@pytest.fixture(scope="module")
def one():
    """A classifier that keeps its points, and the class of the one image."""
    classifier = wavy()
    return classifier, int(classifier.answer(IMAGE.reshape(1, -1)).argmax())


# Points before the search: the image's classification; of some, the wrong classes' ranking.
SEARCHES = {
    "pgd": (PGD(epsilon=0.02, iterations=8, loss="margin"), 1, 9),
    "pgd-long": (PGD(epsilon=0.0001, iterations=200, loss="margin"), 1, 201),
    "apgd": (APGD(epsilon=0.001, iterations=20), 1, 21),
    "optlinf": (OptLinf(search=DecoupledSearch(gradients=12, norm="linf")), 1, 12),
    "penalty": (OptBrittle(search=PenaltySearch(iterations=10, weight_steps=2)), 1, 20),
    "quick": (QuickAttack(epsilon=1.0, gradients=12), 1, 5),
    "square": (Square(epsilon=0.0001, queries=30), 1, 30),
}


@pytest.mark.parametrize("name", SEARCHES)
def test_a_trace_holds_the_margin_of_every_point(one, name):
    classifier, label = one
    attack, before, steps = SEARCHES[name]
    classifier.asked.clear()
    result = attack(classifier, IMAGE, [label])
    expected = margins_of(classifier, classifier.points()[before : before + steps], label)
    trace = result.trace
    if name == "square":  # whose budget is also used up by points whose answer is known
        assert 15 < trace.steps[0] < steps
        steps = trace.steps[0]
        expected = expected[:steps]
        assert len(classifier.points()) == steps + 3  # and the attack's own, before and after the search
    assert (trace.steps[0], trace.stride[0]) == (steps, 1)
    assert trace.queries[0] == (0 if attack.needs_gradient else steps)
    if steps <= WIDTH:
        np.testing.assert_allclose(trace.margins[0], expected, atol=1e-4)
    else:
        np.testing.assert_allclose(
            trace.margins[0, ::2], np.maximum(expected[::2], [*expected[1::2], -np.inf]), atol=1e-4
        )
    if not result.success[0] and name not in ("optlinf", "quick"):
        assert expected[trace.best[0] :][:2].max() == pytest.approx(expected.max(), abs=1e-4)
    assert trace.reached[0] == (expected > 0).any()


@pytest.mark.parametrize(
    "attack",
    [
        OptBrittle(search=DecoupledSearch(gradients=60)),
        OptLinf(search=DecoupledSearch(gradients=60, norm="linf")),
        OptBrittle(search=DecoupledSearch(gradients=30)),
    ],
    ids=str,
)
def test_the_best_step_is_one_at_which_the_goal_was_reached(half_space, grey_images, attack):
    classifier, _ = half_space()
    images = grey_images()
    result = attack(classifier, images, classifier.predict(images))
    assert result.success.all()
    trace = result.trace
    assert (trace.steps <= 60).all()
    assert (trace.margins[np.arange(len(images)), trace.best] > 0).all()


def test_runs_stand_one_behind_the_other(one):
    classifier, label = one
    both = PGD(epsilon=0.001, iterations=8)(classifier, IMAGE, [label]).trace
    assert both.steps[0] == 18
    aimed = TargetedAPGD(epsilon=0.001, iterations=10)(classifier, IMAGE, [label]).trace
    assert aimed.steps[0] == 22
    boundary = FAB(iterations=10)(classifier, IMAGE, [label])
    assert 10 < boundary.trace.steps[0] <= 20
    assert boundary.trace.reached[0] == boundary.success[0]


def test_an_ensemble_of_attacks_records_them_all_and_its_queries_last(one):
    classifier, label = one
    trace = AutoAttack(epsilon=1e-5, iterations=10, queries=20)(classifier, IMAGE, [label]).trace
    assert 10 < trace.queries[0] <= 20
    assert trace.steps[0] == 11 + 22 + 20 + trace.queries[0]
    # FAB's examples lie beyond epsilon.
    assert not trace.reached[0]


def test_attacks_without_steps_keep_no_trace(half_space, grey_images):
    classifier, _ = half_space()
    images = grey_images(2)
    for attack in (FGSM(epsilon=0.1), OptRegion(radius=0.1, gradients=20)):
        assert attack(classifier, images, classifier.predict(images)).trace is None


def test_a_search_by_classes_counts_its_queries(half_space, grey_images):
    classifier, _ = half_space()
    images = grey_images()
    labels = classifier.predict(images)
    result = HopSkipJump(queries=60)(classifier, images, labels)
    trace = result.trace
    assert trace.margins.shape == (len(images), 0)
    assert (trace.steps <= 60).all()
    np.testing.assert_array_equal(trace.queries, trace.steps)
    assert ((trace.best >= 0) & (trace.best < trace.steps)).tolist() == result.success.tolist()
    assert (trace.best == trace.steps - 1)[result.success].all(), "the last query settles the result"
    assert not trace.ended_by_queries.any()


@pytest.mark.parametrize(
    "search",
    [DecoupledSearch(gradients=12), DecoupledSearch(gradients=60), PenaltySearch(weight_steps=1, iterations=5)],
    ids=str,
)
def test_a_search_that_finds_nothing_has_kept_no_step(half_space, grey_images, search):
    classifier, _ = half_space()
    images = grey_images(3)
    trace = OptStrong(confidence=1000.0, search=search)(classifier, images, classifier.predict(images)).trace
    assert (trace.best.tolist(), trace.begun.tolist()) == ([-1] * 3, [0] * 3)


def test_what_queries_have_found_after_gradients_is_told():
    """The best by gradients; at the first query; without gradients; without queries."""
    recorder = TraceRecorder(4)
    recorder.where(np.array([0, 1, 3])).add(np.array([[-2, -1], [-2, -2], [-2, -1]]), np.full(3, 2))
    queried = np.array([[-3, -3], [-1, -3], [-1, -3]])
    recorder.where(np.array([0, 1, 2])).add(queried, np.full(3, 2), queries=True)
    trace = recorder.trace
    assert trace.ended_by_queries.tolist() == [False, True, False, False]
    wide = trace.wider(6).margins
    assert wide.shape == (4, 6)
    assert np.isnan(wide[:, 4:]).all()
    np.testing.assert_array_equal(wide[:, :4], trace.margins)
    assert trace.wider(1).margins.shape == (4, 4)


def test_images_with_nothing_to_attack_have_empty_rows(half_space, grey_images):
    classifier, _ = half_space()
    images = grey_images(4)
    labels = classifier.predict(images)
    labels[1] = 1 - labels[1]
    trace = OptStrong(search=DecoupledSearch(gradients=10), confidence=1.0)(classifier, images, labels).trace
    assert trace.steps.tolist() == [10, 0, 10, 10]
    assert trace.best[1] == -1
    assert np.isnan(trace.margins[1]).all()


def recorded(*runs, images=1):
    recorder = TraceRecorder(images)
    for run in runs:
        recorder.add(np.array(run, np.float32), np.array([len(row) for row in run]))
    return recorder.trace


def test_long_traces_are_thinned_to_the_highest_margins():
    values = np.arange(3 * MOST, dtype=np.float32)
    trace = recorded([values])
    assert (trace.stride[0], trace.steps[0], trace.best[0]) == (4, 3 * MOST, 3 * MOST - 1)
    np.testing.assert_array_equal(trace.margins[0], values[3::4])


def test_a_part_records_for_the_whole():
    recorder = TraceRecorder(3)
    recorder.add(np.full((3, 2), -1.0), np.full(3, 2))
    recorder.where(np.array([2, 0])).add(np.array([[-0.5, np.nan], [0.5, 2.0]]), np.array([1, 2]))
    trace = recorder.trace
    assert trace.steps.tolist() == [4, 2, 3]
    assert trace.best.tolist() == [3, 0, 2]
    np.testing.assert_array_equal(trace.margins, [[-1, -1, 0.5, 2], [-1, -1, np.nan, np.nan], [-1, -1, -0.5, np.nan]])
    assert TraceRecorder(2).trace is None


@pytest.mark.parametrize(
    ("values", "rising"),
    [
        (np.linspace(-1, 0, 40), True),
        (-np.exp(-np.arange(40)), False),
        (np.concatenate([np.linspace(-1, 0, 30), np.full(10, 0.0)]), False),
        (np.concatenate([np.linspace(-1, 0, 20), np.full(19, -0.5), [0.06]]), True),
        (np.concatenate([np.linspace(-1, 0, 20), np.full(19, -0.5), [0.05]]), False),
        (np.linspace(-1, 0, 19), False),
        (np.full(40, -1.0), False),
        (np.full(40, np.nan), False),
        (np.linspace(-1, 0, 4 * MOST), False),
        (np.concatenate([np.full(4 * MOST - 10, -1.0), np.linspace(-1, 0, 10)]), True),
    ],
)
def test_a_search_that_still_rises_has_not_ended(values, rising):
    assert recorded([values]).rising[0] == rising


def test_whether_a_search_has_ended_is_seen_in_its_last_run():
    short = np.linspace(-1, -0.5, 25)
    assert recorded([np.linspace(-1, 0, 25)], [short]).rising[0]
    assert not recorded([short], [np.full(25, -1.0)]).rising[0]


def test_a_run_in_parts_is_one_run():
    recorder = TraceRecorder(1)
    for part in np.linspace(-1, 0, 30).reshape(3, 1, 10):
        recorder.add(part, np.array([10]), goes_on=part[0, 0] > -1)
    assert (recorder.trace.begun[0], recorder.trace.steps[0]) == (0, 30)
    assert recorder.trace.rising[0]


def test_examples_beyond_epsilon_are_none_to_the_quick_attack(one):
    classifier, label = one
    attack = QuickAttack(epsilon=1e-5, gradients=30)
    result = attack(classifier, IMAGE, [label])
    trace = result.trace
    assert (result.success[0], trace.reached[0], trace.best[0] >= 0) == (False, False, True)
    assert 25 <= trace.steps[0] <= 30
    assert np.nanmax(trace.margins) == 0
    assert np.nanmax(FAB(iterations=10).to_reach(1e-5)(classifier, IMAGE, [label]).trace.margins) == 0


def test_a_trace_survives_the_disk(half_space, grey_images, tmp_path):
    classifier, _ = half_space()
    images = grey_images(3)
    for attack in (OptBrittle(search=DecoupledSearch(gradients=10)), FGSM(epsilon=0.1)):
        result = attack(classifier, images, classifier.predict(images))
        result.write(tmp_path / "a.npz")
        again = AttackResult.read(tmp_path / "a.npz").trace
        if result.trace is None:
            assert again is None
            continue
        for name, values in result.trace.arrays.items():
            np.testing.assert_array_equal(again.arrays[name], values)
    assert Trace.of_arrays({}) is None
