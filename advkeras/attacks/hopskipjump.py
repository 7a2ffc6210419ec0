"""HopSkipJump: the least L2 distortion by a walk along the boundary, when nothing but the class is known."""

import hashlib
import math
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from advkeras.arrays import BoolArray, FloatArray, Progress
from advkeras.attacks.families import MinimumNormAttack
from advkeras.models import Classifier
from advkeras.parameters import Count
from advkeras.randomness import derive_generator
from advkeras.searches.boundary_walks import BoundaryWalks, walks_at_once
from advkeras.searches.problem import Problem, fooled_by
from advkeras.searches.starts import KnownImages, noise_starts

# Known images and blends with noise that are tried as starts: so many at most, and no larger share of the budget.
_KNOWN_STARTS, _NOISE_STARTS, _STARTS_SHARE = 10, 100, 0.1


@dataclass(frozen=True, eq=False)
class _Starts:
    """Images (S, H, W, C) float32 to start at, in the classifier's pixel unit; equal to itself only.

    Attributes:
        images: the user's; None for none.
        company: instead of the other images of the call; None for those.
    """

    images: FloatArray | None = None
    company: FloatArray | None = None

    @property
    def checksum(self) -> str:
        parts = (b"nothing" if each is None else each.tobytes() for each in (self.images, self.company))
        return hashlib.sha256(b"company".join(parts)).hexdigest()


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
        batch_size: queries that are sent at once, and images that are attacked side by side; fewer of large images.
    """

    queries: Count = 1_000
    initial_samples: Count = 100
    _starts: _Starts | None = field(default=None, repr=False)

    name: ClassVar[str] = "hopskipjump"
    title: ClassVar[str] = "HopSkipJump"
    work: ClassVar[str] = "queries"
    needs_gradient: ClassVar[bool] = False

    def run(self, classifier: Classifier, problem: Problem, progress: Progress) -> FloatArray:
        """Candidates of least distortion; the image itself where nothing was found."""
        known = self._known(classifier, problem)
        best, total = problem.images.copy(), len(problem)
        at_once = walks_at_once(math.prod(classifier.input_shape), self.batch_size)
        for first in range(0, total, at_once):
            places = np.arange(first, min(first + at_once, total))
            walks = self._walks(problem, known, places, classifier.bounds, classifier.levels)

            def adversarial(rows: Any, points: FloatArray, places: Any = places) -> BoolArray:
                classes = classifier.predict(points, batch_size=self.batch_size)
                return fooled_by(classes, problem.goals[places[rows]], targeted=problem.targeted)

            while walks.done < len(places):
                progress(first + walks.done, total)
                walks.go_on(adversarial)
            best[places] = walks.found
            problem.where(places).recorder.add(None, walks.asked, best=walks.found_at, queries=True)
        progress(total, total)
        return best

    def _walks(
        self, problem: Problem, known: KnownImages, places: Any, bounds: tuple[float, float], levels: int | None
    ) -> BoundaryWalks:
        tries = math.ceil(_STARTS_SHARE * self.queries)
        generators = [derive_generator(self.seed, self.name, int(problem.places[place])) for place in places]
        return BoundaryWalks(
            problem.images[places],
            bounds,
            levels=levels,
            known=[islice(known.starts(problem, place), min(_KNOWN_STARTS, tries)) for place in places],
            noise=[
                islice(noise_starts(problem.images[place], bounds, generator), min(_NOISE_STARTS, tries))
                for place, generator in zip(places, generators, strict=True)
            ],
            generators=generators,
            queries=self.queries,
            initial_samples=self.initial_samples,
        )

    def starting_at(self, images: npt.ArrayLike) -> "HopSkipJump":
        """This attack, which tries to start at images of the user's before all else.

        The same images serve every attacked image: whichever are of a fitting class and nearest. They are data and no
        hyperparameter: :meth:`get_config` leaves them out.

        Args:
            images: (S, H, W, C), in the classifier's pixel unit and within its bounds.

        Example:
            >>> HopSkipJump().starting_at(images_of_cats)(classifier, images, labels, targets)
        """
        company = None if self._starts is None else self._starts.company
        return replace(self, _starts=_Starts(np.array(images, np.float32), company))

    def among(self, images: FloatArray) -> "HopSkipJump":
        """These images are starts, beside those that it has, and the other images of the call are none."""
        given = None if self._starts is None else self._starts.images
        return replace(self, _starts=_Starts(given, np.array(images, np.float32)))

    @property
    def data_checksum(self) -> str:
        """Of the images that are handed over, too."""
        code = super().data_checksum
        return code if self._starts is None else hashlib.sha256((code + self._starts.checksum).encode()).hexdigest()

    def _known(self, classifier: Classifier, problem: Problem) -> KnownImages:
        starts = self._starts or _Starts()
        given = np.empty((0, *classifier.input_shape), np.float32)
        if starts.images is not None:
            given = classifier.check_images(starts.images)
        company = None if starts.company is None else classifier.check_images(starts.company)
        return KnownImages.of(classifier, problem, given, company, batch_size=self.batch_size)
