"""Where Square Attack looks in an L2 ball: what one window holds goes to another (Andriushchenko et al., 2020)."""

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from advkeras.arrays import FloatArray, l2
from advkeras.randomness import derive_generator
from advkeras.searches.problem import Problem

# The first query is made of so many tiles in each direction, and no window is narrower than this.
_TILES, _NARROWEST = 5, 3
# Queries of an image whose random numbers are drawn at once.
_DRAWN_AT_ONCE = 100


@cache
def bump(side: int) -> FloatArray:
    """A hill beside a valley as long as it, together of Euclidean length 1: the paper's equation 2; (side, side)."""
    half = side // 2
    parts = [_hill(half, side), -_hill(side - half, side)]
    values = np.concatenate([part / np.linalg.norm(part) for part in parts if part.size])
    return np.asarray(values / np.linalg.norm(values), np.float32)


def _hill(height: int, width: int) -> npt.NDArray[np.float64]:
    """Squares around a centre, each lower than the one inside it, as many as cover the longer of the two sides."""
    steps = max(height, width) // 2
    rows = np.abs(np.arange(1, height + 1) - height // 2 - 1)[:, None]
    columns = np.abs(np.arange(1, width + 1) - width // 2 - 1)[None]
    inside = steps - np.maximum(rows, columns)
    heights = np.cumsum([1 / (steps + 1 - step) ** 2 for step in range(steps + 1)])
    return np.where(inside >= 0, heights[np.clip(inside, 0, steps)], 0.0)


class EuclideanSquares:
    """The points that an L2 search looks at, (B, H, W, C), and the random numbers that they are made of.

    Args:
        problem: the images.
        seed: of the attack.
        name: of the attack.
    """

    def __init__(self, problem: Problem, *, seed: int, name: str) -> None:
        self._generators = [derive_generator(seed, name, "l2", int(place)) for place in problem.places]
        self._channels = problem.images.shape[-1]
        count = len(problem)
        self._corners = np.empty((count, _DRAWN_AT_ONCE, 2, 2))
        self._turned = np.empty((count, _DRAWN_AT_ONCE), bool)
        self._signs = np.empty((count, _DRAWN_AT_ONCE, self._channels), np.float32)

    def next(
        self,
        rows: npt.NDArray[np.intp],
        asked: npt.NDArray[np.int64],
        images: FloatArray,
        best: FloatArray,
        sides: npt.NDArray[np.int64],
        epsilon: float,
    ) -> FloatArray:
        """The points of the next query, not yet clipped to the bounds.

        Args:
            rows: (B,) of the images among all.
            asked: (B,) queries so far.
            images: (B, H, W, C).
            best: (B, H, W, C), the best points so far.
            sides: (B,) of the windows.
            epsilon: radius of the ball.
        """
        for row in rows[asked % _DRAWN_AT_ONCE == 0]:
            self._draw(row)
        place = asked % _DRAWN_AT_ONCE
        offsets = best - images
        first = asked == 0
        for row in np.flatnonzero(first):
            offsets[row] = self._tiles(rows[row], images.shape[1:])
        # A window has a middle.
        widths = np.minimum(np.maximum(sides, _NARROWEST) // 2 * 2 + 1, min(images.shape[1:3]))
        for side in np.unique(widths[~first]):
            chosen = np.flatnonzero(~first & (widths == side))
            drawn = rows[chosen], place[chosen]
            offsets[chosen] = moved(
                offsets[chosen],
                int(side),
                self._corners[drawn],
                self._turned[drawn],
                self._signs[drawn],
                epsilon=epsilon,
            )
        offsets *= (np.float32(epsilon) / np.maximum(l2(offsets), 1e-12))[:, None, None, None]
        offsets += images
        return offsets

    def _draw(self, row: int) -> None:
        generator = self._generators[row]
        self._corners[row] = generator.random((_DRAWN_AT_ONCE, 2, 2))
        self._turned[row] = generator.random(_DRAWN_AT_ONCE) < 0.5
        self._signs[row] = 2.0 * generator.integers(0, 2, (_DRAWN_AT_ONCE, self._channels)) - 1

    def _tiles(self, row: int, shape: tuple[int, ...]) -> FloatArray:
        """Bumps side by side around the middle, each with signs of its own; (H, W, C)."""
        side = max(1, min(shape[:2]) // _TILES)
        generator, offset = self._generators[row], np.zeros(shape, np.float32)
        for top in range(shape[0] % side // 2, shape[0] - side + 1, side):
            for left in range(shape[1] % side // 2, shape[1] - side + 1, side):
                signs = 2.0 * generator.integers(0, 2, shape[2]) - 1
                tile = bump(side) if generator.random() < 0.5 else bump(side).T
                offset[top : top + side, left : left + side] = tile[:, :, None] * signs
        return offset


def moved(
    offsets: FloatArray,
    side: int,
    corners: npt.NDArray[np.float64],
    turned: npt.NDArray[np.bool_],
    signs: FloatArray,
    *,
    epsilon: float,
) -> FloatArray:
    """Offsets whose second window's length, and what is left of epsilon, have gone to the first one: algorithm 3.

    Args:
        offsets: (B, H, W, C) of the best points from their images.
        side: of the windows.
        corners: (B, 2, 2) in [0, 1), how far down and to the right each of the two windows lies.
        turned: (B,) whether the bump is transposed.
        signs: (B, C) of the bump.
        epsilon: radius of the ball.
    """
    count, height, width, channels = offsets.shape
    top, left = (
        np.floor(corners[:, :, axis] * (size - side + 1)).astype(int) for axis, size in enumerate((height, width))
    )
    images, along = np.arange(count)[:, None, None], np.arange(side)

    def window(number: int) -> tuple[npt.NDArray[np.intp], ...]:
        return images, top[:, number, None, None] + along[:, None], left[:, number, None, None] + along

    first, second = window(0), window(1)
    unused = np.maximum(epsilon**2 - l2(offsets) ** 2, 0.0)
    shape = np.where(turned[:, None, None], bump(side).T, bump(side))[..., None] * signs[:, None, None, :]
    result, old = offsets.copy(), offsets[first]
    result[first] = 0.0  # so that what both windows hold counts once
    spent = _squares(old) + _squares(result[second])
    new = shape + old / np.maximum(np.sqrt(_squares(old)), 1e-12)[:, None, None]
    available = np.sqrt(spent + unused[:, None] / channels)
    result[second] = 0.0
    result[first] = new * (available / np.maximum(np.sqrt(_squares(new)), 1e-12))[:, None, None]
    return result


def _squares(windows: npt.NDArray[Any]) -> FloatArray:
    """Squared Euclidean length of each channel, (B, H, W, C) to (B, C)."""
    return np.asarray(np.einsum("bhwc,bhwc->bc", windows, windows))
