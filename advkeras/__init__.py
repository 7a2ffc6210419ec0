"""Attack, defend and map the decision boundaries of image classifiers, as they are deployed.

Implements and extends "Decision Boundary Analysis of Adversarial Examples" (He, Li and Song, ICLR 2018).
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# Of its own accord TensorFlow uses oneDNN only on newer processors. A network's gradient takes 0.4 to 0.8 times as long
# with it, on those with no more than AVX2, too. And memory that a network has had and freed is given back, instead of
# kept in a pool, so that what the next one needs can be measured. Both count where TensorFlow is imported afterwards.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1")

if TYPE_CHECKING:
    from advkeras.attacks import (
        APGD,
        FAB,
        FGSM,
        PGD,
        AttackResult,
        AutoAttack,
        HopSkipJump,
        OptBrittle,
        OptLinf,
        OptMargin,
        OptMimic,
        OptRegion,
        OptStrong,
        QuickAttack,
        Square,
        TargetedAPGD,
    )
    from advkeras.defenses.region_classification import RegionClassification
    from advkeras.models import Classifier

__version__ = "0.1.0"

__all__ = [
    "APGD",
    "FAB",
    "FGSM",
    "PGD",
    "AttackResult",
    "AutoAttack",
    "Classifier",
    "HopSkipJump",
    "OptBrittle",
    "OptLinf",
    "OptMargin",
    "OptMimic",
    "OptRegion",
    "OptStrong",
    "QuickAttack",
    "RegionClassification",
    "Square",
    "TargetedAPGD",
]

_HOMES = {
    "Classifier": "advkeras.models",
    "RegionClassification": "advkeras.defenses.region_classification",
}


def __getattr__(name: str) -> Any:
    # What needs TensorFlow is imported when it is first asked for.
    if name in __all__:
        return getattr(import_module(_HOMES.get(name, "advkeras.attacks")), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
