"""Early votes against full ones, on made-up logits."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

from advkeras.errors import InvalidInputError
from advkeras.regions import Ball, Gaussian, Hypercube, Radial, shapes
from advkeras.regions.shapes import get, orthogonal_directions
from advkeras.regions.voting import COMBINATIONS, RegionVote

SHAPE = (3, 4, 2)
CLASSES = 4
SEED = tf.constant([3, 4], tf.int32)


def made_up(images, *, wildness=3.0):
    """Logits that change quickly from point to point, so that votes are split in every way."""
    mixing = np.random.default_rng(0).standard_normal((24, CLASSES)) * wildness
    return 2.0 * tf.sin(tf.reshape(images, (-1, 24)) @ tf.constant(mixing, tf.float32))


def cast(vote, images, seed=SEED, function=made_up):
    answer = vote(function, tf.constant(images), num_classes=CLASSES, bounds=(0.0, 1.0), seed=seed)
    return {key: value.numpy() for key, value in answer.items()}


def random_images(seed, count):
    return np.random.default_rng(seed).uniform(0, 1, (count, *SHAPE)).astype(np.float32)


def known_share(share):
    """Class 1 for a share of the offsets of a hypercube around mid-grey, else class 0."""

    def function(points):
        first = tf.reshape(points, (-1, 24))[:, 0]
        return tf.one_hot(tf.where(first < tf.cast(share, tf.float32), 1, 0), CLASSES)

    return function


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(1, 5),
    samples=st.integers(1, 60),
    chunk_size=st.integers(3, 80),
    radius=st.floats(0.01, 0.5),
    combine=st.sampled_from(["majority", "mean_softmax"]),
)
def test_the_exact_vote_decides_as_the_full_vote(seed, count, samples, chunk_size, radius, combine):
    parameters = {"region": Hypercube(radius), "samples": samples, "chunk_size": chunk_size, "combine": combine}
    images = random_images(seed, count)
    full = cast(RegionVote(**parameters), images)
    early = cast(RegionVote(stop="exact", **parameters), images)
    np.testing.assert_array_equal(early["class"], full["class"])
    np.testing.assert_array_equal(full["samples"], samples)
    assert (early["samples"] <= samples).all()
    assert (early["votes"] <= full["votes"]).all(), "the early vote draws the full vote's points, as far as it goes"
    np.testing.assert_array_equal(early["votes"].sum(axis=1), early["samples"])


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(2, 7), chunk_size=st.integers(16, 80))
def test_an_images_points_do_not_depend_on_the_chunk(seed, count, chunk_size):
    images = random_images(seed, count)
    one = cast(RegionVote(region=Hypercube(0.3), samples=23, chunk_size=chunk_size), images)
    other = cast(RegionVote(region=Hypercube(0.3), samples=23), images)
    np.testing.assert_array_equal(one["votes"], other["votes"])


@pytest.mark.parametrize("stop", [None, "exact", "confident"])
@pytest.mark.parametrize("chunk_size", [2, 5, 23, 30, 200])
def test_no_more_points_are_looked_at_at_once_than_a_chunk_holds(chunk_size, stop):
    sizes = []

    def watched(points):
        sizes.append(len(points))
        return made_up(points)

    vote = RegionVote(region=Hypercube(0.3), samples=23, chunk_size=chunk_size, **({"stop": stop} if stop else {}))
    cast(vote, random_images(0, 7), function=watched)
    assert 0 < max(sizes) <= chunk_size


def test_a_unanimous_vote_stops_early():
    images = np.full((5, *SHAPE), 0.5, np.float32)
    exact = cast(RegionVote(region=Hypercube(0.0), stop="exact"), images)
    confident = cast(RegionVote(region=Hypercube(0.0), stop="confident"), images)
    assert exact["samples"].max() <= 52
    np.testing.assert_array_equal(confident["samples"], 10)
    np.testing.assert_array_equal(confident["agreement"], 1.0)


@pytest.mark.parametrize("error", [0.2, 0.05, 0.01])
def test_the_confident_vote_is_wrong_no_more_often_than_it_says(error):
    """Class 1 holds just less than half of the region, which is where a wrong answer is likeliest."""
    count, total = 500, 4000
    vote = RegionVote(region=Hypercube(0.5), samples=60, stop="confident", error=error, chunk_size=4096)
    compiled = tf.function(
        lambda images, seed: vote(known_share(0.4999), images, num_classes=CLASSES, bounds=(0.0, 1.0), seed=seed),
        autograph=False,
    )
    images = np.full((count, *SHAPE), 0.5, np.float32)
    wrong = 0
    for index in range(total // count):
        answer = compiled(images, tf.constant([7, 1000 * index], tf.int32))
        stopped = answer["samples"].numpy() < 60
        wrong += int((stopped & (answer["class"].numpy() == 1)).sum())
    assert wrong / total <= error + 3 * np.sqrt(error * (1 - error) / total)
    assert wrong > 0, "the test must have had something to count"


@settings(max_examples=40, deadline=None)
@given(error=st.floats(1e-6, 0.3), samples=st.integers(1, 120), share=st.floats(0.0, 0.5))
def test_the_thresholds_spend_no_more_than_the_error(error, samples, share):
    """Crossing probabilities of a class with a share of at most 1/2, by an independent recursion over paths."""
    vote = RegionVote(region=Hypercube(0.1), samples=samples, stop="confident", error=error)
    needed = vote.votes_needed
    alive, crossed = {0: 1.0}, 0.0
    for n in range(1, samples + 1):
        moved: dict[int, float] = {}
        for votes, mass in alive.items():
            moved[votes] = moved.get(votes, 0.0) + mass * (1 - share)
            moved[votes + 1] = moved.get(votes + 1, 0.0) + mass * share
        crossed += sum(mass for votes, mass in moved.items() if votes >= needed[n])
        alive = {votes: mass for votes, mass in moved.items() if votes < needed[n]}
    assert crossed <= error * (1 + 1e-9)


@pytest.mark.parametrize("combine", COMBINATIONS)
def test_combinations_against_plain_sums(combine):
    """Around a single image, with the points recovered from the region itself."""
    image = random_images(5, 1)
    vote = RegionVote(region=Hypercube(0.4), samples=13, combine=combine)
    points = []

    def recording(batch):
        points.append(batch.numpy())
        return made_up(batch)

    answer = cast(vote, image, function=recording)
    logits = made_up(tf.constant(np.concatenate(points))).numpy()
    assert len(logits) == 13
    expected = {
        "majority": np.eye(CLASSES)[logits.argmax(axis=1)].sum(axis=0),
        "mean_softmax": tf.nn.softmax(logits).numpy().mean(axis=0),
        "mean_logits": logits.mean(axis=0),
    }[combine]
    assert answer["class"][0] == expected.argmax()
    np.testing.assert_array_equal(answer["votes"][0], np.eye(CLASSES)[logits.argmax(axis=1)].sum(axis=0))


def test_regions_have_the_moments_they_should():
    shape, features = (20_000, *SHAPE), 24
    for region, rms in (
        (Hypercube(0.3), 0.3 / np.sqrt(3)),
        (Gaussian(0.3), 0.3),
        (Ball(0.3), 0.3 / np.sqrt(features + 2)),
    ):
        for seed in (None, SEED):
            offsets = region.offsets(shape, seed).numpy().reshape(shape[0], -1)
            assert np.sqrt((offsets**2).mean()) == pytest.approx(rms, rel=0.02)
            assert np.abs(offsets.mean(axis=0)).max() < 5 * rms / np.sqrt(shape[0])
    lengths = np.linalg.norm(Ball(0.3).offsets(shape, SEED).numpy().reshape(shape[0], -1), axis=1)
    assert lengths.max() <= 0.3 + 1e-6
    # Of a ball's points a share of 2^-24 lies in the inner half of the radius, and half beyond 0.5^(1/24) of it.
    assert (lengths > 0.3 * 0.5 ** (1 / features)).mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"combine": "median"}, "combine='median'"),
        ({"stop": "soon"}, "stop='soon'"),
        ({"error": 0.0}, "error=0.0"),
        ({"combine": "mean_logits", "stop": "exact"}, "logits have no bound"),
        ({"combine": "mean_softmax", "stop": "confident"}, "only a majority"),
    ],
)
def test_senseless_parameters_are_refused(parameters, message):
    with pytest.raises(InvalidInputError, match=message):
        RegionVote(region=Hypercube(0.1), **parameters)


@pytest.mark.parametrize("seed", [None, (3, 4)])
def test_radial_points_lie_in_all_directions_at_all_lengths_alike(seed):
    tf.random.set_seed(0)
    offsets = Radial(0.5).offsets((4000, *SHAPE), None if seed is None else tf.constant(seed, tf.int32)).numpy()
    flat = offsets.reshape(len(offsets), -1)
    lengths = np.sqrt((flat**2).mean(axis=1))
    assert kstest(lengths, "uniform", args=(0, 0.5)).pvalue > 1e-4
    cosines = flat[:, 0] / np.linalg.norm(flat, axis=1)
    half = (flat.shape[1] - 1) / 2
    assert kstest((cosines + 1) / 2, "beta", args=(half, half)).pvalue > 1e-4


@pytest.mark.parametrize("region", [Ball(1.0), Radial(1.0)], ids=lambda region: region.name)
def test_directions_and_lengths_have_nothing_to_do_with_each_other(region):
    """Drawn from one seed, the first length would follow from the first direction."""
    seeds = tf.stack([tf.range(1_000), 7 * tf.range(1_000)], axis=1)
    drawn = tf.function(lambda seeds: region.offsets_by_image((1, 1, 3), seeds), autograph=False)
    points = drawn(seeds).numpy().reshape(-1, 3)
    lengths = np.linalg.norm(points, axis=1)
    directions = points / lengths[:, None]
    for values in (*directions.T, *np.abs(directions).T):
        assert abs(np.corrcoef(lengths, values)[0, 1]) < 0.13


@pytest.mark.parametrize(
    "seed", [tf.constant([1, 2]), tf.constant([[1, place] for place in range(24)])], ids=["one", "each"]
)
def test_no_two_points_of_a_vote_are_the_same(seed):
    """Whichever images and rounds they are of."""
    asked = []

    def logits(points):
        asked.append(points.numpy().reshape(len(points), -1))
        return tf.zeros((len(points), 2)) + tf.constant([1.0, 0.0])

    vote = RegionVote(region=Hypercube(0.1), samples=20, chunk_size=8)
    # More images than a round has points.
    vote(logits, tf.fill((24, 3, 4, 1), 0.5), num_classes=2, bounds=(0.0, 1.0), seed=seed)
    points = np.concatenate(asked)
    assert len(points) == len(np.unique(points, axis=0)) == 24 * 20


@pytest.mark.parametrize("error", [0.2, 0.05, 1e-3])
def test_each_threshold_is_the_least_that_its_share_of_the_error_allows(error):
    """By a recursion over paths: 98% of the error at the first look, half of what is left at each later one."""
    vote = RegionVote(region=Hypercube(0.1), samples=60, stop="confident", error=error)
    first, later = vote.rounds()
    alive, left, share = {0: 1.0}, error, 0.98
    for n in range(1, 60):
        moved: dict[int, float] = {}
        for votes, mass in alive.items():
            for more in (0, 1):
                moved[votes + more] = moved.get(votes + more, 0.0) + mass / 2
        alive, expected = moved, np.inf
        for least in range(-(-n // 2) + 1, n + 1) if n in range(first, 60, later) else ():
            beyond = sum(mass for votes, mass in alive.items() if votes >= least)
            if 0 < beyond <= share * left:
                expected, left, share = least, left - beyond, 0.5
                alive = {votes: mass for votes, mass in alive.items() if votes < least}
                break
        assert vote.votes_needed[n] == expected


def test_how_many_points_are_drawn_between_looks():
    """With a seed, the points depend on it."""
    for samples, size in ((1, 1), (6, 1), (8, 2), (23, 3), (100, 13), (1000, 16)):
        assert RegionVote(region=Hypercube(0.1), samples=samples, stop="exact").rounds() == (size, size)
    for error, sizes in ((0.2, (3, 1)), (0.05, (5, 2)), (1e-3, (10, 5))):
        assert RegionVote(region=Hypercube(0.1), stop="confident", error=error).rounds() == sizes
    assert RegionVote(region=Hypercube(0.1)).samples == 100


@pytest.mark.parametrize("combine", ["majority", "mean_softmax"])
@pytest.mark.parametrize("samples", [30, 31])
def test_an_exact_vote_of_one_mind_stops_at_the_first_look_behind_its_half(samples, combine):
    def sure(points):
        return 100.0 * tf.one_hot(tf.ones(len(points), tf.int32), CLASSES)

    vote = RegionVote(region=Hypercube(0.1), samples=samples, stop="exact", combine=combine)
    np.testing.assert_array_equal(cast(vote, random_images(0, 3), function=sure)["samples"], 16)


def test_an_exact_vote_goes_on_as_long_as_a_tie_is_possible():
    """The first two points are of class 1, the last two of class 0, the lowest of two equal classes."""
    seen = []

    def in_turn(points):
        places = np.arange(len(seen), len(seen) + len(points))
        seen.extend(places)
        return tf.one_hot(np.where(places < 2, 1, 0), CLASSES)

    answer = cast(RegionVote(region=Hypercube(0.1), samples=4, stop="exact"), random_images(0, 1), function=in_turn)
    assert (answer["class"][0], answer["samples"][0]) == (0, 4)


@pytest.mark.parametrize("combine", COMBINATIONS)
def test_points_without_an_answer_vote_for_no_class(combine):
    images = np.full((3, *SHAPE), 0.5, np.float32)
    images[:, 0, 0, 0] = [0.1, 0.5, 0.9]

    def half(points):
        return tf.where(points[:, 0, 0, :1] < 0.5, np.nan, tf.constant([[0.0, 0.0, 5.0, 0.0]]))

    answer = cast(RegionVote(region=Hypercube(0.05), samples=40, combine=combine), images, function=half)
    np.testing.assert_array_equal(answer["class"], [-1, 2, 2])
    np.testing.assert_array_equal(answer["votes"].sum(axis=1)[[0, 2]], [0, 40])
    assert 0 < answer["agreement"][1] < 1


def test_the_trace_is_the_largest_number_added_to_the_first_pixel():
    points, image = [], np.full((1, *SHAPE), 0.5, np.float32)

    def recording(batch):
        points.append(batch.numpy())
        return made_up(batch)

    answer = cast(RegionVote(region=Hypercube(0.3), samples=20), image, function=recording)
    assert answer["noise"][0] == pytest.approx(np.concatenate(points)[:, 0, 0, 0].max() - 0.5, abs=1e-6)


@pytest.mark.parametrize("count", [3, 15, 24])
@pytest.mark.parametrize("at_once", [2**22, 24 * 7])
def test_up_to_as_many_directions_as_features_are_orthogonal_made_at_once_or_in_blocks(count, at_once, monkeypatch):
    monkeypatch.setattr(shapes, "_NUMBERS_AT_ONCE", at_once)
    directions = orthogonal_directions(count, SHAPE, rms=0.3, seed=(1, at_once))
    flat = directions.reshape(count, 24)
    np.testing.assert_allclose(flat @ flat.T, 24 * 0.09 * np.eye(count), atol=1e-4)
    with pytest.raises(ValueError, match="read-only"):
        directions[0] = 0.0  # they are kept for the next call


def test_more_directions_than_features_and_unknown_regions_are_refused():
    with pytest.raises(InvalidInputError, match="24 features has no 25 orthogonal directions"):
        orthogonal_directions(25, SHAPE, rms=1.0, seed=(1, 2))
    for name in ("cube", None, ["ball"]):
        with pytest.raises(InvalidInputError, match="unknown region"):
            get(name, 0.1)
