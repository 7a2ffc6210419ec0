"""The attacks by name, and their parameters on a data set."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, get_args

from advkeras.attacks.base import Attack, FixedNormAttack
from advkeras.attacks.carlini_wagner import OptBrittle, OptStrong
from advkeras.attacks.fgsm import FGSM
from advkeras.attacks.hopskipjump import HopSkipJump
from advkeras.attacks.opt_attack import SEARCHES, OptAttack
from advkeras.attacks.optlinf import OptLinf
from advkeras.attacks.optmargin import OptMargin
from advkeras.attacks.optmimic import OptMimic
from advkeras.attacks.optregion import OptRegion
from advkeras.attacks.pgd import PGD
from advkeras.attacks.square import Square
from advkeras.datasets.registry import ProtocolConstants
from advkeras.errors import InvalidInputError, unknown_name
from advkeras.searches.penalty_search import PenaltySearch

_REGISTRY: dict[str, type[Attack]] = {
    attack.name: attack
    for attack in (FGSM, PGD, OptLinf, OptBrittle, OptMargin, OptStrong, OptRegion, OptMimic, Square, HopSkipJump)
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


def configure(
    name: str,
    constants: ProtocolConstants,
    given: Mapping[str, Any] | None = None,
    /,
    *,
    full_search: bool = False,
    **overrides: Any,
) -> Attack:
    """The attack with the protocol's parameters on a data set.

    Args:
        name: of the attack.
        constants: of the data set, in its pixel unit.
        full_search: the paper's penalty search of 4 x 1,000 iterations. Otherwise OptMargin's penalty search stops
            when nothing improves, and OptBrittle and OptStrong have the decoupled search.
        given: hyperparameters of the attack, or of its search, to use instead; those that are None stay at the
            default. ``search`` is the search's kind.
        overrides: the same, by name.

    Raises:
        InvalidInputError: if there is no such attack, or it does not have such a hyperparameter.
    """
    attack = get(name)
    changed = {parameter: value for parameter, value in {**(given or {}), **overrides}.items() if value is not None}
    parameters = _parameters(attack, constants, full_search)
    if issubclass(attack, OptAttack):
        parameters["search"] = _search(attack, parameters, changed)
    _check_types(name, attack, changed)
    return attack(**{**parameters, **changed})


def _search(attack: type[OptAttack], parameters: dict[str, Any], given: dict[str, Any]) -> Any:
    """The attack's search, with what is given for it, which is taken out of the rest."""
    search = parameters.get("search", _default_of(attack, "search"))
    kind = given.pop("search", search.kind)
    if kind not in SEARCHES:
        raise InvalidInputError(unknown_name("search", str(kind), tuple(SEARCHES)))
    if kind != search.kind:
        search = attack.penalty if kind == PenaltySearch.kind else _default_of(attack, "search")
    own = {field.name for field in fields(attack)}
    others = {field.name for kind in SEARCHES.values() for field in fields(kind)} - own
    chosen = {parameter: given.pop(parameter) for parameter in tuple(given) if parameter in others}
    _check_types(f"{attack.name}'s {kind} search", type(search), chosen)
    return replace(search, **chosen)


def _default_of(attack: type[OptAttack], name: str) -> Any:
    return next(field.default for field in fields(attack) if field.name == name)


def _check_types(name: str, owner: Any, given: dict[str, Any]) -> None:
    """Holds values that may come from a command line against the parameters of an attack or a search."""
    types = {field.name: field.type for field in fields(owner)}
    for parameter, value in given.items():
        if parameter not in types:
            raise InvalidInputError(unknown_name(f"parameter of {name}", parameter, tuple(types)))
        _check_type(parameter, value, types[parameter])


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
    if issubclass(attack, FixedNormAttack):
        madry = {"step": constants.pgd_step, "iterations": constants.pgd_iterations, "loss": "cross_entropy"}
        return {"epsilon": constants.epsilon, **(madry if full_search and attack is PGD else {})}
    if attack is OptRegion:
        return {"radius": constants.region_radius, "samples": constants.region_samples}
    if attack is OptMimic:
        return {"reach": constants.boundary_reach}
    authors = PenaltySearch(
        learning_rate=constants.learning_rate, initial_weight=constants.initial_weight, **_FULL_SEARCH
    )
    if attack is OptMargin:
        authors = replace(authors, distance_scale=constants.distance_scale)
        parameters = {
            "member_rms": constants.member_rms,
            "ensemble_size": constants.ensemble_size,
            "clip_members": constants.clip_members,
        }
        if full_search:
            return {**parameters, "search": authors}
        # The decoupled search ends at equation (4)'s minimum, and no other objective's.
        as_printed = constants.distance_scale == 1
        return parameters if as_printed else {**parameters, "search": replace(authors, patience=_PATIENCE)}
    return {"search": authors} if full_search and attack in (OptBrittle, OptStrong) else {}
