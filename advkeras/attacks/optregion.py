"""OptRegion: the least distortion that turns the vote of region classification, attacked as it is defended."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from advkeras import regions
from advkeras.arrays import BoolArray, FloatArray, IntArray
from advkeras.attacks.surroundings import SurroundingsAttack
from advkeras.datasets.registry import DatasetSpec
from advkeras.models import Classifier
from advkeras.models.counted import Passes
from advkeras.parameters import NotNegative
from advkeras.regions import Region
from advkeras.regions.voting import Combination
from advkeras.searches.problem import Problem, fooled_by


@dataclass(frozen=True, kw_only=True)
class OptRegion(SurroundingsAttack):
    """The least distortion for which region classification is wrong.

    The decoupled search runs on fresh points of the defender's region, clipped and combined as the defender does it,
    and ends with a direction. Along it the norm is settled by larger samples. Success is judged by the vote of a last,
    independent sample. An image counts as attacked when the region's vote on it is right.

    Args:
        radius: of the defender's region, in the classifier's pixel unit.
        region: ``"hypercube"``, ``"ball"`` or ``"gaussian"``, the defender's.
        combine: ``"majority"``, ``"mean_softmax"`` or ``"mean_logits"``, the defender's.
        samples: points that the defender draws, and that the last vote draws.
        members: points drawn at each step of the search.
        share: of the points to fool, at least a half; for means, as much clearer than chance as such a share of
            votes is (:class:`RegionEnsemble`). A larger share costs distortion, and wins more of the later votes.
        gradients: of each image's points, at most.
    """

    radius: NotNegative
    region: str = "hypercube"
    combine: Combination = "majority"

    name: ClassVar[str] = "optregion"
    title: ClassVar[str] = "OptRegion"

    @classmethod
    def parameters_on(cls, spec: DatasetSpec, *, full_search: bool) -> dict[str, Any]:
        """The region, and the number of points, of region classification."""
        return {"radius": spec.region_radius, "samples": spec.region_samples}

    def surroundings(self) -> Region:
        """The defender's region."""
        return regions.get(self.region, self.radius)

    def combination(self) -> Combination:
        """As the defender."""
        return self.combine

    @property
    def passes(self) -> Passes:
        """There is a vote on the image itself, too."""
        forwards, gradients = super().passes
        return Passes(forwards + self.samples, gradients)

    def decisions(self, classifier: Classifier, problem: Problem, predictions: IntArray) -> IntArray:
        """The region's votes on images."""
        return self._votes(classifier, problem.images, problem, "benign")

    def verify(self, classifier: Classifier, problem: Problem, candidates: FloatArray) -> BoolArray:
        """Whether the vote of points that nothing else has seen is on the attacker's side.

        An image that comes back as it was is no success, though the vote on it may differ from the first one.
        """
        votes = self._votes(classifier, candidates, problem, "verification")
        turned = fooled_by(votes, problem.goals, targeted=problem.targeted)
        moved = (candidates != problem.images).any(axis=(1, 2, 3))
        return np.asarray(turned & moved)
