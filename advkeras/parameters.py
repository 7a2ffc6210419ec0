"""What values may be: said once, in a parameter's annotation, and held by constructors and the command line alike."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
from annotated_types import Interval

from advkeras.errors import InvalidInputError, require

# Whole numbers are int32 in graphs; no pixel is larger than that.
LARGEST_WHOLE = 2**31 - 1
_LARGEST = 1e9

AT_LEAST_ONE, NOT_NEGATIVE, POSITIVE = Interval(ge=1), Interval(ge=0), Interval(gt=0)
Count = Annotated[int, AT_LEAST_ONE]
WholeNumber = Annotated[int, NOT_NEGATIVE]
Seed = Annotated[int, Interval(ge=0, lt=2**32)]
Positive = Annotated[float, POSITIVE]
NotNegative = Annotated[float, NOT_NEGATIVE]
BelowOne = Annotated[float, Interval(ge=0, lt=1)]
WithinOne = Annotated[float, Interval(gt=0, lt=1)]

_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a word", type(None): "none"}
_ACCEPTED: dict[Any, tuple[type, ...]] = {float: (int, float)}


def held(name: str, value: Any, annotation: Any) -> Any:
    """A value that a parameter may have, NumPy's numbers as Python's own.

    Args:
        name: of the parameter, for the message.
        value: that it is given.
        annotation: of the parameter. Numbers may have an interval in it, ``Annotated[int, Interval(ge=1)]``; without
            one they must be finite and no larger than arithmetic in graphs takes. Types that are neither numbers,
            words nor literals are not looked at.

    Raises:
        InvalidInputError: if the value is of another type, or out of bounds.
    """
    value = value.item() if isinstance(value, np.generic) else value
    members = _members(annotation)
    kinds = [kind for kind, _ in members]
    if not all(kind in _WORDS or get_origin(kind) is Literal for kind in kinds):
        return value
    fitting = [interval for kind, interval in members if _fits(value, kind)]
    if not fitting:
        raise InvalidInputError(f"{name} must be {_wanted(kinds)}. Received: {name}={value!r}")
    if isinstance(value, int | float) and not isinstance(value, bool):
        _hold_number(name, value, fitting[0])
    return value


def hold_fields(owner: Any) -> None:
    """Holds the fields of a dataclass against their annotations; for its ``__post_init__``.

    Raises:
        InvalidInputError: if a value is of another type than its field, or out of bounds.
    """
    for name, annotation in annotations_of(owner.__class__).items():
        given = getattr(owner, name)
        value = held(name, given, annotation)
        if value is not given:
            object.__setattr__(owner, name, value)


@cache
def annotations_of(owner: Any) -> dict[str, Any]:
    """The public fields' annotations; strings, where what they name is not known here."""
    try:
        known: Mapping[str, Any] = get_type_hints(owner, include_extras=True)
    except NameError:
        known = {}
    public = [field for field in fields(owner) if not field.name.startswith("_")]
    return {field.name: known.get(field.name, field.type) for field in public}


def is_plain(annotation: Any) -> bool:
    """Whether an annotation is of numbers, words, lists of them, or records of such; strings may be anything."""
    kinds = [kind for kind, _ in _members(annotation)]
    return all(
        kind in _WORDS
        or isinstance(kind, str)
        or is_dataclass(kind)
        or kind in (list, tuple)
        or get_origin(kind) in (Literal, list, tuple, Sequence)
        for kind in kinds
    )


def require_count(least: int = 1, **received: int) -> None:
    """Raises an :class:`InvalidInputError` unless each value is a whole number of at least so much."""
    for name, value in received.items():
        held(name, value, Annotated[int, Interval(ge=least)])


def _members(annotation: Any, interval: Interval | None = None) -> list[tuple[Any, Interval | None]]:
    """The types that an annotation names, each with the interval that goes with it."""
    if get_origin(annotation) is Annotated:
        inner, *further = get_args(annotation)
        own = next((each for each in further if isinstance(each, Interval)), interval)
        return _members(inner, own)
    if get_origin(annotation) in (Union, UnionType):
        return [each for member in get_args(annotation) for each in _members(member, interval)]
    return [(annotation, interval)]


def _wanted(kinds: Sequence[Any]) -> str:
    """Types in words: ``a number, 'auto' or none``."""
    each = [
        word
        for kind in kinds
        for word in (map(repr, get_args(kind)) if get_origin(kind) is Literal else (_WORDS[kind],))
    ]
    *others, last = dict.fromkeys(each)
    return f"{', '.join(others)} or {last}" if others else last


def _fits(value: Any, kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    return isinstance(value, _ACCEPTED.get(kind, kind)) and isinstance(value, bool) == (kind is bool)


def _hold_number(name: str, value: float, interval: Interval | None) -> None:
    received = {name: value}
    require(isinstance(value, int) or math.isfinite(value), f"{name} must be finite", **received)
    if interval is not None:
        require(_lies_in(value, interval), f"{name} must {_in_words(interval)}", **received)
    if interval is None or (interval.lt is None and interval.le is None):
        if isinstance(value, int):
            require(abs(value) <= LARGEST_WHOLE, f"{name} must be less than 2^31", **received)
        require(abs(value) <= _LARGEST, f"{name} must be at most {_LARGEST:g}", **received)


def _lies_in(value: Any, interval: Interval) -> bool:
    return (
        (interval.gt is None or value > interval.gt)
        and (interval.ge is None or value >= interval.ge)
        and (interval.lt is None or value < interval.lt)
        and (interval.le is None or value <= interval.le)
    )


def _in_words(interval: Interval) -> str:
    low: Any = interval.gt if interval.ge is None else interval.ge
    high: Any = interval.lt if interval.le is None else interval.le
    if high is not None:
        brackets = "[" if interval.gt is None else "(", "]" if interval.lt is None else ")"
        return f"lie in {brackets[0]}{low:.12g}, {high:.12g}{brackets[1]}"
    if interval.ge is None:
        return "be positive" if low == 0 else f"be more than {low:.12g}"
    return "not be negative" if low == 0 else f"be at least {low:.12g}"
