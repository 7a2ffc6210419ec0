"""The fast adaptive boundary attack, aimed at one wrong class after the other (Croce and Hein, ICML 2020)."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from advkeras.arrays import FloatArray, Progress, no_progress
from advkeras.attacks.families import MinimumNormAttack
from advkeras.errors import require
from advkeras.models import Classifier
from advkeras.models.counted import Passes
from advkeras.parameters import Count
from advkeras.searches.active_set import run_active_set
from advkeras.searches.fast_boundary import BoundaryState, boundary_steps
from advkeras.searches.norms import NormName
from advkeras.searches.noting import stride_of
from advkeras.searches.problem import Problem
from advkeras.searches.rivals import leading


@dataclass(frozen=True, kw_only=True)
class FAB(MinimumNormAttack):
    """Steps onto the linearised decision boundary, and back towards the image (Croce and Hein, ICML 2020, algorithm 1).

    The second of their papers of that year, with its alpha_max 0.1, eta 1.05 and beta 0.9. It aims at one wrong class
    after the other, those of the largest logits at the image first, as AutoAttack's FAB-T does; any wrong class counts.

    Args:
        iterations: steps towards each class; a step takes a gradient and a forward pass.
        targets: classes aimed at, at most.
        norm: to make small: ``"linf"``, the largest change of a pixel, or ``"l2"``.
    """

    iterations: Count = 100
    targets: Count = 9
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
        """A gradient and a forward for each step towards each class."""
        forwards, _ = super().passes
        return Passes(forwards + self.targets * self.iterations, self.targets * self.iterations)

    def run(self, classifier: Classifier, problem: Problem, progress: Progress) -> FloatArray:
        """The nearest points that fool; the image itself where nothing was found."""
        require(
            not problem.targeted, f"{self.title} chooses its targets itself: take optlinf or optbrittle", targets=True
        )
        ranked = leading(classifier, problem, self.targets, batch_size=self.batch_size)
        count = ranked.shape[1]
        best, nearest = problem.images.copy(), np.full(len(problem), np.inf, np.float32)
        for place in range(count):
            progress(place * len(problem) // count, len(problem))
            left = np.flatnonzero(nearest > self._enough)
            if not len(left):
                break
            part = problem.where(left)
            state = BoundaryState.begin(part, part.images, ranked[left, place])
            run_active_set(
                classifier,
                ("fab", self.norm),
                lambda: boundary_steps(classifier, norm=self.norm),
                state,
                (np.int32(self.iterations), np.float32(self._enough)),
                members=1,
                batch_size=self.batch_size,
                progress=no_progress,
                jit_compile=False,
            )
            part.weak.add(state.zero, state.nonfinite)
            nearer = state.best_norm < nearest[left]
            kept = np.where(nearer, state.best_step, -1)
            part.recorder.add(state.seen, state.index, stride=stride_of(self.iterations), best=kept)
            best[left[nearer]], nearest[left[nearer]] = state.best[nearer], state.best_norm[nearer]
        progress(len(problem), len(problem))
        return best
