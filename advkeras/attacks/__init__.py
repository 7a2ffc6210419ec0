"""Attacks: fixed-norm (FGSM, PGD, APGD, AutoAttack, Quick, Square) and minimum-norm (Opt attacks, FAB, HopSkipJump).

Square and HopSkipJump need no gradients, only queries.
"""

from advkeras.attacks.apgd import APGD, TargetedAPGD
from advkeras.attacks.auto_attack import AutoAttack
from advkeras.attacks.base import Attack
from advkeras.attacks.carlini_wagner import OptBrittle, OptStrong
from advkeras.attacks.fab import FAB
from advkeras.attacks.families import FixedNormAttack, MinimumNormAttack
from advkeras.attacks.fgsm import FGSM
from advkeras.attacks.hopskipjump import HopSkipJump
from advkeras.attacks.optlinf import OptLinf
from advkeras.attacks.optmargin import OptMargin
from advkeras.attacks.optmimic import OptMimic
from advkeras.attacks.optregion import OptRegion
from advkeras.attacks.pgd import PGD
from advkeras.attacks.quick import QuickAttack
from advkeras.attacks.registry import configure, names, register
from advkeras.attacks.result import AttackResult
from advkeras.attacks.square import Square
from advkeras.searches.decoupled_search import DecoupledSearch
from advkeras.searches.gradients import adversarial_margin, loss_slope
from advkeras.searches.penalty_search import PenaltySearch
from advkeras.searches.problem import Problem

__all__ = [
    "APGD",
    "FAB",
    "FGSM",
    "PGD",
    "Attack",
    "AttackResult",
    "AutoAttack",
    "DecoupledSearch",
    "FixedNormAttack",
    "HopSkipJump",
    "MinimumNormAttack",
    "OptBrittle",
    "OptLinf",
    "OptMargin",
    "OptMimic",
    "OptRegion",
    "OptStrong",
    "PenaltySearch",
    "Problem",
    "QuickAttack",
    "Square",
    "TargetedAPGD",
    "adversarial_margin",
    "configure",
    "loss_slope",
    "names",
    "register",
]
