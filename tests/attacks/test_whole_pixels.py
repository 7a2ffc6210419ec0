"""Examples that exist as pictures: every attack ends on the values that 8 bits have, and fools there."""

from functools import cache

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from advkeras import (
    APGD,
    FAB,
    FGSM,
    PGD,
    HopSkipJump,
    OptBrittle,
    OptLinf,
    OptMargin,
    OptMimic,
    OptRegion,
    OptStrong,
    QuickAttack,
    RegionClassification,
    Square,
)
from advkeras.arrays import l2
from advkeras.errors import InvalidInputError
from advkeras.models import Classifier
from advkeras.models.pixel_grid import beyond, on_grid, reach, settled_arrays, towards
from advkeras.searches.boundary_walks import BoundaryWalks
from advkeras.searches.penalty_search import PenaltySearch

from ..commands import run
from ..grids import grid

SHAPE = (8, 8, 3)
PIXELS = np.random.default_rng(0).integers(0, 256, (10, *SHAPE))


def network():
    """Logits that change within a few steps of a pixel: what rounding afterwards would undo."""
    keras.utils.set_random_seed(0)
    layers = [
        keras.layers.Flatten(),
        keras.layers.Dense(24, activation="tanh"),
        keras.layers.Dense(4, kernel_initializer=keras.initializers.RandomNormal(stddev=1.0)),
    ]
    return keras.Sequential([keras.Input(SHAPE), keras.layers.Rescaling(2.0, offset=-1.0), *layers], name="mine")


@cache
def both(bounds):
    """The network on images of such bounds, any pixels and whole ones; and images and labels."""
    low, high = bounds
    inner = network()
    images = keras.Input(SHAPE)
    model = keras.Model(images, inner(keras.layers.Rescaling(1 / (high - low), offset=-low / (high - low))(images)))
    free, whole = (Classifier.from_keras(model, bounds=bounds, levels=levels) for levels in (None, 256))
    pictures = settled_arrays(np.asarray(low + PIXELS / 255 * (high - low), np.float32), bounds, 256)
    return free, whole, pictures, free.predict(pictures)


def attacks(span):
    search = PenaltySearch(learning_rate=0.02, weight_steps=3)
    return [
        FGSM(epsilon=0.033 * span),
        PGD(epsilon=0.033 * span),
        PGD(epsilon=0.25 * span, norm="l2"),
        OptLinf(),
        OptBrittle(),
        OptBrittle(search=search),
        OptStrong(confidence=0.5),
        OptMargin(member_rms=0.01 * span),
        OptRegion(radius=0.02 * span, gradients=60),
        OptMimic(reach=0.02 * span, gradients=60, samples=60),
        Square(epsilon=0.1 * span),
        HopSkipJump(queries=500),
    ]


@pytest.mark.parametrize(
    ("place",),
    grid(range(12), fast=[(place,) for place in (0, 1, 3, 4, 8, 10, 11)]),
    ids=[f"{attack.name}-{n}" for n, attack in enumerate(attacks(1.0))],
)
def test_every_attack_succeeds_among_pictures(place):
    bounds = ((0.0, 1.0), (0.0, 255.0))[place % 2]
    free, whole, images, labels = both(bounds)
    attack = attacks(bounds[1] - bounds[0])[place]
    theirs, ours = (attack(each, images, labels) for each in (free, whole))
    assert on_grid(ours.adversarials, bounds, 256)
    # A ball in which pictures lie is a little smaller.
    smaller = attack.name == "fgsm"
    assert ours.success.sum() >= theirs.success.sum() - smaller
    assert ours.success.any()
    if hasattr(attack, "epsilon"):
        assert (attack.distance(ours.adversarials - images) <= attack.epsilon * (1 + 1e-4)).all()
    else:
        shared = ours.success & theirs.success
        assert ours.distortion[shared].mean() <= 1.25 * theirs.distortion[shared].mean()
    # As a picture, loaded again.
    fooled = free.predict(images_again(ours.adversarials, bounds))
    if attack.name != "optregion":
        assert (fooled != labels)[ours.success].all()


def images_again(images, bounds):
    """Through the bytes of pictures."""
    low, high = bounds
    saved = np.rint((images - low) / (high - low) * 255).astype(np.uint8)
    return np.asarray(low + saved.astype(np.float32) * ((high - low) / 255), np.float32)


def test_rounding_afterwards_undoes_what_a_search_among_pictures_does_not():
    bounds = (0.0, 1.0)
    free, whole, images, labels = both(bounds)
    theirs, ours = (OptBrittle()(each, images, labels) for each in (free, whole))
    rounded = free.predict(settled_arrays(theirs.adversarials, bounds, 256)) != labels
    assert rounded.sum() < ours.success.sum() == theirs.success.sum()


def test_the_vote_is_turned_by_pictures_and_draws_points_between_them():
    bounds = (0.0, 1.0)
    free, whole, images, labels = both(bounds)
    found = OptRegion(radius=0.02, gradients=60)(whole, images, labels)
    votes = RegionClassification(free, radius=0.02, seed=3).predict(found.adversarials)["class"]
    assert ((votes != labels) & found.success).sum() >= found.success.sum() - 1


def test_an_epsilon_between_two_values_is_the_smaller_one():
    assert reach(0.3, (0.0, 1.0), 256) == pytest.approx(76 / 255)
    assert reach(8 / 255, (0.0, 1.0), 256) == pytest.approx(8 / 255)
    assert reach(8.0, (0.0, 255.0), 256) == 8.0
    assert reach(0.3, (0.0, 1.0), None) == 0.3
    images = np.full((1, 1, 1, 2), 100.0, np.float32)
    points = images + np.array([1.7, -1.2], np.float32)
    np.testing.assert_array_equal(towards(images, points, (0.0, 255.0), 256), images + np.array([1.0, -1.0]))


def test_images_that_are_no_pictures_are_refused():
    _, whole, images, labels = both((0.0, 255.0))
    with pytest.raises(InvalidInputError, match="pixels have 256 values, and so must the images"):
        FGSM(epsilon=8.0)(whole, images + 0.4, labels)
    with pytest.raises(InvalidInputError, match="levels must be at least 2"):
        Classifier.from_keras(network(), bounds=(0, 1), levels=1)


def test_a_network_of_whole_numbers_has_such_examples_by_itself():
    images = keras.Input(SHAPE, dtype="uint8")
    model = keras.Model(images, network()(keras.layers.Rescaling(1 / 255)(images)))
    classifier = Classifier.from_keras(model, bounds=(0, 255))
    assert classifier.levels == 256
    pictures = PIXELS.astype(np.float32)
    labels = classifier.predict(pictures)
    found = OptBrittle()(classifier, pictures, labels)
    assert found.success.all()
    assert (model.predict(found.adversarials.astype(np.uint8), verbose=0).argmax(axis=1) != labels).all()


def test_the_command_line_writes_pictures_that_fool(tmp_path):
    model = network()
    model.save(tmp_path / "mine.keras")
    labels = model.predict(PIXELS / 255, verbose=0).argmax(axis=1)
    np.savez(tmp_path / "data.npz", images=PIXELS.astype(np.uint8), labels=labels)
    what = ("--dataset", tmp_path / "data.npz", "--model", tmp_path / "mine.keras", "--bounds", 0, 1)
    command = (*what, "--classes", "a,b,c,d", "--whole-pixels", "--output", tmp_path / "found.npz")
    run("attack", "fgsm", "--epsilon", 0.5, *command)
    (tmp_path / "found" / "of mine.png").write_bytes(b"kept")
    run("attack", "optbrittle", *command)
    assert (tmp_path / "found" / "of mine.png").read_bytes() == b"kept"
    (tmp_path / "found" / "of mine.png").unlink()
    files = sorted((tmp_path / "found").glob("*.png"))
    assert len(files) == 10
    for file in files:
        place, true, _, predicted = file.stem.split("-")
        pixels = np.asarray(Image.open(file))
        assert model.predict(pixels[np.newaxis] / 255, verbose=0).argmax() == int(predicted) != int(true)
        assert labels[int(place)] == int(true)


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (0.0, 255.0)])
def test_pictures_beyond_points_change_no_pixel_less_and_by_no_step_more(bounds):
    generator = np.random.default_rng(3)
    low, high = bounds
    step = (high - low) / 255
    images = (low + step * generator.integers(0, 256, (20, 4, 4, 1))).astype(np.float32)
    points = np.clip(images + generator.uniform(-3, 3, images.shape) * step, low, high).astype(np.float32)
    pictures = np.asarray(beyond(images, points, bounds, 256))
    asked, given = (np.abs(each - images) / step for each in (points, pictures))
    np.testing.assert_allclose(given, np.rint(given), atol=1e-2)
    assert (given >= asked - 1e-2).all()
    assert (given <= asked + 1).all()
    assert (np.sign(pictures - images) == np.sign(np.rint(given) * (points - images))).all()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_an_example_at_epsilon_itself_ends_the_search(norm):
    """A whole number of steps is not one in float32; whether bounds are [0, 1] or [0, 255] makes no difference."""
    counts = []
    for bounds in ((0.0, 1.0), (0.0, 255.0)):
        span = bounds[1] - bounds[0]
        _, whole, images, labels = both(bounds)
        epsilon = (8 if norm == "linf" else 40) / 255 * span
        result = QuickAttack(epsilon=epsilon, gradients=60, norm=norm)(whole, images, labels)
        assert (result.trace.reached | ~result.success).all()
        counts.append((result.success.tolist(), result.gradient_count))
        near = FAB(targets=1, iterations=30).to_reach(epsilon)(whole, images, labels)
        counts[-1] += (near.gradient_count,)
    assert counts[0] == counts[1]


def test_a_ball_in_l2_is_used_to_its_surface():
    """Points anywhere become pictures within epsilon, and near it; pictures within it stay as they are."""
    _, whole, _, _ = both((0.0, 1.0))
    attack = PGD(epsilon=0.05, norm="l2")
    assert attack.within(whole) == 0.05
    middle = np.full((300, *SHAPE), 128 / 255, np.float32)
    points = middle + np.random.default_rng(0).standard_normal(middle.shape).astype(np.float32)
    settled = attack.settle(whole, middle, points)
    lengths = attack.distance(settled - middle)
    assert (lengths <= 0.05 + 1e-6).all()
    assert lengths.mean() > 0.048
    np.testing.assert_array_equal(attack.settle(whole, middle, settled), settled)
    # No pixel of these is half a step away.
    near = middle + 0.01 * (points - middle) / l2(points - middle)[:, None, None, None]
    lengths = attack.distance(attack.settle(whole, middle, near) - middle)
    assert (lengths <= 0.01 + 1e-6).all()
    assert lengths.mean() > 0.009


@pytest.mark.parametrize("attack", [PGD, APGD, Square])
def test_a_ball_in_l2_that_rounding_would_empty_is_searched(attack):
    """Epsilon is a third of the length that rounding adds: pictures beside points would be the image itself."""
    shape, levels = (16, 16, 3), 256
    features = int(np.prod(shape))
    weights = np.random.default_rng(0).standard_cauchy((features, 2)).clip(-9, 9).astype(np.float32)
    images = np.full((6, *shape), 128 / 255, np.float32)
    epsilon = float(np.sqrt(features / 12) / 255 / 3)
    gap = weights[:, 1] - weights[:, 0]
    # The farthest that pictures within epsilon can raise the second logit over the first one: the largest weights.
    steps = np.sort(np.abs(gap))[::-1][: int((epsilon * 255) ** 2)]
    lead = 0.8 * steps.sum() / 255
    bias = np.array([lead - (images[0].reshape(-1) @ weights) @ [1, -1], 0.0], np.float32)
    classifier = Classifier(
        lambda x: tf.reshape(x, (-1, features)) @ tf.constant(weights) + tf.constant(bias),
        bounds=(0.0, 1.0),
        input_shape=shape,
        levels=levels,
        name="linear",
    )
    more = {"queries": 300} if attack is Square else {}
    result = attack(epsilon=epsilon, norm="l2", **more)(classifier, images, np.zeros(6, np.int32))
    assert result.success.all() or attack is Square
    assert (result.adversarials != images).any()


def walk_that_looks_around(levels):
    """A walk whose point lies 0.01 from its image in each pixel, about to begin its ninth estimate."""
    image = np.full((1, *SHAPE), 0.5, np.float32)
    sources = {"known": [iter(())], "noise": [iter(())], "generators": [np.random.default_rng(0)]}
    walks = BoundaryWalks(image, (0.0, 1.0), **sources, queries=1_000, initial_samples=4, levels=levels)
    walks._point[0], walks._iteration[0] = image.reshape(-1) + 0.01, 8
    walks._look_around(np.array([0]))
    return walks, np.linalg.norm(walks._point[0] - image.reshape(-1))


@pytest.mark.parametrize("levels", [None, 256])
def test_a_walks_estimate_has_a_baseline_and_its_steps_shorten(levels):
    """Among pictures steps stay longer than the radius of a look, or each would be given up before it is tried."""
    walks, distance = walk_that_looks_around(levels)
    assert walks._iteration[0] == 9
    assert walks._samples[0] == 4 * 3
    drawn, points = walks._around(np.array([0]))
    reached = np.arange(len(points)) < 3
    offsets = points - walks._point[0]
    walks._estimate(drawn, points, reached)
    expected = offsets[reached].sum(axis=0) - 3 / 12 * offsets.sum(axis=0)
    np.testing.assert_allclose(walks._direction[0], expected / np.linalg.norm(expected), rtol=1e-6)
    if levels is None:
        assert walks._step[0] == pytest.approx(distance / 3)
    else:
        assert walks._step[0] > walks._radius[0] > distance / 3
