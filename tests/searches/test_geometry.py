"""Points at a distance within the bounds."""

import numpy as np

from advkeras.searches.geometry import along, length

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
