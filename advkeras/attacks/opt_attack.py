"""What OptBrittle, OptStrong and OptMargin share: an ensemble of fixed members, and two ways of searching."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from advkeras.attacks.base import FloatArray, MinimumNormAttack, Problem, Progress, Tally, require
from advkeras.attacks.decoupled_search import DecoupledSearch
from advkeras.attacks.ensembles import FixedEnsemble
from advkeras.attacks.penalty_search import PenaltySearch
from advkeras.models import Classifier

Search = Literal["decoupled", "penalty"]


@dataclass(frozen=True, kw_only=True)
class OptAttack(MinimumNormAttack):
    """A minimum-norm attack on an ensemble of fixed members, by either search.

    Args:
        search: ``"decoupled"``, direction and norm apart (:class:`DecoupledSearch`), or ``"penalty"``, the paper's
            equation (4) with a binary search on c (:class:`PenaltySearch`).
        steps: of the decoupled search.
        learning_rate: of the penalty search's Adam, in the tanh variable.
        initial_weight: of the penalty search, the first weight c of the attack loss.
        weight_steps: of the penalty search's binary search on c.
        iterations: of the penalty search, at most so many for each weight.
        distance_scale: what the penalty search divides the squared distance by; 1 is equation (4) as printed, and the
            authors' code has 255^2.
        patience: iterations without progress after which the penalty search takes an image as finished; None runs
            the whole search.
        clip_members: clip members to the bounds before they are classified; the authors' code does not.
    """

    search: Search = "decoupled"
    steps: int = 50
    learning_rate: float = 0.2
    initial_weight: float = 2.0
    weight_steps: int = 5
    iterations: int = 100
    distance_scale: float = 1.0
    patience: int | None = None
    clip_members: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.search in get_args(Search), "search must be 'decoupled' or 'penalty'", search=self.search)
        require(self.steps >= 1, "steps must be at least 1", steps=self.steps)
        require(self.learning_rate > 0, "learning_rate must be positive", learning_rate=self.learning_rate)
        require(self.initial_weight > 0, "initial_weight must be positive", initial_weight=self.initial_weight)
        require(self.weight_steps >= 1, "weight_steps must be at least 1", weight_steps=self.weight_steps)
        require(self.iterations >= 1, "iterations must be at least 1", iterations=self.iterations)
        require(self.distance_scale > 0, "distance_scale must be positive", distance_scale=self.distance_scale)
        require(self.patience is None or self.patience >= 1, "patience must be at least 1", patience=self.patience)

    def members(self, classifier: Classifier) -> FloatArray:
        """The perturbations v_i of the ensemble, (M, H, W, C) in pixel units; by default the image alone."""
        return np.zeros((1, *classifier.input_shape), np.float32)

    def run(self, classifier: Classifier, problem: Problem, tally: Tally, progress: Progress) -> FloatArray:
        """Candidates of least distortion; the image itself where nothing was found."""
        ensemble = FixedEnsemble(
            bounds=classifier.bounds,
            targeted=problem.targeted,
            offsets=self.members(classifier),
            clip=self.clip_members,
            confidence=self.confidence,
        )
        common: dict[str, Any] = {
            "key": (self, problem.targeted),
            "batch_size": self.batch_size,
            "tally": tally,
            "progress": progress,
        }
        if self.search == "decoupled":
            decoupled = DecoupledSearch(iterations=self.steps, jit_compile=self.jit_compile)
            return np.asarray(decoupled.run(classifier, problem, ensemble, **common).best)
        penalty = PenaltySearch(
            learning_rate=self.learning_rate,
            initial_weight=self.initial_weight,
            weight_steps=self.weight_steps,
            iterations=self.iterations,
            distance_scale=self.distance_scale,
            patience=self.patience,
            jit_compile=self.jit_compile,
        )
        return penalty.run(classifier, problem, ensemble, **common)
