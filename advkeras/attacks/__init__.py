"""Attacks: fixed-norm (FGSM, PGD) and minimum-norm (OptBrittle, OptStrong, OptMargin, OptRegion, OptMimic)."""

from advkeras.attacks.base import Attack, AttackResult, FixedNormAttack, MinimumNormAttack
from advkeras.attacks.carlini_wagner import OptBrittle, OptStrong
from advkeras.attacks.fgsm import FGSM
from advkeras.attacks.optmargin import OptMargin
from advkeras.attacks.optmimic import OptMimic
from advkeras.attacks.optregion import OptRegion
from advkeras.attacks.pgd import PGD
from advkeras.attacks.registry import configure, names

__all__ = [
    "FGSM",
    "PGD",
    "Attack",
    "AttackResult",
    "FixedNormAttack",
    "MinimumNormAttack",
    "OptBrittle",
    "OptMargin",
    "OptMimic",
    "OptRegion",
    "OptStrong",
    "configure",
    "names",
]
