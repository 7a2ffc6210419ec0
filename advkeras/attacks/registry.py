"""The attacks by name: those of advkeras, those that other packages bring, and those that the user registers."""

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeVar

from advkeras.attacks.base import Attack, FixedNormAttack
from advkeras.attacks.carlini_wagner import OptBrittle, OptStrong
from advkeras.attacks.fgsm import FGSM
from advkeras.attacks.hopskipjump import HopSkipJump
from advkeras.attacks.optlinf import OptLinf
from advkeras.attacks.optmargin import OptMargin
from advkeras.attacks.optmimic import OptMimic
from advkeras.attacks.optregion import OptRegion
from advkeras.attacks.pgd import PGD
from advkeras.attacks.square import Square
from advkeras.datasets.registry import DatasetSpec
from advkeras.errors import InvalidInputError, first_line, require, unknown_name

# Under this name other packages declare modules that register attacks when they are imported.
ENTRY_POINTS = "advkeras.attacks"

AnyAttack = TypeVar("AnyAttack", bound=type[Attack])

_REGISTRY: dict[str, type[Attack]] = {}


def register(attack: AnyAttack) -> AnyAttack:
    """Makes an attack known by its name, to :func:`configure` and to the command line; a decorator of its class.

    Args:
        attack: a dataclass below :class:`FixedNormAttack` or :class:`MinimumNormAttack`.

    Raises:
        InvalidInputError: if it is no such class, lacks a name, a title or a method, or another attack has its name.
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
    known = {field.name for field in fields(attack)}
    if attack.work and attack.work not in known and attack.work_setting is Attack.work_setting:
        raise InvalidInputError(f"work must name a hyperparameter of {attack.__name__}. Received: {attack.work!r}")
    other = _REGISTRY.get(attack.name)
    # A module that is loaded twice defines its classes twice.
    if other is not None and (other.__module__, other.__qualname__) != (attack.__module__, attack.__qualname__):
        raise InvalidInputError(
            f"the name {attack.name!r} is taken, by {other.__module__}.{other.__qualname__}. Received: {attack!r}"
        )
    _REGISTRY[attack.name] = attack
    return attack


for _attack in (FGSM, PGD, OptLinf, OptBrittle, OptMargin, OptStrong, OptRegion, OptMimic, Square, HopSkipJump):
    register(_attack)


def load(source: str) -> None:
    """Runs a module that registers attacks: a file, or a module's name.

    Raises:
        InvalidInputError: if there is no such module, or it cannot be imported.
    """
    path = Path(source)
    try:
        if path.suffix == ".py" or path.is_file():
            spec = importlib.util.spec_from_file_location(f"_loaded_{path.stem}", path)
            if spec is None or spec.loader is None:
                raise InvalidInputError(f"{source} is no Python file")
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module
            spec.loader.exec_module(module)
        else:
            importlib.import_module(source)
    except InvalidInputError:
        raise
    except Exception as error:
        raise InvalidInputError(f"{source} cannot be loaded: {type(error).__name__}: {first_line(error)}") from error


def names() -> tuple[str, ...]:
    """Names of the attacks."""
    return tuple(_all())


def get(name: str) -> type[Attack]:
    """The attack's class.

    Raises:
        InvalidInputError: if there is no attack of that name.
    """
    known = _all()
    if name not in known:
        raise InvalidInputError(unknown_name("attack", name, tuple(known)))
    return known[name]


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


def _all() -> dict[str, type[Attack]]:
    for entry in entry_points(group=ENTRY_POINTS):
        if entry.value not in _LOADED:
            _LOADED.add(entry.value)
            load(entry.value)
    return _REGISTRY


_LOADED: set[str] = set()
