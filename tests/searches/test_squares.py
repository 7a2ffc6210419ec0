"""What Square Attack draws at random, and the windows that it moves in an L2 ball."""

import numpy as np
import pytest

from advkeras.attacks import Square
from advkeras.attacks.square import _Draws
from advkeras.searches.problem import Problem
from advkeras.searches.squares import EuclideanSquares, bump, moved


def grey(count, shape):
    """Images without a pattern, as a problem."""
    images = np.full((count, *shape), 0.5, np.float32)
    return Problem(images, np.zeros(count, np.int32), False, np.arange(count, dtype=np.int32))


def assert_evenly_drawn(values, shares):
    """That an array has the values of a dictionary, each about as often as it says, in all columns."""
    assert set(np.unique(values)) == set(shares)
    for value, share in shares.items():
        assert abs((values == value).mean(axis=0) - share).max() < 0.2


def assert_anywhere(corners):
    """That shares of the room for a window (..., 2) are evenly distributed, on each axis for itself."""
    flat = corners.reshape(-1, 2)
    np.testing.assert_allclose(
        np.quantile(flat, [0.0, 0.25, 0.5, 0.75, 1.0], axis=0).T, [[0, 0.25, 0.5, 0.75, 1]] * 2, atol=0.1
    )
    assert abs(np.corrcoef(flat.T)[0, 1]) < 0.2


def test_windows_lie_anywhere_either_way_round_and_have_a_sign_for_each_channel():
    problem = grey(5, (12, 12, 2))
    squares = EuclideanSquares(problem, seed=0, name="square")
    for row in range(len(problem)):
        squares._draw(row)
    assert_anywhere(squares._corners)
    assert_evenly_drawn(squares._turned.reshape(-1), {False: 0.5, True: 0.5})
    assert_evenly_drawn(squares._signs.reshape(-1, 2), {-1.0: 0.5, 1.0: 0.5})
    assert abs(np.corrcoef(squares._signs.reshape(-1, 2).T)[0, 1]) < 0.2


def test_the_first_tiles_lie_either_way_round_and_have_a_sign_for_each_channel():
    problem, count = grey(60, (10, 10, 2)), 60
    squares = EuclideanSquares(problem, seed=0, name="square")
    first = squares.next(np.arange(count), np.zeros(count, int), problem.images, problem.images, np.full(count, 9), 1.0)
    upper, right, lower = (first[:, row, column] - 0.5 for row, column in ((0, 0), (0, 1), (1, 0)))
    # Two by two pixels: a hill over a valley, or beside it.
    turned = np.sign(upper[:, 0]) != np.sign(right[:, 0])
    np.testing.assert_array_equal(turned, np.sign(upper[:, 0]) == np.sign(lower[:, 0]))
    assert_evenly_drawn(turned, {False: 0.5, True: 0.5})
    assert_evenly_drawn(np.sign(upper), {-1.0: 0.5, 1.0: 0.5})


def test_stripes_and_squares_have_a_sign_for_each_channel():
    problem = grey(5, (12, 12, 2))
    draws = _Draws(Square(epsilon=0.1), problem)
    stripes, _ = draws.next(np.arange(5), np.zeros(5, int))
    assert_evenly_drawn(stripes.reshape(-1, 2), {-1.0: 0.5, 1.0: 0.5})
    assert len({row.tobytes() for row in stripes}) == len(problem)
    signs, corners = zip(*(draws.next(np.arange(5), np.full(5, asked)) for asked in range(1, 100)), strict=True)
    assert_evenly_drawn(np.stack(signs)[:, :, 0].reshape(-1, 2), {-1.0: 0.5, 1.0: 0.5})
    assert_anywhere(np.stack(corners))


@pytest.mark.parametrize("side", [1, 2, 3, 4, 5, 8, 11])
def test_a_bump_has_length_one_and_as_much_above_as_below(side):
    assert np.linalg.norm(bump(side)) == pytest.approx(1)
    if side % 2 == 0:
        assert bump(side).sum() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("side", "above"), [(3, 1), (5, 2), (6, 3), (9, 4)])
def test_a_bump_is_the_papers(side, above):
    """Equation 2 of Andriushchenko et al. (2020): squares that grow over the whole width, of the weight 1/(k + 1)^2."""
    halves = []
    for height, sign in ((above, 1.0), (side - above, -1.0)):
        half = np.zeros((height, side))
        for row in range(height):
            for column in range(side):
                apart = max(abs(row - height // 2), abs(column - side // 2))
                half[row, column] = sign * sum(1 / (k + 1) ** 2 for k in range(apart, side // 2 + 1))
        halves.append(half / np.linalg.norm(half))
    np.testing.assert_allclose(bump(side), np.concatenate(halves) / np.sqrt(2), atol=1e-6)
    assert (bump(side) != 0).all()


def test_windows_have_a_middle_and_the_first_tiles_lie_around_the_images():
    images = np.full((1, 28, 28, 1), 0.5, np.float32)
    squares = EuclideanSquares(Problem(images, np.zeros(1, np.int32), False, np.arange(1)), seed=0, name="square")
    row, best = np.zeros(1, np.intp), images.copy()
    first = squares.next(row, np.array([0]), images, best, np.array([25]), 1.0)
    assert np.argwhere(first[0, ..., 0] != 0.5).min(axis=0).tolist() == [1, 1]
    assert np.argwhere(first[0, ..., 0] != 0.5).max(axis=0).tolist() == [25, 25]
    for side, expected in ((2, 3), (4, 5), (6, 7), (9, 9), (40, 28)):
        found = squares.next(row, np.array([1]), images, best, np.array([side]), 1.0)
        assert np.count_nonzero((found[0, ..., 0] != 0.5).any(axis=1)) == expected


def test_a_window_gets_what_another_gives_up_and_what_is_left_of_epsilon():
    """Algorithm 3 of Andriushchenko et al. (2020), on one channel, written out."""
    offsets = np.random.default_rng(0).normal(0, 0.05, (1, 8, 8, 1)).astype(np.float32)
    corners = np.array([[[0.0, 0.0], [0.99, 0.99]]])  # at the upper left, and at the lower right
    found = moved(offsets, 3, corners, np.array([False]), np.ones((1, 1), np.float32), epsilon=2.0)[0, ..., 0]
    before = offsets[0, ..., 0]
    assert (found[5:, 5:] == 0).all()
    outside = np.ones((8, 8), bool)
    outside[:3, :3] = outside[5:, 5:] = False
    np.testing.assert_array_equal(found[outside], before[outside])
    assert np.linalg.norm(found) == pytest.approx(2.0, rel=1e-5)
    direction = bump(3) + before[:3, :3] / np.linalg.norm(before[:3, :3])
    np.testing.assert_allclose(
        found[:3, :3] / np.linalg.norm(found[:3, :3]), direction / np.linalg.norm(direction), atol=1e-5
    )


def test_images_at_different_queries_move_windows_of_their_own_sizes():
    shape = (9, 9, 1)
    images = np.random.default_rng(0).uniform(0.3, 0.7, (3, *shape)).astype(np.float32)
    best = images + np.random.default_rng(1).uniform(-0.1, 0.1, images.shape).astype(np.float32)
    rows, asked, sides = np.arange(3), np.array([1, 40, 0]), np.array([7, 3, 9])

    def next_of(chosen):
        problem = Problem(images, np.zeros(3, np.int32), False, np.arange(3, dtype=np.int32))
        squares = EuclideanSquares(problem, seed=0, name="square")
        for row in rows:
            squares._draw(row)
        squares._draw = lambda row: None
        return squares.next(rows[chosen], asked[chosen], images[chosen], best[chosen], sides[chosen], 0.5)

    together = next_of(rows)
    for row in rows:
        np.testing.assert_array_equal(next_of(rows[row : row + 1])[0], together[row])
