"""Square Attack: random search for an example within an L-inf ball, by the logits that queries return."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from advkeras.arrays import FloatArray, IntArray, Progress, linf
from advkeras.attacks.base import FixedNormAttack
from advkeras.errors import require
from advkeras.models import Classifier
from advkeras.randomness import derive_generator
from advkeras.searches.problem import Problem

# Of 10,000 queries, those after which the paper halves the share of pixels that a window covers (section 3).
_HALVINGS = np.array([10, 50, 200, 1_000, 2_000, 4_000, 6_000, 8_000])
_HALVINGS_BUDGET = 10_000


@dataclass(frozen=True, kw_only=True)
class Square(FixedNormAttack):
    """Random search on the surface of an L-inf ball, without gradients (Andriushchenko et al., ECCV 2020).

    The first query is an image of vertical stripes at the ball's surface. Every further one moves a random square
    window of the best point so far to the surface, by one random sign for each channel (the paper's algorithms 1
    and 2), and is kept where it brings the logit margin nearer to misclassification. An image that is misclassified is
    not queried again. The margin is the loss of a targeted attack, too, where the paper has the cross-entropy.

    An image's random numbers depend on the seed, its place in the data set and the number of its query.

    Args:
        epsilon: the largest change of a pixel, in the classifier's pixel unit.
        queries: budget for each image. Classifying the images before and the examples after the search, as every
            attack does, is not part of it.
        initial_share: p of the paper, the share of an image's pixels that the first windows cover; it is halved as the
            budget is used up.
        batch_size: queries that are sent at once.
        jit_compile: must be False, since there is nothing to compile.
    """

    queries: int = 1_000
    initial_share: float = 0.8

    name: ClassVar[str] = "square"
    title: ClassVar[str] = "Square"
    work: ClassVar[str] = "queries"
    needs_gradient: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.queries >= 1, "queries must be at least 1", queries=self.queries)
        require(0 < self.initial_share <= 1, "initial_share must lie in (0, 1]", initial_share=self.initial_share)

    def run(self, classifier: Classifier, problem: Problem, progress: Progress) -> FloatArray:
        """The point of the largest margin that was found for each image; images that are done leave the batch."""
        total = len(problem)
        generators = [derive_generator(self.seed, self.name, int(place)) for place in problem.places]
        best, margin = problem.images.copy(), np.full(total, -np.inf, np.float32)
        asked = np.zeros(total, np.int64)
        while True:
            waiting = np.flatnonzero((margin <= 0) & (asked < self.queries))
            progress(total - len(waiting), total)
            if not len(waiting):
                return best
            batch = waiting[: self.batch_size]
            points = np.stack(
                [
                    self._proposal(problem.images[i], best[i], int(asked[i]), classifier.bounds, generators[i])
                    for i in batch
                ]
            )
            logits = classifier.logits(points, batch_size=self.batch_size)
            answers = _margins(logits, problem.goals[batch], targeted=problem.targeted)
            asked[batch] += 1
            better = answers > margin[batch]
            best[batch[better]], margin[batch[better]] = points[better], answers[better]

    def distance(self, difference: FloatArray) -> FloatArray:
        """The largest change of a pixel."""
        return linf(difference)

    def window_side(self, asked: int, height: int, width: int) -> int:
        """Side length in pixels of the window that moves after so many queries, on images of a height and width."""
        halvings = int(np.sum(asked * _HALVINGS_BUDGET >= _HALVINGS * self.queries))
        side = round(np.sqrt(self.initial_share / 2**halvings * height * width))
        return int(np.clip(side, 1, min(height, width)))

    def _proposal(
        self,
        image: FloatArray,
        best: FloatArray,
        asked: int,
        bounds: tuple[float, float],
        generator: np.random.Generator,
    ) -> FloatArray:
        """What to query after so many queries: stripes, and then the best point with another window; (H, W, C)."""
        height, width, channels = image.shape
        if asked == 0:
            return self._surface(image, _signs((1, width, channels), generator), bounds)
        side = self.window_side(asked, height, width)
        top, left = generator.integers(0, (height - side + 1, width - side + 1))
        window = slice(top, top + side), slice(left, left + side)
        proposal = best.copy()
        # A step of 2 epsilon from any point of the ball, projected on it, ends at the surface.
        proposal[window] = self._surface(image[window], _signs((1, 1, channels), generator), bounds)
        return proposal

    def _surface(self, pixels: FloatArray, signs: FloatArray, bounds: tuple[float, float]) -> FloatArray:
        return np.clip(pixels + np.float32(self.epsilon) * signs, *bounds)


def _margins(logits: FloatArray, goals: IntArray, *, targeted: bool) -> FloatArray:
    """How far logits (N, classes) are on the attacker's side, (N,): as adversarial_margin, on arrays."""
    rows = np.arange(len(goals))
    chosen, others = logits[rows, goals], logits.copy()
    others[rows, goals] = -np.inf
    lead = chosen - others.max(axis=1)
    return np.asarray(lead if targeted else -lead)


def _signs(shape: tuple[int, ...], generator: np.random.Generator) -> FloatArray:
    return generator.choice(np.array([-1.0, 1.0], np.float32), shape)
