"""OptMargin (He, Li and Song, ICLR 2018, section 4): an example that stays adversarial when it is perturbed."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from advkeras.arrays import BoolArray, FloatArray
from advkeras.attacks.opt_attack import OptAttack, authors_search
from advkeras.datasets.registry import DatasetSpec
from advkeras.models import Classifier
from advkeras.parameters import Count, NotNegative
from advkeras.randomness import derive_seed
from advkeras.regions import orthogonal_directions
from advkeras.searches.decoupled_search import DecoupledSearch
from advkeras.searches.penalty_search import PenaltySearch
from advkeras.searches.problem import Problem

# RMS of the perturbations v_i on each data set, as a share of the pixel range.
_MEMBER_RMS = {"mnist": 0.3, "cifar10": 8 / 255}
# What the authors' code divides the squared distance by, once pixels are scaled to [0, 1].
_DISTANCE_SCALE = {"mnist": 255.0**2, "cifar10": 1.0}
# Iterations without progress after which the quick search takes an image as finished.
_PATIENCE = 5


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

    member_rms: NotNegative
    ensemble_size: Count = 20
    search: DecoupledSearch | PenaltySearch = DecoupledSearch(gradients=30)

    name: ClassVar[str] = "optmargin"
    title: ClassVar[str] = "OptMargin"

    @classmethod
    def parameters_on(cls, spec: DatasetSpec, *, full_search: bool) -> dict[str, Any]:
        """The authors' ensemble; the decoupled search where their objective weighs the distance as equation (4) does.

        Where it does not, their penalty search; in full, or stopped when nothing improves. On the user's own images,
        the members are clipped: a model may give no answer beyond its bounds.
        """
        authors = authors_search(spec)
        authors = replace(authors, distance_scale=_DISTANCE_SCALE[spec.follows])
        ensemble = {"member_rms": _MEMBER_RMS[spec.follows] * spec.span, "clip_members": not spec.registered}
        if full_search:
            return {**ensemble, "search": authors}
        # The decoupled search ends at equation (4)'s minimum, and no other objective's.
        as_printed = authors.distance_scale == 1
        return ensemble if as_printed else {**ensemble, "search": replace(authors, patience=_PATIENCE)}

    @property
    def members_count(self) -> int:
        """The size of the ensemble."""
        return self.ensemble_size

    def members(self, classifier: Classifier) -> FloatArray:
        """The perturbations v_i, (ensemble_size, H, W, C) in pixel units, the last of them zero."""
        directions = orthogonal_directions(
            self.ensemble_size - 1,
            classifier.input_shape,
            rms=self.member_rms,
            seed=derive_seed(self.seed, self.name, "members"),
        )
        return np.concatenate([directions, np.zeros((1, *classifier.input_shape), np.float32)])

    def verify(self, classifier: Classifier, problem: Problem, candidates: FloatArray) -> BoolArray:
        """Whether every member of each candidate's ensemble is misclassified by the confidence asked for."""
        fooled = self._fooled(classifier, problem, candidates)
        for offset in self.members(classifier)[:-1]:
            members = candidates + offset
            if self.clip_members:
                members = np.clip(members, *classifier.bounds)
            fooled &= self._fooled(classifier, problem, members)
        return fooled
