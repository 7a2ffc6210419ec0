"""Points at a distance within the bounds."""

import numpy as np
import pytest
import tensorflow as tf

from advkeras.searches.geometry import along, length, pictures_within, where_entries, where_images

from ..conftest import FEATURES, SHAPE


def test_pixels_that_meet_a_bound_stay_there_and_the_others_go_on():
    images = np.full((2, FEATURES), 0.5, np.float32)
    images[:, ::2] = 0.95
    direction = np.ones((2, *SHAPE), np.float32)
    norm = np.array([0.3, 1.0], np.float32)
    points = along(images.reshape(2, *SHAPE), direction, norm, (0.0, 1.0)).numpy()
    moved = points.reshape(2, FEATURES) - images
    np.testing.assert_allclose(length(points - images.reshape(2, *SHAPE)), norm, rtol=0.01)
    np.testing.assert_allclose(moved[:, ::2], 0.05, atol=1e-6)
    np.testing.assert_allclose(moved[:, 1::2], moved[:, 1:2].repeat(FEATURES // 2, axis=1), atol=1e-6)


def test_pictures_lie_beside_points_also_where_the_distance_cannot_be_reached():
    generator = np.random.default_rng(0)
    images = (generator.integers(0, 256, (20, *SHAPE)) / 255).astype(np.float32)
    direction = generator.standard_normal((20, *SHAPE)).astype(np.float32)
    full = np.sqrt(FEATURES)
    norm = np.geomspace(0.05 * full, full, 20).astype(np.float32)
    points, pictures = (along(images, direction, norm, (0.0, 1.0), levels).numpy() for levels in (None, 256))
    assert (length(points - images).numpy()[-5:] < 0.9 * norm[-5:]).all()
    np.testing.assert_allclose(pictures * 255, np.rint(pictures * 255), atol=1e-3)
    np.testing.assert_allclose(pictures, points, atol=1.5 / 255)


def test_pictures_of_a_short_distance_are_one_step_away_in_the_largest_entries():
    """A distance of a fortieth of a step in each pixel: now and then rounding leaves the image itself."""
    generator = np.random.default_rng(0)
    images = np.full((20, *SHAPE), 128 / 255, np.float32)
    direction = generator.standard_normal((20, *SHAPE)).astype(np.float32)
    norm = np.full(20, np.sqrt(FEATURES) / 40 / 255, np.float32)
    steps = np.rint(255 * (along(images, direction, norm, (0.0, 1.0), 256).numpy() - images))
    moved = (steps != 0).any(axis=(1, 2, 3))
    assert moved.mean() > 0.5
    assert np.abs(steps).max() == 1
    largest = np.abs(direction).max(axis=(1, 2, 3), keepdims=True) == np.abs(direction)
    np.testing.assert_array_equal(steps[largest][moved], np.sign(direction[largest][moved]))


def farthest(image, direction, norm, levels):
    """The same in whole steps, by trying where each pixel moves on, one after the other."""
    whole, last = np.rint(image.reshape(-1) * (levels - 1)), levels - 1
    forward = direction.reshape(-1) / np.abs(direction).max()
    turns = np.sort(((np.arange(last)[:, None] + 0.5) / np.maximum(np.abs(forward), 1e-9)).reshape(-1))
    best = whole
    for turn in turns:
        moved = np.clip(whole + np.rint(forward * turn * (1 + 1e-9)), 0, last)
        if np.linalg.norm(moved - whole) > norm * last * (1 + 1e-6):
            break
        best = moved
    return best.reshape(image.shape)


@pytest.mark.parametrize("norm", [0.02, 0.07, 0.15, 0.3, 1.0, 3.0])
@pytest.mark.parametrize("middle", [False, True])
def test_pictures_are_the_farthest_ones_along_a_direction_within_a_distance(norm, middle):
    generator = np.random.default_rng(0)
    levels = 17
    images = (generator.integers(0, levels, (20, *SHAPE)) / (levels - 1)).astype(np.float32)
    images = np.full_like(images, 0.5) if middle else images
    direction = generator.standard_cauchy((20, *SHAPE)).clip(-9, 9).astype(np.float32)
    found = pictures_within(images, direction, np.full(20, norm, np.float32), (0.0, 1.0), levels).numpy()
    steps = np.rint((levels - 1) * (found - images))
    np.testing.assert_allclose(found - images, steps / (levels - 1), atol=1e-6)
    assert (length(found - images).numpy() <= norm * (1 + 1e-5)).all()
    expected = np.array([farthest(*each, norm, levels) for each in zip(images, direction, strict=True)])
    most = expected - np.rint(images * (levels - 1))
    gained, possible = ((each * direction).sum(axis=(1, 2, 3)) for each in (steps, most))
    # What moves on at nearly the same place may do so in another order.
    assert (gained >= 0.95 * possible).all()
    assert gained.sum() >= 0.99 * possible.sum()
    if norm >= 1 / (levels - 1):
        assert (gained > 0).all()


def test_pictures_on_another_range_move_alike():
    generator = np.random.default_rng(0)
    whole, direction = generator.integers(0, 256, (5, *SHAPE)), generator.standard_normal((5, *SHAPE))
    found = [
        pictures_within(
            (low + whole / 255 * (high - low)).astype(np.float32),
            direction.astype(np.float32),
            np.full(5, 0.02 * (high - low), np.float32),
            (low, high),
            256,
        ).numpy()
        for low, high in ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))
    ]
    np.testing.assert_allclose(found[1], 2 * found[0] - 1, atol=1e-5)
    np.testing.assert_allclose(found[2], 255 * found[0], atol=1e-3)


@pytest.mark.parametrize("compiled", [False, True])
def test_whole_images_and_single_entries_are_chosen_whatever_the_others_hold(compiled):
    """Infinity and NaN are taken where they are asked for, and leave no trace where they are not."""
    images = np.random.default_rng(0).normal(size=(4, *SHAPE)).astype(np.float32)
    others = images + 1.0
    images[2, 0, 0, 0], others[0, 0, 0, 0], others[1, 0, 0, 0] = np.inf, np.nan, np.inf
    mask = np.array([True, False, True, False])
    chosen = tf.function(where_images, jit_compile=compiled)(mask, images, others).numpy()
    np.testing.assert_array_equal(chosen, np.where(mask[:, None, None, None], images, others))
    entries = np.random.default_rng(1).uniform(size=others.shape) < 0.5
    entries[:2, 0, 0, 0] = False
    kept = tf.function(where_entries, jit_compile=compiled)(entries, others).numpy()
    np.testing.assert_array_equal(kept, np.where(entries, others, 0.0))
