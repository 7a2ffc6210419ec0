"""Where a search by queries may start: images whose classes are known, and noise."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from advkeras.arrays import NO_CLASS, FloatArray, IntArray
from advkeras.models import Classifier
from advkeras.searches.problem import Problem

# Shares of the noise in its blends with an image.
_SHARES = (0.5, 0.75, 1.0)


@dataclass(frozen=True, eq=False)
class KnownImages:
    """Images that may serve each attacked image as a start, with the classes that the classifier gives them.

    Attributes:
        images: (K, H, W, C) float32: those that were handed over, and after them the attacked images, or the company
            that they are in.
        classes: (K,) int32; NO_CLASS where it is not known.
        given: how many were handed over.
    """

    images: FloatArray
    classes: IntArray
    given: int

    @classmethod
    def of(
        cls,
        classifier: Classifier,
        problem: Problem,
        given: FloatArray,
        company: FloatArray | None = None,
        *,
        batch_size: int,
    ) -> "KnownImages":
        """Asks for the classes that are needed and not known, once for all attacked images.

        Args:
            classifier: that is asked.
            problem: the attacked images, which serve each other unless there is other company.
            given: images (S, H, W, C) that come first.
            company: images (C, H, W, C) that serve in the attacked ones' place.
            batch_size: images that are sent at once.
        """
        asked = given if company is None else np.concatenate([given, company])
        classes = classifier.predict(asked, batch_size=batch_size) if len(asked) else np.zeros(0, np.int32)
        if company is not None:
            return cls(asked, classes, len(given))
        attacked = _classes_of_attacked(classifier, problem, batch_size)
        return cls(np.concatenate([given, problem.images]), np.concatenate([classes, attacked]), len(given))

    @cached_property
    def _rows(self) -> FloatArray:
        return self.images.reshape(len(self.images), -1)

    @cached_property
    def _squares(self) -> FloatArray:
        return np.asarray(np.einsum("ij,ij->i", self._rows, self._rows))

    def starts(self, problem: Problem, place: int) -> Iterator[FloatArray]:
        """Images (H, W, C) that are adversarial for the attacked image at a place: the given ones, then the others.

        The nearest in L2 comes first, of either.
        """
        goal = problem.goals[place]
        other = (self.classes != goal) & (self.classes != NO_CLASS)
        fitting = np.flatnonzero((self.classes == goal) if problem.targeted else other)
        # Squared, and without the attacked image's own length, which all have in common.
        distances = self._squares[fitting] - 2 * (self._rows @ problem.images[place].reshape(-1))[fitting]
        for index in np.lexsort((distances, fitting >= self.given)):
            yield self.images[fitting[index]]


def _classes_of_attacked(classifier: Classifier, problem: Problem, batch_size: int) -> IntArray:
    if not problem.targeted:
        return problem.goals  # Only images that are classified correctly are attacked.
    if np.unique(problem.goals).size > 1:
        return np.asarray(classifier.predict(problem.images, batch_size=batch_size))
    # No attacked image is of its own target's class, so none is of the one that all have.
    return np.full(len(problem), NO_CLASS, np.int32)


def noise_starts(
    image: FloatArray, bounds: tuple[float, float], generator: np.random.Generator
) -> Iterator[FloatArray]:
    """Blends (H, W, C) of an image with uniform noise at growing shares, plain noise at last; without an end.

    All noise of single pixels may have one class, the image's own. So it is made of squares of one colour, too, whose
    side doubles as long as two of them fit in a row, and then begins with single pixels again.
    """
    height, width, channels = image.shape
    while True:
        side = 1
        while side == 1 or 2 * side <= max(height, width):
            for share in _SHARES:
                squares = generator.uniform(*bounds, (-(-height // side), -(-width // side), channels))
                noise = squares.repeat(side, axis=0).repeat(side, axis=1)[:height, :width]
                yield np.asarray(image + share * (noise - image), np.float32)
            side *= 2
