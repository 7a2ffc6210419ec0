"""The fast adaptive boundary attack, towards one wrong class after the other or the nearest (Croce and Hein, 2020)."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from advkeras.arrays import FloatArray, IntArray, Progress, no_progress, slack
from advkeras.attacks.families import MinimumNormAttack
from advkeras.attacks.rounding import beyond_rounding
from advkeras.errors import require
from advkeras.models import Classifier
from advkeras.models.counted import Passes
from advkeras.parameters import Count, WholeNumber
from advkeras.randomness import derive_seeds
from advkeras.searches.active_set import run_active_set
from advkeras.searches.ensembles import NO_AIM
from advkeras.searches.fast_boundary import BoundaryState, boundary_steps
from advkeras.searches.norms import NORMS, NormName
from advkeras.searches.noting import stride_of
from advkeras.searches.problem import Problem
from advkeras.searches.rivals import leading
from advkeras.searches.surface import surface_points

# Where nothing was found yet, and nothing is enough, a restart looks around within this share of the whole range.
_FARTHEST = 0.1
_USUAL_CLASSES = 10


@dataclass(frozen=True, kw_only=True)
class FAB(MinimumNormAttack):
    """Steps onto the linearised decision boundary, and back towards the image (Croce and Hein, ICML 2020, algorithm 1).

    The second of their papers of that year, with its alpha_max 0.1, eta 1.05 and beta 0.9. It aims at one wrong class
    after the other, those of the largest logits at the image first, as AutoAttack's FAB-T does; any wrong class counts.
    The paper's own version goes towards the class whose boundary is nearest, at each step anew.

    Args:
        iterations: steps towards each class; a step takes a gradient and a forward pass.
        targets: classes aimed at, at most; 0 goes towards the nearest one at each step, which takes a gradient for each
            wrong class.
        restarts: runs towards each class; those after the first start at random points, half as far away as the nearest
            example.
        norm: to make small: ``"linf"``, the largest change of a pixel, or ``"l2"``.
    """

    iterations: Count = 100
    targets: WholeNumber = 9
    restarts: Count = 1
    norm: NormName = "linf"  # type: ignore[misc]
    _enough: float = field(default=0.0, repr=False)

    name: ClassVar[str] = "fab"
    title: ClassVar[str] = "FAB"
    work: ClassVar[str] = "iterations"

    def to_reach(self, distance: float) -> "FAB":
        """The same attack, which leaves an image once it has an example at most so far away, in pixel units."""
        return replace(self, _enough=distance)

    @property
    def passes(self) -> Passes:
        """A forward and a gradient for each step towards each class; towards the nearest, as many gradients as classes.

        How many classes there are is the classifier's: it is taken for ten.
        """
        forwards, _ = super().passes
        steps = self.restarts * self.iterations
        return Passes(forwards + steps * (self.targets or 1), steps * (self.targets or _USUAL_CLASSES - 1))

    def run(self, classifier: Classifier, problem: Problem, progress: Progress) -> FloatArray:
        """The nearest points that fool; the image itself where nothing was found."""
        require(
            not problem.targeted, f"{self.title} chooses its targets itself: take optlinf or optbrittle", targets=True
        )
        aims, enough = self._aims(classifier, problem), self._near_enough(classifier)
        best, nearest = problem.images.copy(), np.full(len(problem), np.inf, np.float32)
        runs = [(restart, column) for restart in range(self.restarts) for column in range(aims.shape[1])]
        for place, (restart, column) in enumerate(runs):
            progress(place * len(problem) // len(runs), len(problem))
            left = np.flatnonzero(nearest > enough)
            if not len(left):
                break
            part = problem.where(left)
            starts = self._starts(classifier, part, nearest[left], place) if restart else part.images
            state = self._walk(classifier, part, starts, aims[left, column])
            nearer = state.best_norm < nearest[left]
            kept = np.where(nearer, state.best_step, -1)
            part.recorder.add(state.seen, state.index, stride=stride_of(self.iterations), best=kept)
            best[left[nearer]], nearest[left[nearer]] = state.best[nearer], state.best_norm[nearer]
        progress(len(problem), len(problem))
        return beyond_rounding(self, classifier, problem, best)

    def _near_enough(self, classifier: Classifier) -> float:
        """The distance at which an image is left, as an attack within it verifies it; 0 where none is enough."""
        return self._enough + slack(classifier.bounds) if self._enough else 0.0

    def _aims(self, classifier: Classifier, problem: Problem) -> IntArray:
        """The class that each run goes towards, (N, runs) int32; NO_AIM for the nearest."""
        if not self.targets:
            return np.full((len(problem), 1), NO_AIM, np.int32)
        return leading(classifier, problem, self.targets, batch_size=self.batch_size)

    def _starts(self, classifier: Classifier, problem: Problem, nearest: FloatArray, place: int) -> FloatArray:
        """Random points, half as far away as the nearest example, or as what would be enough."""
        seeds = derive_seeds(self.seed, self.name, place, places=problem.places)
        whole = NORMS[self.norm].largest(classifier.input_shape, classifier.bounds)
        radius = np.minimum(nearest, self._enough or _FARTHEST * whole) / 2
        return surface_points(classifier, problem, seeds, radius, self.norm)

    def _walk(self, classifier: Classifier, problem: Problem, starts: FloatArray, aims: IntArray) -> BoundaryState:
        state = BoundaryState.begin(problem, starts, aims)
        run_active_set(
            classifier,
            ("fab", self.norm, self.targets == 0),
            lambda: boundary_steps(classifier, norm=self.norm, nearest=self.targets == 0),
            state,
            (np.int32(self.iterations), np.float32(self._near_enough(classifier))),
            members=1,
            batch_size=self.batch_size,
            progress=no_progress,
            jit_compile=False,
        )
        problem.weak.add(state.zero, state.nonfinite)
        return state
