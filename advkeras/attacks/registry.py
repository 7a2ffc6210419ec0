"""The attacks by name, and their parameters on a data set."""

from dataclasses import fields
from typing import Any, get_args

from advkeras.attacks.base import Attack, FixedNormAttack
from advkeras.attacks.carlini_wagner import OptBrittle, OptStrong
from advkeras.attacks.fgsm import FGSM
from advkeras.attacks.hopskipjump import HopSkipJump
from advkeras.attacks.opt_attack import OptAttack
from advkeras.attacks.optmargin import OptMargin
from advkeras.attacks.optmimic import OptMimic
from advkeras.attacks.optregion import OptRegion
from advkeras.attacks.pgd import PGD
from advkeras.attacks.square import Square
from advkeras.datasets.registry import ProtocolConstants
from advkeras.errors import InvalidInputError, unknown_name

_REGISTRY: dict[str, type[Attack]] = {
    attack.name: attack
    for attack in (FGSM, PGD, OptBrittle, OptMargin, OptStrong, OptRegion, OptMimic, Square, HopSkipJump)
}
# The authors' search: 4 weights with at most 1,000 iterations each.
_FULL_SEARCH = {"weight_steps": 4, "iterations": 1_000}
# Iterations without progress after which OptMargin's quick search takes an image as finished.
_PATIENCE = 5


def names() -> tuple[str, ...]:
    """Names of the attacks."""
    return tuple(_REGISTRY)


def get(name: str) -> type[Attack]:
    """The attack's class.

    Raises:
        InvalidInputError: if there is no attack of that name.
    """
    if name not in _REGISTRY:
        raise InvalidInputError(unknown_name("attack", name, names()))
    return _REGISTRY[name]


def has_epsilon(name: str) -> bool:
    """Whether the attack stays within an epsilon, instead of looking for the least distortion."""
    return issubclass(get(name), FixedNormAttack)


def configure(name: str, constants: ProtocolConstants, *, full_search: bool = False, **overrides: Any) -> Attack:
    """The attack with the protocol's parameters on a data set.

    Args:
        name: of the attack.
        constants: of the data set, in its pixel unit.
        full_search: the paper's penalty search of 4 x 1,000 iterations. Otherwise OptMargin's penalty search stops
            when nothing improves, and OptBrittle and OptStrong have the decoupled search.
        overrides: hyperparameters of the attack to use instead; those that are None stay at the default. With
            another epsilon PGD's step grows or shrinks in proportion, unless it is given, too.

    Raises:
        InvalidInputError: if there is no such attack, or it does not have such a hyperparameter.
    """
    attack = get(name)
    types = {field.name: field.type for field in fields(attack)}
    given = {parameter: value for parameter, value in overrides.items() if value is not None}
    for parameter, value in given.items():
        if parameter not in types:
            raise InvalidInputError(unknown_name(f"parameter of {name}", parameter, tuple(types)))
        _check_type(parameter, value, types[parameter])
    if attack is PGD and "epsilon" in given and "step" not in given and constants.epsilon:
        # As many steps must be able to cross the ball, whatever its size; a ball of radius 0 still needs some step.
        given["step"] = constants.pgd_step * float(given["epsilon"] or constants.epsilon) / constants.epsilon
    return attack(**{**_parameters(attack, constants, full_search), **given})


def _check_type(parameter: str, value: Any, annotation: Any) -> None:
    """Holds a value that may come from a command line against the hyperparameter's type."""
    kinds = get_args(annotation) or (annotation,)
    for kind, accepted, words in (
        (bool, bool, "true or false"),
        (int, int, "a whole number"),
        (float, int | float, "a number"),
    ):
        if kind in kinds and (not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool)):
            raise InvalidInputError(f"{parameter} must be {words}. Received: {value!r}")


def _parameters(attack: type[Attack], constants: ProtocolConstants, full_search: bool) -> dict[str, Any]:
    if attack in (FGSM, Square):
        return {"epsilon": constants.epsilon}
    if attack is PGD:
        return {
            "epsilon": constants.epsilon,
            "step": constants.pgd_step,
            "iterations": constants.pgd_iterations,
        }
    if attack is OptRegion:
        return {"radius": constants.region_radius, "samples": constants.region_samples}
    if attack is OptMimic:
        return {"reach": constants.boundary_reach}
    authors = {"learning_rate": constants.learning_rate, "initial_weight": constants.initial_weight, **_FULL_SEARCH}
    if attack is OptMargin:
        return authors | {
            "member_rms": constants.member_rms,
            "ensemble_size": constants.ensemble_size,
            "distance_scale": constants.distance_scale,
            "patience": None if full_search else _PATIENCE,
        }
    return {"search": "penalty", **authors} if full_search and issubclass(attack, OptAttack) else {}
