"""AutoAttack: attacks without parameters to tune, one after the other (Croce and Hein, ICML 2020)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from advkeras.arrays import FloatArray, Progress, no_progress
from advkeras.attacks.apgd import APGD, TargetedAPGD
from advkeras.attacks.averaged import AveragedAttack
from advkeras.attacks.base import Attack
from advkeras.attacks.fab import FAB
from advkeras.attacks.square import Square
from advkeras.errors import require
from advkeras.models import Classifier
from advkeras.models.counted import Passes
from advkeras.parameters import Count
from advkeras.searches.auto_step import AutoLoss
from advkeras.searches.gradients import adversarial_margin
from advkeras.searches.norms import NormName
from advkeras.searches.problem import Problem

_SQUARE_QUERIES = 5_000
# Starts of each attack of the plus version, and answers that the rand version averages.
_STARTS, _ANSWERS = 5, 20


@dataclass(frozen=True, kw_only=True)
class AutoAttack(AveragedAttack):
    """AutoAttack: attacks without parameters to tune, each on the images that are still right.

    Croce and Hein (ICML 2020), section 4. The versions are theirs. ``standard``: APGD on cross-entropy from one start,
    APGD on the targeted difference of logits ratio (DLR) and FAB towards nine classes each, and Square with 5,000
    queries. ``plus``: APGD on cross-entropy and on DLR and FAB towards the nearest class, of five starts each, APGD and
    FAB towards nine classes, and Square, which comes last here, so that what queries alone find is known. ``rand``, for
    classifiers that answer at random: APGD on cross-entropy and on DLR, with losses and gradients averaged over 20
    answers; an image is fooled where the mean of the answers says so.

    Each attack can be had on its own, as ``apgd``, ``apgd-t``, ``fab`` and ``square``.

    Args:
        epsilon: radius of the ball, in the classifier's pixel unit: the largest change of a pixel (``linf``) or the
            Euclidean length of the change (``l2``).
        norm: ``"linf"`` or ``"l2"``.
        version: ``"standard"``, ``"plus"`` or ``"rand"``.
        iterations: steps of each run of APGD and FAB.
        targets: classes aimed at, at most.
        queries: of Square.
    """

    norm: NormName = "linf"  # type: ignore[misc]
    version: Literal["standard", "plus", "rand"] = "standard"
    iterations: Count = 100
    targets: Count = 9
    queries: Count = _SQUARE_QUERIES

    name: ClassVar[str] = "autoattack"
    title: ClassVar[str] = "AutoAttack"
    work: ClassVar[str] = "iterations"

    @property
    def answers(self) -> int:
        """Answers that are averaged."""
        return _ANSWERS if self.version == "rand" else 1

    @property
    def parts(self) -> Sequence[Attack]:
        """The attacks, in their order."""
        common: dict[str, Any] = {"seed": self.seed, "batch_size": self.batch_size, "norm": self.norm}
        runs: dict[str, Any] = {"iterations": self.iterations, **common}
        starts = _STARTS if self.version == "plus" else 1
        climbs: list[Attack] = [
            APGD(epsilon=self.epsilon, loss=loss, restarts=starts, samples=self.answers, **runs)
            for loss in get_args(AutoLoss)
        ]
        aimed: list[Attack] = [
            TargetedAPGD(epsilon=self.epsilon, targets=self.targets, **runs),
            FAB(targets=self.targets, **runs),
        ]
        square = Square(epsilon=self.epsilon, queries=self.queries, rescale=False, **common)
        chosen: dict[str, list[Attack]] = {
            "standard": [climbs[0], *aimed, square],
            "plus": [*climbs, FAB(targets=0, restarts=starts, **runs), *aimed, square],
            "rand": climbs,
        }
        parts = chosen[self.version]
        return tuple(part.to_reach(self.epsilon) if isinstance(part, FAB) else part for part in parts)

    @property
    def least_classes(self) -> int:
        """Those of its parts."""
        return max(part.least_classes for part in self.parts)

    @property
    def passes(self) -> Passes:
        """Those of all parts."""
        each = [part.passes for part in self.parts]
        return Passes(sum(one.forwards for one in each), sum(one.gradients for one in each))

    def run(self, classifier: Classifier, problem: Problem, progress: Progress) -> FloatArray:
        """What each part has found of the images that those before it have left."""
        require(not problem.targeted, f"{self.title} has no targets: take apgd", targets=True)
        best, left = problem.images.copy(), np.arange(len(problem))
        for part in self.parts:
            if not len(left):
                break
            progress(len(problem) - len(left), len(problem))
            rest = problem.where(left)
            found = part.settle(
                classifier,
                rest.images,
                np.clip(part.run(classifier, rest, no_progress), *classifier.bounds),
            )
            fooled = self._succeeds(classifier, rest, found)
            best[left[fooled]] = found[fooled]
            left = left[~fooled]
        progress(len(problem), len(problem))
        return best

    def _succeeds(self, classifier: Classifier, problem: Problem, candidates: FloatArray) -> Any:
        logits = self.mean_logits(classifier, candidates)
        margin = adversarial_margin(logits, problem.goals, targeted=False).numpy()
        return (margin > 0) & self._within(classifier, problem, candidates)
