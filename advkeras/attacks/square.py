"""Square Attack: random search for an example within a ball, by the logits that queries return."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
from annotated_types import Interval

from advkeras.arrays import FloatArray, IntArray, Progress
from advkeras.attacks.families import FixedNormAttack
from advkeras.models import Classifier
from advkeras.parameters import Count
from advkeras.randomness import derive_generator
from advkeras.searches.norms import NormName
from advkeras.searches.noting import columns, stride_of
from advkeras.searches.problem import Problem
from advkeras.searches.squares import EuclideanSquares

# Of 10,000 queries, those after which the paper halves the share of pixels that a window covers (section 3).
_HALVINGS = np.array([10, 50, 200, 1_000, 2_000, 4_000, 6_000, 8_000])
_HALVINGS_BUDGET = 10_000
# Those of AutoAttack, whatever the budget.
_FIXED_HALVINGS = np.array([10, 50, 200, 500, 1_000, 2_000, 4_000, 6_000, 8_000])
# Queries of an image whose random numbers are drawn at once.
_DRAWN_AT_ONCE = 100


@dataclass(frozen=True, kw_only=True)
class Square(FixedNormAttack):
    """Random search on the surface of a ball, without gradients (Andriushchenko et al., ECCV 2020).

    In L-inf the first query is an image of vertical stripes at the ball's surface. Every further one moves a random
    square window of the best point so far to the surface, by one random sign for each channel (the paper's algorithms 1
    and 2), and is kept where it brings the logit margin nearer to misclassification. An image that is misclassified is
    not queried again. In L2 (algorithm 3) the first query is made of tiles, and every further one moves what one window
    holds of the ball's radius to another. The margin is the loss of a targeted attack, too, where the paper has the
    cross-entropy.

    An image's random numbers depend on the seed, its place in the data set and the number of its query.

    Args:
        epsilon: radius of the ball, in the classifier's pixel unit: the largest change of a pixel (``linf``) or the
            Euclidean length of the change (``l2``).
        queries: budget for each image. Of a point that would be the best one again, the answer is known: it counts and
            is not sent. Classifying the images before and the examples after the search, as every attack does, is not
            part of it.
        initial_share: p of the paper, the share of an image's pixels that the first windows cover; it is halved as the
            budget is used up.
        norm: ``"linf"`` or ``"l2"``.
        rescale: whether the share is halved after shares of the budget, as in the paper; otherwise after the numbers of
            queries that AutoAttack takes, whatever the budget.
        batch_size: queries that are sent at once.
    """

    queries: Count = 1_000
    initial_share: Annotated[float, Interval(gt=0, le=1)] = 0.8
    norm: NormName = "linf"  # type: ignore[misc]
    rescale: bool = True

    name: ClassVar[str] = "square"
    title: ClassVar[str] = "Square"
    work: ClassVar[str] = "queries"
    needs_gradient: ClassVar[bool] = False

    def run(self, classifier: Classifier, problem: Problem, progress: Progress) -> FloatArray:
        """The point of the largest margin that was found for each image; images that are done leave the batch."""
        total, propose = len(problem), self._proposer(classifier, problem)
        best, margin = problem.images.copy(), np.full(total, -np.inf, np.float32)
        asked, sent = np.zeros((2, total), np.int64)
        seen, stride = columns(total), stride_of(self.queries)
        while True:
            waiting = np.flatnonzero((margin <= 0) & (asked < self.queries))
            progress(total - len(waiting), total)
            if not len(waiting):
                problem.recorder.add(seen, sent, stride=stride, queries=True)
                return best
            batch = waiting[: self.batch_size]
            points = propose(batch, asked[batch], best[batch])
            answers = margin[batch]
            # A window may get what it holds already, as many do on images of one channel: the answer is known.
            new = np.flatnonzero((asked[batch] == 0) | (points != best[batch]).any(axis=(1, 2, 3)))
            if len(new):
                rows = batch[new]
                logits = classifier.logits(points[new], batch_size=self.batch_size)
                answers[new] = _margins(logits, problem.goals[rows], targeted=problem.targeted)
                column = sent[rows] // stride
                seen[rows, column] = np.maximum(seen[rows, column], answers[new])
                sent[rows] += 1
            asked[batch] += 1
            better = answers > margin[batch]
            best[batch[better]], margin[batch[better]] = points[better], answers[better]

    def window_sides(self, asked: npt.NDArray[np.int64], height: int, width: int) -> npt.NDArray[np.int64]:
        """Side lengths in pixels of the windows that move after so many queries, (B,), on images of a size."""
        if self.rescale:
            halvings = np.sum(asked[:, None] * _HALVINGS_BUDGET >= _HALVINGS * self.queries, axis=1)
        else:
            halvings = np.sum(asked[:, None] > _FIXED_HALVINGS, axis=1)
        sides = np.rint(np.sqrt(self.initial_share / 2.0**halvings * height * width))
        return np.asarray(np.clip(sides, 1, min(height, width)), np.int64)

    def _proposer(
        self, classifier: Classifier, problem: Problem
    ) -> Callable[[npt.NDArray[np.intp], npt.NDArray[np.int64], FloatArray], FloatArray]:
        """What to query, (B, H, W, C), by the images' rows, their queries so far and their best points."""
        if self.norm == "linf":
            draws = _Draws(self, problem)

            def within_cube(rows: Any, asked: Any, best: Any) -> FloatArray:
                signs, corners = draws.next(rows, asked)
                return self._proposals(problem.images[rows], best, asked, signs, corners, classifier)

            return within_cube
        squares = EuclideanSquares(problem, seed=self.seed, name=self.name)

        def within_sphere(rows: Any, asked: Any, best: Any) -> FloatArray:
            images = problem.images[rows]
            sides = self.window_sides(asked, *images.shape[1:3])
            points = np.clip(
                squares.next(rows, asked, images, best, sides, self.within(classifier)), *classifier.bounds
            )
            return self.settle(classifier, images, points)

        return within_sphere

    def _proposals(
        self,
        images: FloatArray,
        best: FloatArray,
        asked: npt.NDArray[np.int64],
        signs: FloatArray,
        corners: npt.NDArray[np.float64],
        classifier: Classifier,
    ) -> FloatArray:
        """What to query after so many queries: stripes, and then the best points with another window; (B, H, W, C).

        Args:
            images: (B, H, W, C).
            best: (B, H, W, C), the best points so far.
            asked: (B,) queries so far.
            signs: (B, W, C) of the stripes; of a window, the first column's.
            corners: (B, 2), how far down and to the right windows lie, in [0, 1).
            classifier: has the bounds.
        """
        height, width = images.shape[1:3]
        sides, starting = self.window_sides(asked, height, width), asked == 0
        inside = []
        for axis, size in enumerate((height, width)):
            first = np.floor(corners[:, axis] * (size - sides + 1))[:, None]
            inside.append((np.arange(size) >= first) & (np.arange(size) < first + sides[:, None]))
        window = inside[0][:, :, None, None] & inside[1][:, None, :, None]
        signs = np.where(starting[:, None, None], signs, signs[:, :1])
        # A step of 2 epsilon from any point of the ball, projected on it, ends at the surface.
        surface = np.clip(images + np.float32(self.within(classifier)) * signs[:, None], *classifier.bounds)
        return np.where(window | starting[:, None, None, None], surface, best)


class _Draws:
    """The random numbers of each image's queries, drawn for some queries at a time."""

    def __init__(self, attack: Square, problem: Problem) -> None:
        self._generators = [derive_generator(attack.seed, attack.name, int(place)) for place in problem.places]
        _, self._width, self._channels = problem.images.shape[1:]
        self._corners = np.empty((len(problem), _DRAWN_AT_ONCE, 2))
        self._signs = np.empty((len(problem), _DRAWN_AT_ONCE, self._channels), np.float32)

    def next(
        self, images: npt.NDArray[np.intp], asked: npt.NDArray[np.int64]
    ) -> tuple[FloatArray, npt.NDArray[np.float64]]:
        """Signs (B, W, C) and corners (B, 2) of the next query of some images, given by their places among all."""
        for image in images[asked % _DRAWN_AT_ONCE == 0]:
            generator = self._generators[image]
            self._corners[image] = generator.random((_DRAWN_AT_ONCE, 2))
            self._signs[image] = _signs((_DRAWN_AT_ONCE, self._channels), generator)
        place = asked % _DRAWN_AT_ONCE
        signs = np.repeat(self._signs[images, place][:, None], self._width, axis=1)
        for row in np.flatnonzero(asked == 0):
            signs[row] = _signs((self._width, self._channels), self._generators[images[row]])
        return signs, self._corners[images, place]


def _margins(logits: FloatArray, goals: IntArray, *, targeted: bool) -> FloatArray:
    """How far logits (N, classes) are on the attacker's side, (N,): as adversarial_margin, on arrays."""
    rows = np.arange(len(goals))
    chosen, others = logits[rows, goals], logits.copy()
    others[rows, goals] = -np.inf
    lead = chosen - others.max(axis=1)
    return np.asarray(lead if targeted else -lead)


def _signs(shape: tuple[int, ...], generator: np.random.Generator) -> FloatArray:
    return np.asarray(2 * generator.integers(0, 2, shape) - 1, np.float32)
