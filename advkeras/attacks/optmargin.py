"""OptMargin (He, Li and Song, ICLR 2018, section 4): an example that stays adversarial when it is perturbed."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from advkeras.arrays import BoolArray, FloatArray
from advkeras.attacks.opt_attack import OptAttack
from advkeras.errors import require
from advkeras.models import Classifier
from advkeras.randomness import derive_seed
from advkeras.regions import orthogonal_directions
from advkeras.searches.decoupled_search import DecoupledSearch
from advkeras.searches.penalty_search import PenaltySearch
from advkeras.searches.problem import Problem, Tally


@dataclass(frozen=True, kw_only=True)
class OptMargin(OptAttack):
    """The least distortion that fools an ensemble of perturbed copies of the example (equations 3 and 4).

    The ensemble's perturbations v_i are random orthogonal directions, the same for all images and fixed throughout
    the search, and the zero vector. A candidate counts only when every member is misclassified.

    Equation (4) weighs the distance, and its minimum is what the decoupled search finds, for a fraction of the penalty
    search's gradients. The authors' code divides the squared distance by 255^2 on MNIST, too, which leaves it all but
    unminimised there: for their figures take a penalty search with that ``distance_scale``.

    Args:
        search: as of :class:`OptAttack`.
        member_rms: RMS of the perturbations, in the classifier's pixel unit.
        ensemble_size: members, the unperturbed example included.
    """

    member_rms: float
    ensemble_size: int = 20
    search: DecoupledSearch | PenaltySearch = DecoupledSearch(gradients=30)

    name: ClassVar[str] = "optmargin"
    title: ClassVar[str] = "OptMargin"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.member_rms >= 0, "member_rms must not be negative", member_rms=self.member_rms)
        require(self.ensemble_size >= 1, "ensemble_size must be at least 1", ensemble_size=self.ensemble_size)

    def members(self, classifier: Classifier) -> FloatArray:
        """The perturbations v_i, (ensemble_size, H, W, C) in pixel units, the last of them zero."""
        directions = orthogonal_directions(
            self.ensemble_size - 1,
            classifier.input_shape,
            rms=self.member_rms,
            seed=derive_seed(self.seed, self.name, "members"),
        )
        return np.concatenate([directions, np.zeros((1, *classifier.input_shape), np.float32)])

    def verify(self, classifier: Classifier, problem: Problem, candidates: FloatArray, tally: Tally) -> BoolArray:
        """Whether every member of each candidate's ensemble is misclassified by the confidence asked for."""
        fooled = self._fooled(classifier, problem, candidates, tally)
        for offset in self.members(classifier)[:-1]:
            members = candidates + offset
            if self.clip_members:
                members = np.clip(members, *classifier.bounds)
            fooled &= self._fooled(classifier, problem, members, tally)
        return fooled
