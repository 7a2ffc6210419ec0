"""Auto-PGD, with its two losses, and aimed at one wrong class after the other (Croce and Hein, ICML 2020)."""

import abc
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from advkeras.arrays import FloatArray, IntArray, Progress, no_progress
from advkeras.attacks.averaged import AveragedAttack
from advkeras.errors import require
from advkeras.models import Classifier
from advkeras.models.counted import Passes
from advkeras.parameters import Count
from advkeras.randomness import derive_seeds
from advkeras.searches.active_set import run_active_set
from advkeras.searches.auto_step import AutoLoss, AutoState, auto_steps
from advkeras.searches.ensembles import NO_AIM
from advkeras.searches.norms import NormName
from advkeras.searches.noting import stride_of
from advkeras.searches.problem import Problem
from advkeras.searches.rivals import leading
from advkeras.searches.surface import surface_points


@dataclass(frozen=True, kw_only=True)
class _AutoPGD(AveragedAttack):
    """Runs of Auto-PGD, one after the other, on the images that are still right."""

    iterations: Count = 100
    norm: NormName = "linf"  # type: ignore[misc]
    samples: Count = 1

    work: ClassVar[str] = "iterations"

    @property
    def answers(self) -> int:
        """The samples."""
        return self.samples

    @property
    @abc.abstractmethod
    def runs(self) -> int:
        """How many runs there are, at most."""

    @property
    def passes(self) -> Passes:
        """Each run takes a gradient at its start and after each step, of each sample."""
        forwards, _ = super().passes
        return Passes(forwards * self.samples, self.runs * (self.iterations + 1) * self.samples)

    def run(self, classifier: Classifier, problem: Problem, progress: Progress) -> FloatArray:
        """The points of the largest margin that were met."""
        best, margin = problem.images.copy(), np.full(len(problem), -np.inf, np.float32)
        ranked = self._ranked(classifier, problem)
        for place in range(ranked.shape[1]):
            left = np.flatnonzero(~(margin > 0))
            progress(place * len(problem) // ranked.shape[1], len(problem))
            if not len(left):
                break
            points, reached = self._climb(classifier, problem.where(left), ranked[left, place], place)
            better = reached > margin[left]
            best[left[better]], margin[left[better]] = points[better], reached[better]
        progress(len(problem), len(problem))
        return best

    @abc.abstractmethod
    def _ranked(self, classifier: Classifier, problem: Problem) -> IntArray:
        """The class that each run aims at, (N, runs) int32; NO_AIM for none."""

    @abc.abstractmethod
    def _loss(self) -> AutoLoss:
        """What the runs climb."""

    def _climb(
        self, classifier: Classifier, problem: Problem, aims: IntArray, place: int
    ) -> tuple[FloatArray, FloatArray]:
        """One run: the points of the largest margin, and that margin."""
        epsilon, loss = self.within(classifier), self._loss()
        seeds = derive_seeds(self.seed, self.name, place, places=problem.places)
        starts = surface_points(classifier, problem, seeds, epsilon, self.norm)
        state = AutoState.begin(problem, starts, aims)
        run_active_set(
            classifier,
            ("auto-pgd", self.norm, loss, self.iterations, self.samples, problem.targeted),
            lambda: auto_steps(
                classifier,
                iterations=self.iterations,
                norm=self.norm,
                loss=loss,
                targeted=problem.targeted,
                samples=self.samples,
            ),
            state,
            (np.float32(epsilon),),
            members=1,
            batch_size=self.batch_size,
            progress=no_progress,
            jit_compile=False,
        )
        problem.weak.add(state.zero, state.nonfinite)
        problem.recorder.add(state.seen, state.index, stride=stride_of(self.iterations + 1))
        return state.found, state.margin


@dataclass(frozen=True, kw_only=True)
class APGD(_AutoPGD):
    """Auto-PGD: steps along a loss's gradient whose length follows the loss (Croce and Hein, ICML 2020, algorithm 1).

    The first step is 2 epsilon long. After 22, 41, 57, 70, 80, 87, 93 and 99% of the steps it is halved, and the path
    goes on from the best point, where the loss has risen too rarely or the best has not changed. An image leaves at the
    first point that fools.

    Args:
        epsilon: radius of the ball, in the classifier's pixel unit: the largest change of a pixel (``linf``) or the
            Euclidean length of the change (``l2``).
        iterations: steps of each run; there is one gradient more.
        norm: ``"linf"`` or ``"l2"``.
        samples: answers whose losses and gradients are averaged at each point, for a classifier that answers at random.
        loss: ``"cross_entropy"``, or ``"dlr"``, the difference of logits ratio.
        restarts: runs, each from a random point of the ball's surface.
    """

    loss: AutoLoss = "cross_entropy"
    restarts: Count = 1

    name: ClassVar[str] = "apgd"
    title: ClassVar[str] = "APGD"

    @property
    def least_classes(self) -> int:
        """Three for the difference of logits ratio."""
        return 3 if self.loss == "dlr" else super().least_classes

    @property
    def runs(self) -> int:
        """The restarts."""
        return self.restarts

    def _ranked(self, classifier: Classifier, problem: Problem) -> IntArray:
        return np.full((len(problem), self.restarts), NO_AIM, np.int32)

    def _loss(self) -> AutoLoss:
        return self.loss


@dataclass(frozen=True, kw_only=True)
class TargetedAPGD(_AutoPGD):
    """Auto-PGD towards one wrong class after the other, those of the largest logits at the image first.

    The loss is the targeted difference of logits ratio (Croce and Hein, ICML 2020, equation 7). Any wrong class counts
    as a success. AutoAttack calls it APGD-T.

    Args:
        epsilon: radius of the ball, in the classifier's pixel unit: the largest change of a pixel (``linf``) or the
            Euclidean length of the change (``l2``).
        iterations: steps of each run; there is one gradient more.
        norm: ``"linf"`` or ``"l2"``.
        samples: answers whose losses and gradients are averaged at each point, for a classifier that answers at random.
        targets: classes aimed at, at most.
    """

    targets: Count = 9

    name: ClassVar[str] = "apgd-t"
    title: ClassVar[str] = "APGD-T"

    @property
    def least_classes(self) -> int:
        """Four: the targeted ratio looks at the fourth logit."""
        return 4

    @property
    def runs(self) -> int:
        """One for each target."""
        return self.targets

    def run(self, classifier: Classifier, problem: Problem, progress: Progress) -> FloatArray:
        """The points of the largest margin that were met."""
        require(not problem.targeted, f"{self.title} chooses its targets itself: take apgd", targets=True)
        return super().run(classifier, problem, progress)

    def _ranked(self, classifier: Classifier, problem: Problem) -> IntArray:
        return leading(classifier, problem, self.targets, batch_size=self.batch_size)

    def _loss(self) -> AutoLoss:
        return "dlr"
