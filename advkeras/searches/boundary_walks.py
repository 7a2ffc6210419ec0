"""Walks along the decision boundary of many images side by side, when nothing but the class is known.

Algorithm 2 of Chen, Jordan and Wainwright (IEEE S&P 2020) for the L2 norm, as arrays with a row for each image. What
the images ask is asked together; an image's walk does not depend on the others', since all that it knows of them is
that it waits.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from advkeras.arrays import BoolArray, FloatArray
from advkeras.models.pixel_grid import settled_arrays, step_of

Rows = npt.NDArray[np.intp]

# Points that one image's walk asks about at once, and pixels of all walks' points: 128 MiB of float64.
POINTS_AT_ONCE, _PIXELS_AT_ONCE = 25, 2**24
# By such a share of its distance the result lies farther out than the nearest point that was found.
_SLACK = 1e-4


def walks_at_once(features: int, batch_size: int) -> int:
    """How many images of so many features walk side by side: what a batch holds, or the memory for large images."""
    return max(1, min(batch_size, _PIXELS_AT_ONCE // (POINTS_AT_ONCE * features)))


class _Phase(IntEnum):
    """What an image asks about next."""

    KNOWN = 0  # a point on the way to an image of a fitting class
    NOISE = 1  # a blend with noise
    BOUNDARY = 2  # a binary search between an adversarial point and the image
    DIRECTION = 3  # random points around one at the boundary
    STEP = 4  # a point away from there
    SETTLE = 5  # the result, a hair farther out
    DONE = 6


class BoundaryWalks:
    """The walks of some images.

    Args:
        images: (N, H, W, C) float32.
        bounds: lowest and highest pixel value.
        known: for each image, images (H, W, C) to start at.
        noise: for each image, what to start at if none of those does.
        generators: for each image.
        queries: budget of each image.
        initial_samples: B_0, points of the first estimate of a direction; iteration t has sqrt(t) times as many.

    Attributes:
        asked: (N,) queries so far.
        found_at: (N,) the query, or the last of those asked together, that found the nearest point; -1 before.
    """

    def __init__(
        self,
        images: FloatArray,
        bounds: tuple[float, float],
        *,
        known: Sequence[Iterator[FloatArray]],
        noise: Sequence[Iterator[FloatArray]],
        generators: Sequence[np.random.Generator],
        queries: int,
        initial_samples: int,
        levels: int | None = None,
    ) -> None:
        count, self._shape = len(images), images.shape[1:]
        self._images, self._bounds = images.reshape(count, -1), bounds
        self._levels = levels
        self._known, self._noise, self._generators = known, noise, generators
        self._initial_samples = initial_samples
        self._features = self._images.shape[1]
        # The interval of the binary search shrinks to a share of d^(-3/2), d the number of features.
        self._bisections = max(1, math.ceil(1.5 * math.log2(self._features)))
        self._least_radius = 0.0 if levels is None else math.sqrt(self._features) * step_of(bounds, levels)
        # One query is kept for the end, where there are more.
        self._kept = min(1, queries - 1)
        self._remaining = np.full(count, queries - self._kept)
        self.asked, self.found_at = np.zeros(count, int), np.full(count, -1)
        self._phase = np.full(count, _Phase.KNOWN)
        self._nearest, self._distance = self._images.copy(), np.full(count, np.inf)
        # At the boundary, and where the walk goes from there.
        self._point, self._iteration = self._images.copy(), np.zeros(count, int)
        self._radius, self._step = np.zeros(count), np.zeros(count)
        self._direction = np.zeros_like(self._images)
        # Of the binary search: its adversarial end, where that began, its interval and how many halvings are left.
        self._end, self._origin = self._images.copy(), self._images.copy()
        self._inner, self._outer, self._halvings = np.zeros(count), np.ones(count), np.zeros(count, int)
        self._starting = np.ones(count, bool)
        # Of the estimate of a direction: points to ask about, asked about and adversarial, and sums of their offsets.
        self._samples, self._asked, self._successes = (np.zeros(count, int) for _ in range(3))
        self._offsets, self._reached = (np.zeros((count, self._features)) for _ in range(2))

    @property
    def done(self) -> int:
        """How many walks have ended."""
        return int((self._phase == _Phase.DONE).sum())

    @property
    def found(self) -> FloatArray:
        """The nearest adversarial points so far, (N, H, W, C); the image where there is none."""
        return self._nearest.reshape(-1, *self._shape)

    def go_on(self, adversarial: Callable[[Rows, FloatArray], BoolArray]) -> None:
        """One round: every walk that has not ended asks, and takes its answer.

        Args:
            adversarial: takes the image's row, (n,), and points (n, H, W, C); returns which are adversarial, (n,).
        """
        asking = [(phase, *self._questions(phase)) for phase in _Phase if phase != _Phase.DONE]
        asking = [(phase, rows, points) for phase, rows, points in asking if len(rows)]
        if not asking:
            return
        rows, points = (np.concatenate(each) for each in zip(*(question[1:] for question in asking), strict=True))
        np.subtract.at(self._remaining, rows, 1)
        np.add.at(self.asked, rows, 1)
        reached = adversarial(rows, points.reshape(-1, *self._shape))
        self._note(rows, points, reached)
        for phase, asked, about in asking:
            answer, reached = reached[: len(asked)], reached[len(asked) :]
            self._take(phase, asked, about, answer)

    def _questions(self, phase: _Phase) -> tuple[Rows, FloatArray]:
        """The points, clipped, that walks in a phase ask about, and their rows. Some go on to a later phase instead."""
        rows = np.flatnonzero(self._phase == phase)
        points: npt.NDArray[Any]
        if phase in (_Phase.KNOWN, _Phase.NOISE):
            rows, points = self._starts(phase, rows)
        elif phase == _Phase.BOUNDARY:
            middle = (self._inner[rows] + self._outer[rows]) / 2
            points = self._images[rows] + middle[:, None] * (self._origin[rows] - self._images[rows])
        elif phase == _Phase.DIRECTION:
            rows, points = self._around(rows)
        elif phase == _Phase.STEP:
            points = self._point[rows] + self._step[rows, None] * self._direction[rows]
        else:
            points = self._images[rows] + (1 + _SLACK) * (self._nearest[rows] - self._images[rows])
        clipped = np.clip(points, *self._bounds).astype(np.float32)
        return rows, clipped if self._levels is None else settled_arrays(clipped, self._bounds, self._levels)

    def _take(self, phase: _Phase, rows: Rows, points: FloatArray, reached: BoolArray) -> None:
        """What walks in a phase make of the answers."""
        if phase in (_Phase.KNOWN, _Phase.NOISE):
            self._starting[rows] = phase == _Phase.KNOWN
            self._search_boundary(rows[reached], points[reached])
        elif phase == _Phase.BOUNDARY:
            middle = (self._inner[rows] + self._outer[rows]) / 2
            self._inner[rows[~reached]], self._outer[rows[reached]] = middle[~reached], middle[reached]
            self._end[rows[reached]] = points[reached]
            self._halvings[rows] -= 1
            self._leave_boundary(rows[(self._halvings[rows] == 0) | (self._remaining[rows] == 0)])
        elif phase == _Phase.DIRECTION:
            self._estimate(rows, points, reached)
        elif phase == _Phase.STEP:
            self._search_boundary(rows[reached], points[reached])
            missed = rows[~reached]
            self._step[missed] /= 2
            self._give_up_steps(missed)
        else:
            self._nearest[rows[reached]] = points[reached]
            self.found_at[rows[reached]] = self.asked[rows[reached]] - 1
            self._phase[rows] = _Phase.DONE

    def _note(self, rows: Rows, points: FloatArray, reached: BoolArray) -> None:
        """Keeps the nearest of the adversarial points; a walk's points lie side by side."""
        rows, points = rows[reached], points[reached]
        if not len(rows):
            return
        distances = _length(points - self._images[rows])
        order = np.lexsort((np.arange(len(rows)), distances, rows))
        first = order[np.flatnonzero(np.diff(rows[order], prepend=-1))]
        nearer = first[distances[first] < self._distance[rows[first]]]
        self._nearest[rows[nearer]], self._distance[rows[nearer]] = points[nearer], distances[nearer]
        self.found_at[rows[nearer]] = self.asked[rows[nearer]] - 1

    def _starts(self, phase: _Phase, rows: Rows) -> tuple[Rows, FloatArray]:
        """The next start of each walk. One that has no more goes on.

        On the way to a further known image the first question is about the point that is as far as the nearest so far:
        where it is not adversarial, the boundary on that way lies farther, most likely.
        """
        asking, points, ended = [], [], []
        for row in rows:
            start = next((self._known if phase == _Phase.KNOWN else self._noise)[row], None)
            if start is None or not self._remaining[row]:
                ended.append(row)
                continue
            start = start.reshape(-1)
            if phase == _Phase.KNOWN:
                way = start - self._images[row]
                share = min(1.0, self._distance[row] / max(float(np.linalg.norm(way)), 1e-12))
                start = self._images[row] + share * way
            asking.append(row)
            points.append(start)
        if ended:
            over = np.array(ended)
            found = np.isfinite(self._distance[over])
            self._point[over[found]] = self._nearest[over[found]]
            self._phase[over[~found]] = _Phase.NOISE if phase == _Phase.KNOWN else _Phase.DONE
            self._look_around(over[found])
        return np.array(asking, np.intp), np.array(points, np.float32).reshape(len(asking), self._features)

    def _search_boundary(self, rows: Rows, points: FloatArray) -> None:
        """Begins a binary search between adversarial points and the images."""
        self._origin[rows] = self._end[rows] = points
        self._inner[rows], self._outer[rows], self._halvings[rows] = 0.0, 1.0, self._bisections
        self._phase[rows] = _Phase.BOUNDARY
        self._leave_boundary(rows[self._remaining[rows] == 0])

    def _leave_boundary(self, rows: Rows) -> None:
        """Goes on from the adversarial end of a binary search."""
        further = self._starting[rows]
        self._phase[rows[further]] = _Phase.KNOWN
        walking = rows[~further]
        # The walk begins at the nearest point of all; later it goes on where it is.
        beginning = self._iteration[walking] == 0
        self._point[walking] = np.where(beginning[:, None], self._nearest[walking], self._end[walking])
        self._look_around(walking)

    def _look_around(self, rows: Rows) -> None:
        """Begins an estimate of the direction, where there is room for it, a step and the way back to the boundary."""
        self._starting[rows] = False
        going = self._remaining[rows] > 0
        self._iteration[rows[going]] += 1
        room = self._remaining[rows] - self._bisections - 1
        wanted = (self._initial_samples * np.sqrt(self._iteration[rows])).astype(int)
        self._samples[rows] = np.minimum(wanted, room)
        going &= self._samples[rows] >= 1
        self._settle(rows[~going])
        rows = rows[going]
        radius = _length(self._point[rows] - self._images[rows]) / self._features
        # Points less than a step of a pixel apart are the same picture.
        self._radius[rows] = np.maximum(radius, self._least_radius)
        self._asked[rows], self._successes[rows] = 0, 0
        self._offsets[rows], self._reached[rows] = 0.0, 0.0
        self._phase[rows] = _Phase.DIRECTION

    def _around(self, rows: Rows) -> tuple[Rows, FloatArray]:
        """Random points at a radius around those at the boundary."""
        counts = np.minimum(POINTS_AT_ONCE, self._samples[rows] - self._asked[rows])
        drawn = [
            self._generators[row].standard_normal((count, self._features))
            for row, count in zip(rows, counts, strict=True)
        ]
        noise = np.concatenate(drawn) if drawn else np.empty((0, self._features))
        rows = np.repeat(rows, counts)
        noise *= (self._radius[rows] / np.sqrt(np.einsum("ij,ij->i", noise, noise)))[:, None]
        return rows, self._point[rows] + noise

    def _estimate(self, rows: Rows, points: FloatArray, reached: BoolArray) -> None:
        """Adds answers to the estimates of directions: the mean of the offsets by their answers, 1 or -1 (section 4).

        The answers' mean is subtracted as a baseline.
        """
        walks, first, counts = np.unique(rows, return_index=True, return_counts=True)
        # The bounds may have shortened them.
        offsets = points - self._point[rows]
        self._offsets[walks] += np.add.reduceat(offsets, first, axis=0)
        self._reached[walks] += np.add.reduceat(np.where(reached[:, None], offsets, 0), first, axis=0)
        self._asked[walks] += counts
        self._successes[walks] += np.add.reduceat(reached.astype(int), first)
        ready = walks[self._asked[walks] == self._samples[walks]]
        share = (self._successes[ready] / self._samples[ready])[:, None]
        all_alike = np.where(share == 1, self._offsets[ready], -self._offsets[ready])
        mixed = self._reached[ready] - share * self._offsets[ready]
        direction = np.where((share == 0) | (share == 1), all_alike, mixed)
        self._direction[ready] = direction / np.maximum(_length(direction), 1e-12)[:, None]
        step = _length(self._point[ready] - self._images[ready]) / np.sqrt(self._iteration[ready])
        # Among pictures one no longer than the radius would be given up before it is tried.
        self._step[ready] = np.maximum(step, 2 * self._least_radius)
        self._phase[ready] = _Phase.STEP
        self._give_up_steps(ready)

    def _give_up_steps(self, rows: Rows) -> None:
        """Stays where it is if steps are shorter than the radius within which the direction was estimated."""
        over = rows[(self._step[rows] <= self._radius[rows]) | (self._remaining[rows] == 0)]
        self._search_boundary(over, self._point[over])

    def _settle(self, rows: Rows) -> None:
        """Asks about a point a little farther out than the nearest adversarial one.

        A classifier's rounding differs from batch to batch, which would undo a result at the very boundary.
        """
        self._remaining[rows] += self._kept
        self._phase[rows] = np.where(self._remaining[rows] > 0, _Phase.SETTLE, _Phase.DONE)


def _length(difference: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """L2 norm of rows: (n, F) to (n,)."""
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", difference, difference, dtype=np.float64)))
