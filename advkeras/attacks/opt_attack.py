"""What OptBrittle, OptStrong and OptMargin share: an ensemble of fixed members, and two ways of searching."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from advkeras.arrays import FloatArray, Progress
from advkeras.attacks.base import MinimumNormAttack
from advkeras.errors import require
from advkeras.models import Classifier
from advkeras.searches.decoupled_search import DecoupledSearch
from advkeras.searches.ensembles import FixedEnsemble
from advkeras.searches.penalty_search import PenaltySearch
from advkeras.searches.problem import Problem, Tally

# How often, and by what share of its distortion, a candidate that rounding undoes is moved outwards.
_PUSHES, _PUSH = 3, 1e-3

SEARCHES: dict[str, type[DecoupledSearch | PenaltySearch]] = {
    search.kind: search for search in (DecoupledSearch, PenaltySearch)
}


@dataclass(frozen=True, kw_only=True)
class OptAttack(MinimumNormAttack):
    """A minimum-norm attack on an ensemble of fixed members, by either search.

    Args:
        search: a :class:`DecoupledSearch`, direction and norm apart, or a :class:`PenaltySearch`, the paper's equation
            (4) with a binary search on c.
        clip_members: clip members to the bounds before they are classified; the authors' code does not.

    Attributes:
        penalty: the penalty search's parameters, for those who want that search and nothing else said.
        norm: that the attack makes small.
    """

    search: DecoupledSearch | PenaltySearch = DecoupledSearch(gradients=200)
    clip_members: bool = False

    penalty: ClassVar[PenaltySearch] = PenaltySearch()
    norm: ClassVar[str] = "l2"

    def __post_init__(self) -> None:
        super().__post_init__()
        known = isinstance(self.search, tuple(SEARCHES.values()))
        require(known, "search must be a DecoupledSearch or a PenaltySearch", search=self.search)
        require(
            self.search.norm == self.norm,
            f"{self.title} needs a search of the norm {self.norm!r}",
            norm=self.search.norm,
        )

    def members(self, classifier: Classifier) -> FloatArray:
        """The perturbations v_i of the ensemble, (M, H, W, C) in pixel units; by default the image alone."""
        return np.zeros((1, *classifier.input_shape), np.float32)

    def run(self, classifier: Classifier, problem: Problem, tally: Tally, progress: Progress) -> FloatArray:
        """Candidates of least distortion; the image itself where nothing was found."""
        candidates = self.candidates(classifier, problem, tally, progress)
        return self._beyond_rounding(classifier, problem, candidates, tally)

    def candidates(self, classifier: Classifier, problem: Problem, tally: Tally, progress: Progress) -> FloatArray:
        """What the search finds, (N, H, W, C), before anything is verified."""
        ensemble = FixedEnsemble(
            bounds=classifier.bounds,
            targeted=problem.targeted,
            offsets=self.members(classifier),
            clip=self.clip_members,
            confidence=self.confidence,
        )
        return self.search.run(
            classifier,
            problem,
            ensemble,
            seed=self.seed,
            batch_size=self.batch_size,
            tally=tally,
            progress=progress,
            jit_compile=self.jit_compile,
        )

    def _beyond_rounding(
        self, classifier: Classifier, problem: Problem, candidates: FloatArray, tally: Tally
    ) -> FloatArray:
        """Candidates, those moved outwards a little that only rounding kept on the attacker's side.

        The search and the verification add up in another order. How far that moves logits has no scale that is known.
        """
        found = np.flatnonzero((candidates != problem.images).any(axis=(1, 2, 3)))
        for _ in range(_PUSHES):
            found = (
                found[~self.verify(classifier, problem.where(found), candidates[found], tally)] if len(found) else found
            )
            images = problem.images[found]
            candidates[found] = np.clip(images + (1 + _PUSH) * (candidates[found] - images), *classifier.bounds)
        return candidates

    @property
    def work_setting(self) -> tuple[str, int]:
        """The search's hyperparameter that says how much it does, and its value."""
        return self.search.work, getattr(self.search, self.search.work)

    def with_work(self, factor: int) -> Self:
        """The same attack with so many times the search's work for each image."""
        return replace(self, search=self.search.with_work(factor))

    def get_config(self) -> dict[str, Any]:
        """The hyperparameters, as plain values; the search as a dictionary that says its kind."""
        config = super().get_config()
        return {**config, "search": {"kind": self.search.kind, **config["search"]}}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The attack with those hyperparameters."""
        search = dict(config["search"])
        return cls(**{**config, "search": SEARCHES[search.pop("kind")](**search)})
