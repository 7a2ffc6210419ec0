"""OptLinf: the least change of any pixel, L-inf, that is misclassified; one run gives the accuracy at every epsilon."""

from dataclasses import dataclass
from typing import ClassVar

from advkeras.attacks.opt_attack import OptAttack
from advkeras.searches.decoupled_search import DecoupledSearch
from advkeras.searches.norms import NormName
from advkeras.searches.penalty_search import PenaltySearch


@dataclass(frozen=True, kw_only=True)
class OptLinf(OptAttack):
    """The least L-inf distortion that is misclassified at all.

    It has neither an epsilon nor a step that would have to fit the model: whether an image is right within an epsilon
    follows for every epsilon from its least distortion.

    Args:
        search: a :class:`DecoupledSearch` with the norm ``"linf"``.
    """

    search: DecoupledSearch | PenaltySearch = DecoupledSearch(gradients=100, norm="linf")

    norm: ClassVar[NormName] = "linf"
    name: ClassVar[str] = "optlinf"
    title: ClassVar[str] = "OptLinf"
