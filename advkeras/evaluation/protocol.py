"""What an evaluation runs, as data: models x attacks x images, with the protocol's parameters."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from advkeras.attacks import registry
from advkeras.attacks.base import Attack
from advkeras.boundary import BoundarySearch
from advkeras.datasets import DatasetSpec
from advkeras.errors import InvalidInputError
from advkeras.parameters import NotNegative, Seed, held

# Directions along which boundaries are looked for without the paper's protocol.
# They show what the paper's search shows (benchmarks/directions.py).
_QUICK_DIRECTIONS, _QUICK_STRIDE = 400, 5

Mode = Literal["quick", "paper"]
MODES: tuple[Mode, ...] = ("quick", "paper")
# In the order of the paper's tables, the attack that it does not have in its place among its kind.
TABLE_ATTACKS = ("fgsm", "pgd", "optlinf", "optbrittle", "optmargin", "optstrong", "optregion")


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What an evaluation runs on each model.

    Attributes:
        mode: ``quick`` gives searches as much work as it takes for their figures to settle; ``paper`` runs the authors'
            4 x 1,000 iterations, and PGD as Madry et al. do.
        attacks: configured for the data set.
        epsilon: L-inf, in pixel units, at which the accuracy that is left is told.
        region_radius: of region classification, in pixel units.
        region_samples: points that region classification draws for each image.
        seed: of all the randomness.
    """

    mode: Mode
    attacks: tuple[Attack, ...]
    epsilon: float
    region_radius: float
    region_samples: int
    seed: int

    @classmethod
    def build(
        cls,
        spec: DatasetSpec,
        *,
        mode: str = "quick",
        attacks: Sequence[str] = (),
        parameters: Mapping[str, Mapping[str, Any]] | None = None,
        epsilon: float | None = None,
        radius: float | None = None,
        seed: int = 0,
    ) -> "Protocol":
        """The paper's protocol on a data set.

        Args:
            spec: the data set.
            mode: ``quick`` or ``paper``.
            attacks: names; those of the paper's tables by default.
            parameters: for an attack's name, hyperparameters to use instead of the protocol's.
            epsilon: of the attacks that have one, in pixel units; the protocol's by default.
            radius: of region classification, in pixel units; the protocol's by default.
            seed: of all the randomness.

        Raises:
            InvalidInputError: if the mode or an attack is unknown, or a value makes no sense.
        """
        if mode not in MODES:
            raise InvalidInputError(f"unknown protocol {mode!r}: known are {', '.join(MODES)}")
        seed = held("seed", seed, Seed)
        epsilon, radius = held("epsilon", epsilon, NotNegative | None), held("radius", radius, NotNegative | None)
        chosen = tuple(dict.fromkeys(attacks)) or TABLE_ATTACKS
        for name in chosen:
            registry.get(name)
        changed = parameters or {}
        for name in changed:
            if name not in chosen:
                raise InvalidInputError(f"parameters of {name}, which is not run: it runs {', '.join(chosen)}")
        spec = spec if radius is None else replace(spec, region_radius=radius)
        return cls(
            mode="paper" if mode == "paper" else "quick",
            attacks=tuple(
                registry.configure(
                    name,
                    spec,
                    {
                        "seed": seed,
                        "epsilon": epsilon if registry.has_epsilon(name) else None,
                        **changed.get(name, {}),
                    },
                    full_search=mode == "paper",
                )
                for name in chosen
            ),
            epsilon=spec.epsilon if epsilon is None else epsilon,
            region_radius=spec.region_radius,
            region_samples=spec.region_samples,
            seed=seed,
        )


def boundary_search(
    spec: DatasetSpec, *, mode: Mode = "quick", directions: int | None = None, reach: float | None = None, seed: int = 0
) -> BoundarySearch:
    """The protocol's search for decision boundaries on a data set.

    Args:
        spec: the data set.
        mode: ``paper`` takes as many directions as the paper and looks at every step; ``quick`` takes 400 of them with
            a stride of 5 steps. Neither takes more than the images have.
        directions: another number.
        reach: another RMS, in pixel units, up to which boundaries are looked for.
        seed: of the directions.
    """
    paper = BoundarySearch.paper(spec, seed=seed)
    features = math.prod(spec.shape)
    most = min(paper.directions, 2 * features if paper.negatives else features)
    usual = most if mode == "paper" else min(most, _QUICK_DIRECTIONS)
    return replace(
        paper,
        directions=usual if directions is None else directions,
        reach=paper.reach if reach is None else reach,
        stride=1 if mode == "paper" else _QUICK_STRIDE,
    )
