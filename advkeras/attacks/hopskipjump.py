"""HopSkipJump: the least L2 distortion by a walk along the boundary, when nothing but the class is known."""

import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np

from advkeras.attacks.base import BoolArray, FloatArray, IntArray, MinimumNormAttack, Problem, Progress, Tally, require
from advkeras.attacks.batches import Search, run_together
from advkeras.models import Classifier
from advkeras.randomness import derive_generator

# Points that one image's search asks about at once.
_POINTS_AT_ONCE = 25
# Random images from which the search may start: so many at most, and no larger share of the budget.
_STARTS, _STARTS_SHARE = 100, 0.1

_Result = TypeVar("_Result")
_Asking = Generator[FloatArray, BoolArray, _Result]


@dataclass(frozen=True, kw_only=True)
class HopSkipJump(MinimumNormAttack):
    """The least L2 distortion by the classes that queries return (Chen, Jordan and Wainwright, IEEE S&P 2020).

    Algorithm 2 of the paper for the L2 norm. The search starts at uniform noise that is misclassified (for a targeted
    attack: classified as the target, which noise seldom is), and repeats three steps: a binary search towards the
    image ends at the boundary (algorithm 1), the classes of points around tell the direction of the boundary's normal
    (section 4), and a step goes along it, as long as the geometric search allows. The nearest adversarial point that
    was queried is the result; where no start was found, the image itself.

    An image's random numbers depend on the seed and its place among the attacked images.

    Args:
        queries: budget for each image. Classifying the images before and the examples after the search, as every
            attack does, is not part of it.
        initial_samples: B_0 of the paper, the points of the first estimate of a direction; that of iteration t has
            sqrt(t) times as many.
        confidence: must be 0, since the logits are not known.
        batch_size: queries that are sent at once.
        jit_compile: must be False, since there is nothing to compile.
    """

    queries: int = 1_000
    initial_samples: int = 100

    name: ClassVar[str] = "hopskipjump"
    title: ClassVar[str] = "HopSkipJump"
    needs_gradient: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.confidence == 0, f"confidence must be 0: {self.title} sees classes only", confidence=self.confidence
        )
        require(self.queries >= 1, "queries must be at least 1", queries=self.queries)
        require(self.initial_samples >= 1, "initial_samples must be at least 1", initial_samples=self.initial_samples)

    def run(self, classifier: Classifier, problem: Problem, tally: Tally, progress: Progress) -> FloatArray:
        """Candidates of least distortion; the image itself where nothing was found."""

        def adversarial(places: IntArray, points: FloatArray) -> BoolArray:
            tally.forwards += len(points)
            classes, goals = classifier.predict(points, batch_size=self.batch_size), problem.goals[places]
            return np.asarray(classes == goals if problem.targeted else classes != goals)

        walks = [
            _BoundaryWalk(self, image, classifier.bounds, derive_generator(self.seed, self.name, place)).run()
            for place, image in enumerate(problem.images)
        ]
        at_once = max(1, self.batch_size // _POINTS_AT_ONCE)
        return np.stack(run_together(walks, adversarial, at_once=at_once, progress=progress))


class _BoundaryWalk:
    """The search for one image. It yields points and is sent which of them are adversarial."""

    def __init__(
        self, attack: HopSkipJump, image: FloatArray, bounds: tuple[float, float], generator: np.random.Generator
    ) -> None:
        self.initial_samples = attack.initial_samples
        self.starts = min(_STARTS, math.ceil(_STARTS_SHARE * attack.queries))
        self.remaining = attack.queries
        self.image = image
        self.bounds = bounds
        self.generator = generator
        self.nearest, self.distance = image, math.inf
        # The interval of the binary search shrinks to a share of d^(-3/2), d the number of features.
        self.bisections = math.ceil(1.5 * math.log2(image.size))

    def run(self) -> Search:
        """The whole walk; returns the nearest adversarial point, (H, W, C), or the image."""
        point = yield from self._start()
        iteration = 0
        while point is not None and self.remaining:
            iteration += 1
            point = yield from self._boundary(point)
            # Room is left for a step and for the way back to the boundary.
            room = self.remaining - self.bisections - 1
            samples = min(int(self.initial_samples * math.sqrt(iteration)), room)
            if samples < 1:
                break
            radius = _length(point - self.image) / self.image.size
            direction = yield from self._direction(point, samples, radius)
            point = yield from self._step(point, direction, iteration, radius)
        return self.nearest

    def _ask(self, points: FloatArray) -> _Asking[tuple[FloatArray, BoolArray]]:
        """Queries points (n, H, W, C), clipped, as far as the budget goes; those points and whether they succeed."""
        points = np.clip(points[: self.remaining], *self.bounds).astype(np.float32)
        if not len(points):
            return points, np.zeros(0, bool)
        self.remaining -= len(points)
        reached = yield points
        for point in points[reached]:
            distance = _length(point - self.image)
            if distance < self.distance:
                self.nearest, self.distance = point, distance
        return points, reached

    def _adversarial(self, point: FloatArray) -> _Asking[FloatArray | None]:
        """The point (H, W, C), clipped, if it is adversarial and there was budget to ask."""
        points, reached = yield from self._ask(point[None])
        successes: list[FloatArray] = list(points[reached])
        return successes[0] if successes else None

    def _start(self) -> _Asking[FloatArray | None]:
        """The first uniform noise that is adversarial, if any is."""
        for _ in range(self.starts):
            noise = self.generator.uniform(*self.bounds, self.image.shape)
            found = yield from self._adversarial(np.asarray(noise, np.float32))
            if found is not None:
                return found
        return None

    def _boundary(self, point: FloatArray) -> _Asking[FloatArray]:
        """The adversarial end of a binary search between an adversarial point and the image."""
        inner, outer = 0.0, 1.0
        end = point
        for _ in range(self.bisections):
            middle = (inner + outer) / 2
            found = yield from self._adversarial(self.image + middle * (point - self.image))
            if found is None:
                inner = middle
            else:
                outer, end = middle, found
        return end

    def _direction(self, point: FloatArray, samples: int, radius: float) -> _Asking[FloatArray]:
        """From the boundary to the adversarial side, (H, W, C) of length 1, by random points at a radius.

        The mean of the offsets by their answers (1 or -1), the answers' mean subtracted as a baseline (section 4).
        """
        offsets_sum, reached_sum = np.zeros(self.image.shape), np.zeros(self.image.shape)
        asked = successes = 0
        while asked < samples:
            noise = self.generator.standard_normal((min(_POINTS_AT_ONCE, samples - asked), *self.image.shape))
            noise *= radius / np.sqrt(np.sum(noise**2, axis=(1, 2, 3), keepdims=True))
            points, reached = yield from self._ask(np.asarray(point + noise, np.float32))
            # The bounds may have shortened them.
            offsets = points - point
            offsets_sum += offsets.sum(axis=0)
            reached_sum += offsets[reached].sum(axis=0)
            asked += len(points)
            successes += int(reached.sum())
        if successes in (0, samples):
            direction = offsets_sum if successes else -offsets_sum
        else:
            direction = reached_sum - successes / samples * offsets_sum
        return np.asarray(direction / max(float(np.linalg.norm(direction)), 1e-12), np.float32)

    def _step(self, point: FloatArray, direction: FloatArray, iteration: int, radius: float) -> _Asking[FloatArray]:
        """The first adversarial point of steps that get shorter by a half; the point itself, if none is found.

        No step is shorter than the radius within which the direction was estimated.
        """
        step = _length(point - self.image) / math.sqrt(iteration)
        while step > radius and self.remaining:
            found = yield from self._adversarial(point + step * direction)
            if found is not None:
                return found
            step /= 2
        return point


def _length(difference: FloatArray) -> float:
    return float(np.linalg.norm(difference))
