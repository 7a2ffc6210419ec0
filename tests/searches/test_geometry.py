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
