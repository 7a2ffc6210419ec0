"""OptBrittle and OptStrong: the least distortion in L2 with the paper's two margins (Carlini and Wagner, S&P 2017)."""

from dataclasses import dataclass
from typing import ClassVar

from advkeras.attacks.opt_attack import OptAttack


@dataclass(frozen=True, kw_only=True)
class OptBrittle(OptAttack):
    """The least distortion that is misclassified at all: margin 0."""

    # 100 steps end at 1% less distortion on a naturally trained network and at 8% less on an adversarially trained one.
    steps: int = 40

    name: ClassVar[str] = "optbrittle"
    title: ClassVar[str] = "OptBrittle"


@dataclass(frozen=True, kw_only=True)
class OptStrong(OptAttack):
    """The least distortion that is misclassified with high confidence: margin 40.

    Args:
        confidence: by how much, in logits, the wrong class must lead.
    """

    # A far margin takes long, and in the penalty search a heavy attack loss from the start.
    confidence: float = 40.0
    steps: int = 80
    learning_rate: float = 0.1
    initial_weight: float = 10.0
    weight_steps: int = 3
    iterations: int = 200

    name: ClassVar[str] = "optstrong"
    title: ClassVar[str] = "OptStrong"
