"""OptBrittle and OptStrong: Carlini and Wagner's L2 attack (S&P 2017) with the two margins of the paper."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from advkeras.attacks.base import FloatArray, MinimumNormAttack, Problem, Progress, Tally, require
from advkeras.attacks.penalty_search import PenaltySearch
from advkeras.models import Classifier


@dataclass(frozen=True, kw_only=True)
class PenaltyAttack(MinimumNormAttack):
    """A minimum-norm attack by :class:`PenaltySearch`: its parameters, and the search on an ensemble of members.

    Args:
        learning_rate: of Adam, in the tanh variable.
        initial_weight: first weight c of the attack loss.
        weight_steps: steps of the binary search on c.
        iterations: at most so many for each weight.
        distance_scale: what the squared distance is divided by; 1 is the paper's equation (4) as printed.
        patience: iterations without progress after which an image is finished; None runs the whole search.
        clip_members: clip members to the bounds before they are classified; the authors' code does not.
    """

    learning_rate: float = 0.2
    initial_weight: float = 2.0
    weight_steps: int = 5
    iterations: int = 100
    distance_scale: float = 1.0
    patience: int | None = None
    clip_members: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
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
        search = PenaltySearch(
            confidence=self.confidence,
            learning_rate=self.learning_rate,
            initial_weight=self.initial_weight,
            weight_steps=self.weight_steps,
            iterations=self.iterations,
            distance_scale=self.distance_scale,
            clip_members=self.clip_members,
            patience=self.patience,
        )
        return search.run(
            classifier,
            problem,
            self.members(classifier),
            batch_size=self.batch_size,
            tally=tally,
            progress=progress,
        )


@dataclass(frozen=True, kw_only=True)
class OptBrittle(PenaltyAttack):
    """The least distortion that is misclassified at all: Carlini and Wagner's L2 attack with margin 0."""

    name: ClassVar[str] = "optbrittle"
    title: ClassVar[str] = "OptBrittle"


@dataclass(frozen=True, kw_only=True)
class OptStrong(PenaltyAttack):
    """The least distortion that is misclassified with high confidence: the same attack with margin 40.

    Args:
        confidence: by how much, in logits, the wrong class must lead.
    """

    # A far margin takes long, and a heavy attack loss from the start.
    confidence: float = 40.0
    learning_rate: float = 0.1
    initial_weight: float = 10.0
    weight_steps: int = 3
    iterations: int = 200

    name: ClassVar[str] = "optstrong"
    title: ClassVar[str] = "OptStrong"
