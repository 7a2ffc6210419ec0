"""OptBrittle and OptStrong: the least distortion in L2 with the paper's two margins (Carlini and Wagner, S&P 2017)."""

from dataclasses import dataclass
from typing import ClassVar

from advkeras.attacks.opt_attack import OptAttack
from advkeras.parameters import NotNegative
from advkeras.searches.decoupled_search import DecoupledSearch
from advkeras.searches.penalty_search import PenaltySearch


@dataclass(frozen=True, kw_only=True)
class OptBrittle(OptAttack):
    """The least distortion that is misclassified at all: margin 0."""

    name: ClassVar[str] = "optbrittle"
    title: ClassVar[str] = "OptBrittle"


@dataclass(frozen=True, kw_only=True)
class OptStrong(OptAttack):
    """The least distortion that is misclassified with high confidence: margin 40.

    Args:
        search: as of :class:`OptAttack`.
        confidence: by how much, in logits, the wrong class must lead.
    """

    confidence: NotNegative = 40.0
    # A far margin takes long, and in the penalty search a heavy attack loss from the start.
    search: DecoupledSearch | PenaltySearch = DecoupledSearch(gradients=200, restarts=False)

    penalty: ClassVar[PenaltySearch] = PenaltySearch(
        learning_rate=0.1, initial_weight=10.0, weight_steps=3, iterations=200
    )

    name: ClassVar[str] = "optstrong"
    title: ClassVar[str] = "OptStrong"
