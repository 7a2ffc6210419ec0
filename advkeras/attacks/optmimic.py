"""OptMimic: the least distortion at which an example's surroundings, too, belong to the wrong class."""

from dataclasses import dataclass
from typing import Any, ClassVar

from advkeras.arrays import BoolArray, FloatArray
from advkeras.attacks.surroundings import Share, SurroundingsAttack
from advkeras.datasets.registry import BOUNDARY_REACH, DatasetSpec
from advkeras.models import Classifier
from advkeras.parameters import Count, Positive
from advkeras.regions import Radial, Region
from advkeras.searches.problem import Problem, fooled_by


@dataclass(frozen=True, kw_only=True)
class OptMimic(SurroundingsAttack):
    """The least distortion at which walks away from the example stay in the wrong class for as long as benign ones.

    He, Li and Song (ICLR 2018) tell adversarial examples from benign images by how near the boundary is, and leave it
    open whether an example can have the surroundings of a benign image. Here the points to be fooled lie in random
    directions, at every RMS from 0 to a reach alike, and a share of them has to be misclassified. The decoupled search
    runs on fresh points at each step, and ends with a direction; along it the norm is settled by larger samples.

    An image counts as attacked when it is classified correctly. Success is judged on the example itself and on points
    that nothing else has seen: the example has to be misclassified, and so has the vote of the points.

    Args:
        reach: largest RMS of a point's offset, in the classifier's pixel unit.
        samples: points that the last look draws.
        members: points drawn at each step of the search.
        share: of the points to fool, at least a half.
        gradients: of each image's points, at most.
    """

    reach: Positive
    samples: Count = 400
    share: Share = 0.99

    name: ClassVar[str] = "optmimic"
    title: ClassVar[str] = "OptMimic"

    @classmethod
    def parameters_on(cls, spec: DatasetSpec, *, full_search: bool) -> dict[str, Any]:
        """As far as decision boundaries are looked for."""
        return {"reach": BOUNDARY_REACH * spec.span}

    def surroundings(self) -> Region:
        """All directions, every RMS up to the reach."""
        return Radial(self.reach)

    def verify(self, classifier: Classifier, problem: Problem, candidates: FloatArray) -> BoolArray:
        """Whether the examples, and the vote of fresh points around them, are on the attacker's side."""
        itself = super().verify(classifier, problem, candidates)
        around = self._votes(classifier, candidates, problem, "verification")
        return itself & fooled_by(around, problem.goals, targeted=problem.targeted)
