"""HopSkipJump: the least L2 distortion by a walk along the boundary, when nothing but the class is known."""

import hashlib
import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt

from advkeras.arrays import BoolArray, FloatArray, IntArray, Progress
from advkeras.attacks.base import MinimumNormAttack
from advkeras.errors import require
from advkeras.models import Classifier
from advkeras.randomness import derive_generator
from advkeras.searches.batches import Search, run_together
from advkeras.searches.problem import Problem, fooled_by
from advkeras.searches.starts import KnownImages, noise_starts

# Points that one image's search asks about at once.
_POINTS_AT_ONCE = 25
# Known images and blends with noise that are tried as starts: so many at most, and no larger share of the budget.
_KNOWN_STARTS, _NOISE_STARTS, _STARTS_SHARE = 10, 100, 0.1
# By such a share of its distance the result lies farther out than the nearest point that was found.
_SLACK = 1e-4

_Result = TypeVar("_Result")
_Asking = Generator[FloatArray, BoolArray, _Result]


@dataclass(frozen=True, kw_only=True)
class HopSkipJump(MinimumNormAttack):
    """The least L2 distortion by the classes that queries return (Chen, Jordan and Wainwright, IEEE S&P 2020).

    Algorithm 2 of the paper for the L2 norm. The search starts at the boundary and repeats three steps: the classes of
    points around tell the direction of the boundary's normal (section 4), a step goes along it, as long as the
    geometric search allows, and a binary search towards the image ends at the boundary again (algorithm 1). The nearest
    adversarial point is the result, or one that lies farther out by a hair; where no start was found, the image itself.

    A start is an image of a fitting class: of those that :meth:`starting_at` hands over, and then of the other images
    of the same call, the nearest ones; of some the boundary on the way is looked for, to begin at the nearest. Where
    there is none, it is a blend of the image with uniform noise at growing shares, and plain noise, as in the paper's
    experiments; but of larger and larger squares, too, since noise of single pixels may have the image's own class. Of
    one target in particular noise seldom is: a targeted attack needs images of that class, in the call or handed over.

    An image's random numbers depend on the seed and its place in the data set, and its result on the other
    images of the call, which may be its starts; on the batch size nothing depends.

    Args:
        queries: budget for each image. Classifying the images before and the examples after the search, as every
            attack does, is not part of it; nor is what serves all images and is asked once: the classes of the images
            that :meth:`starting_at` hands over and, where targets differ, of the images of the call.
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
    work: ClassVar[str] = "queries"
    needs_gradient: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.confidence == 0, f"confidence must be 0: {self.title} sees classes only", confidence=self.confidence
        )
        require(self.queries >= 1, "queries must be at least 1", queries=self.queries)
        require(self.initial_samples >= 1, "initial_samples must be at least 1", initial_samples=self.initial_samples)

    def run(self, classifier: Classifier, problem: Problem, progress: Progress) -> FloatArray:
        """Candidates of least distortion; the image itself where nothing was found."""

        def adversarial(places: IntArray, points: FloatArray) -> BoolArray:
            classes = classifier.predict(points, batch_size=self.batch_size)
            return fooled_by(classes, problem.goals[places], targeted=problem.targeted)

        given = self._given_starts(classifier)
        known = KnownImages.of(classifier, problem, given, batch_size=self.batch_size)
        walks = [
            _BoundaryWalk(
                self,
                image,
                known.starts(problem, place),
                classifier.bounds,
                derive_generator(self.seed, self.name, int(problem.places[place])),
            ).run()
            for place, image in enumerate(problem.images)
        ]
        at_once = max(1, self.batch_size // _POINTS_AT_ONCE)
        return np.stack(run_together(walks, adversarial, at_once=at_once, progress=progress))

    def starting_at(self, images: npt.ArrayLike) -> "HopSkipJump":
        """This attack, which tries to start at images of the user's before all else.

        The same images serve every attacked image: whichever are of a fitting class and nearest. They are data and no
        hyperparameter: :meth:`get_config` leaves them out.

        Args:
            images: (S, H, W, C), in the classifier's pixel unit and within its bounds.

        Example:
            >>> HopSkipJump().starting_at(images_of_cats)(classifier, images, labels, targets)
        """
        return StartedHopSkipJump(**self.get_config(), starting_points=np.array(images, np.float32))

    def beside(self, images: FloatArray) -> "HopSkipJump":
        """Images that would be attacked as well are starts of this attack."""
        return self.starting_at(images)

    def _given_starts(self, classifier: Classifier) -> FloatArray:
        return np.empty((0, *classifier.input_shape), np.float32)


@dataclass(frozen=True, kw_only=True, eq=False)
class StartedHopSkipJump(HopSkipJump):
    """HopSkipJump with images to start at, as :meth:`HopSkipJump.starting_at` makes it; equal to itself only.

    Args:
        starting_points: (S, H, W, C) float32, in the classifier's pixel unit.
    """

    starting_points: FloatArray = field(repr=False)

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def get_config(self) -> dict[str, Any]:
        """The hyperparameters, as plain values, without the images."""
        return {name: value for name, value in super().get_config().items() if name != "starting_points"}

    @property
    def data_checksum(self) -> str:
        """Of the images."""
        return hashlib.sha256(self.starting_points.tobytes()).hexdigest()

    def beside(self, images: FloatArray) -> "HopSkipJump":
        """Images that would be attacked as well are starts of this attack, beside those that it has."""
        return self.starting_at(np.concatenate([self.starting_points, images]))

    def _given_starts(self, classifier: Classifier) -> FloatArray:
        return classifier.check_images(self.starting_points)


class _BoundaryWalk:
    """The search for one image. It yields points and is sent which of them are adversarial."""

    def __init__(
        self,
        attack: HopSkipJump,
        image: FloatArray,
        known: Iterator[FloatArray],
        bounds: tuple[float, float],
        generator: np.random.Generator,
    ) -> None:
        self.initial_samples = attack.initial_samples
        tries = math.ceil(_STARTS_SHARE * attack.queries)
        self.known = islice(known, min(_KNOWN_STARTS, tries))
        self.noise = islice(noise_starts(image, bounds, generator), min(_NOISE_STARTS, tries))
        # One query is kept for the end, where there are more.
        self.kept = min(1, attack.queries - 1)
        self.remaining = attack.queries - self.kept
        self.image = image
        self.bounds = bounds
        self.generator = generator
        self.nearest, self.distance = image, math.inf
        # The interval of the binary search shrinks to a share of d^(-3/2), d the number of features.
        self.bisections = math.ceil(1.5 * math.log2(image.size))

    def run(self) -> Search:
        """The whole walk; returns the nearest adversarial point, (H, W, C), or the image."""
        yield from self._start()
        if self.distance == math.inf:
            return self.image
        point, iteration = self.nearest, 0
        while self.remaining:
            iteration += 1
            # Room is left for a step and for the way back to the boundary.
            room = self.remaining - self.bisections - 1
            samples = min(int(self.initial_samples * math.sqrt(iteration)), room)
            if samples < 1:
                break
            radius = _length(point - self.image) / self.image.size
            direction = yield from self._direction(point, samples, radius)
            point = yield from self._step(point, direction, iteration, radius)
            point = yield from self._boundary(point)
        return (yield from self._settled())

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

    def _start(self) -> _Asking[None]:
        """Finds the nearest of the boundary points on the way to known images; if there are none, to noise.

        On the way to a further image the first question is about the point that is as far as the nearest so far: where
        it is not adversarial, the boundary on that way lies farther, most likely.
        """
        for start in self.known:
            way = start - self.image
            share = min(1.0, self.distance / max(_length(way), 1e-12))
            found = yield from self._adversarial(self.image + share * way)
            if found is not None:
                yield from self._boundary(found)
        if self.distance < math.inf:
            return
        for start in self.noise:
            found = yield from self._adversarial(start)
            if found is not None:
                yield from self._boundary(found)
                return

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

    def _settled(self) -> _Asking[FloatArray]:
        """The nearest adversarial point, moved a little farther out if that is adversarial, too.

        A classifier's rounding differs from batch to batch, which would undo a result at the very boundary.
        """
        self.remaining += self.kept
        farther = yield from self._adversarial(self.image + (1 + _SLACK) * (self.nearest - self.image))
        return self.nearest if farther is None else farther


def _length(difference: FloatArray) -> float:
    return float(np.linalg.norm(difference))
