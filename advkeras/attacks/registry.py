"""The attacks by name: those of advkeras, those that other packages bring, and those that the user registers."""

import importlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeVar

from advkeras.attacks.apgd import APGD, TargetedAPGD
from advkeras.attacks.auto_attack import AutoAttack
from advkeras.attacks.base import REGISTERED, Attack
from advkeras.attacks.carlini_wagner import OptBrittle, OptStrong
from advkeras.attacks.code import run_file
from advkeras.attacks.fab import FAB
from advkeras.attacks.families import FixedNormAttack
from advkeras.attacks.fgsm import FGSM
from advkeras.attacks.hopskipjump import HopSkipJump
from advkeras.attacks.optlinf import OptLinf
from advkeras.attacks.optmargin import OptMargin
from advkeras.attacks.optmimic import OptMimic
from advkeras.attacks.optregion import OptRegion
from advkeras.attacks.pgd import PGD
from advkeras.attacks.quick import QuickAttack
from advkeras.attacks.square import Square
from advkeras.datasets.registry import MNIST, DatasetSpec
from advkeras.errors import InvalidInputError, first_line, require, unknown_name
from advkeras.parameters import annotations_of, is_plain
from advkeras.searches.norms import NORMS

# Under this name other packages declare modules that register attacks when they are imported.
ENTRY_POINTS = "advkeras.attacks"

AnyAttack = TypeVar("AnyAttack", bound=type[Attack])

# What results call images that are left as they are.
_RESERVED = ("benign",)


def register(attack: AnyAttack) -> AnyAttack:
    """Makes an attack known by its name, to :func:`configure` and to the command line; a decorator of its class.

    Args:
        attack: a dataclass below :class:`FixedNormAttack` or :class:`MinimumNormAttack`.

    Raises:
        InvalidInputError: if it is no such class, lacks a name, a title, a method or a field's default, or another
            attack has its name or title.
    """
    if not (isinstance(attack, type) and issubclass(attack, Attack)):
        raise InvalidInputError(
            f"only subclasses of FixedNormAttack and MinimumNormAttack can be registered. Received: {attack!r}"
        )
    own = "__dataclass_params__" in vars(attack)
    require(
        own and is_dataclass(attack) and attack.__dataclass_params__.frozen,  # type: ignore[attr-defined]
        f"{attack.__name__} must be a dataclass: put @dataclass(frozen=True, kw_only=True) under @register",
        attack=attack,
    )
    missing = sorted(attack.__abstractmethods__)
    require(not missing, f"{attack.__name__} lacks {', '.join(missing)}", attack=attack)
    for each in ("name", "title"):
        require(hasattr(attack, each), f"{attack.__name__} needs a {each}", attack=attack)
    require(
        attack.norm in NORMS, f"norm of {attack.__name__} must be {' or '.join(map(repr, NORMS))}", norm=attack.norm
    )
    _check_hyperparameters(attack)
    _check_unlike_the_others(attack)
    REGISTERED[attack.name] = attack
    return attack


def _check_hyperparameters(attack: type[Attack]) -> None:
    known = {field.name for field in fields(attack)}
    if attack.work and attack.work not in known and attack.work_setting is Attack.work_setting:
        raise InvalidInputError(f"work must name a hyperparameter of {attack.__name__}. Received: {attack.work!r}")
    needed = [field.name for field in fields(attack) if field.default is MISSING and field.default_factory is MISSING]
    given = attack.parameters_on(MNIST, full_search=False)
    missing = [name for name in needed if name not in given]
    require(
        not missing,
        f"{', '.join(missing)} of {attack.__name__} must have a default, or come from its parameters_on",
        attack=attack,
    )
    wanted = f"hyperparameters of {attack.__name__} must be numbers, words, and lists of them"
    for name, annotation in annotations_of(attack).items():
        require(
            is_plain(annotation),
            f"{wanted}; a field whose name begins with an underscore may be another",
            **{name: annotation},
        )
    config = attack.for_data(MNIST).get_config()
    try:
        json.dumps(config)
    except TypeError as error:
        raise InvalidInputError(f"{wanted}: {first_line(error)}. Received: {config!r}") from error


def _check_unlike_the_others(attack: type[Attack]) -> None:
    for each in ("name", "title"):
        own = getattr(attack, each)
        taken = f"the {each} {own!r} is taken"
        require(own.lower() not in _RESERVED, f"{taken}, by images that are not attacked", attack=attack)
        for other in REGISTERED.values():
            # A module that is loaded twice defines its classes twice.
            again = (other.__module__, other.__qualname__) == (attack.__module__, attack.__qualname__)
            if getattr(other, each) == own and not again:
                raise InvalidInputError(f"{taken}, by {other.__module__}.{other.__qualname__}. Received: {attack!r}")


for _attack in (
    *(FGSM, PGD, OptLinf, OptBrittle, OptMargin, OptStrong, OptRegion, OptMimic, Square, HopSkipJump),
    *(APGD, TargetedAPGD, FAB, AutoAttack, QuickAttack),
):
    register(_attack)


def load(source: str) -> None:
    """Runs a module that registers attacks: a file, or a module's name.

    Raises:
        InvalidInputError: if there is no such module, or it cannot be imported.
    """
    path = Path(source)
    with _one_line(source):
        if path.suffix == ".py" or path.is_file():
            run_file(path)
        else:
            importlib.import_module(source)


@contextmanager
def _one_line(source: str) -> Iterator[None]:
    try:
        yield
    except InvalidInputError:
        raise
    except Exception as error:
        raise InvalidInputError(f"{source} cannot be loaded: {type(error).__name__}: {first_line(error)}") from error


def names() -> tuple[str, ...]:
    """Names of the attacks."""
    _declared_elsewhere()
    return tuple(REGISTERED)


def get(name: str) -> type[Attack]:
    """The attack's class.

    Raises:
        InvalidInputError: if there is no attack of that name.
    """
    if name not in REGISTERED:
        broken = _declared_elsewhere()
        if name not in REGISTERED:
            raise InvalidInputError("; ".join([unknown_name("attack", name, tuple(REGISTERED)), *broken]))
    return REGISTERED[name]


@cache
def _declared_elsewhere() -> tuple[str, ...]:
    """Loads what installed packages declare, once; returns a line about each that cannot be loaded."""
    broken = []
    for entry in entry_points(group=ENTRY_POINTS):
        package = entry.dist.name if entry.dist else entry.value
        try:
            with _one_line(f"{package}'s {entry.value}"):
                entry.load()
        except InvalidInputError as error:
            broken.append(str(error))
    return tuple(broken)


def has_epsilon(name: str) -> bool:
    """Whether the attack stays within an epsilon, instead of looking for the least distortion."""
    return issubclass(get(name), FixedNormAttack)


def configure(
    name: str,
    spec: DatasetSpec,
    given: Mapping[str, Any] | None = None,
    /,
    *,
    full_search: bool = False,
    **overrides: Any,
) -> Attack:
    """The attack of a name, with the protocol's parameters on a data set: :meth:`Attack.for_data`.

    Args:
        name: of the attack.
        spec: the data set.
        given: see :meth:`Attack.for_data`, as for the rest.
        full_search: search as long as the paper does.
        overrides: as given, by name.

    Raises:
        InvalidInputError: if there is no such attack, or it does not have such a hyperparameter.
    """
    return get(name).for_data(spec, given, full_search=full_search, **overrides)
