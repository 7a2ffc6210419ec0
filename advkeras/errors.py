"""The errors that advkeras raises on purpose; each message says what was received and what to do."""

import difflib
import math
from typing import Any


class AdvkerasError(Exception):
    """Something could not be done; the command line prints it in one line and exits with 1."""

    exit_code = 1


class InvalidInputError(AdvkerasError, ValueError):
    """The caller's input cannot be used; the command line prints it in one line and exits with 2."""

    exit_code = 2


class RequirementError(AdvkerasError):
    """What was measured is not what is required; the command line prints it in one line and exits with 3."""

    exit_code = 3


class UndecidedError(InvalidInputError):
    """A network leaves open what the data may say."""


class UnknownShapeError(UndecidedError):
    """A network leaves open which shape images have, and nobody says it."""


class UnknownOutputError(UndecidedError):
    """A network returns several outputs that may be logits, and nobody says which."""


def first_line(error: BaseException) -> str:
    """The first line of what another library's error says; its type's name where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def unknown_name(kind: str, received: str, known: tuple[str, ...], *, others: tuple[str, ...] = ()) -> str:
    """One line about a name that is not in a registry, with the nearest known one where there is one.

    Args:
        kind: what is named, for example ``"data set"``.
        received: the unknown name.
        known: the names that exist.
        others: names that exist, too, and are too many to be listed.
    """
    close = difflib.get_close_matches(received, (*known, *others), n=1)
    advice = f"did you mean {close[0]!r}? " if close else ""
    more = f" and {len(others):,} others" if others else ""
    return f"unknown {kind} {received!r}: {advice}known are {', '.join(known)}{more}"


def require(condition: bool, message: str, **received: Any) -> None:
    """Raises an :class:`InvalidInputError` that ends with what was received, unless the condition holds."""
    if not condition:
        values = ", ".join(f"{name}={value!r}" for name, value in received.items())
        raise InvalidInputError(f"{message}. Received: {values}")


def require_increasing(bounds: tuple[float, float]) -> tuple[float, float]:
    """The lowest and the highest pixel value as two floats, or an :class:`InvalidInputError` if they are none."""
    low, high = (float(bound) for bound in bounds)
    if not (low < high and math.isfinite(low) and math.isfinite(high)):
        raise InvalidInputError(f"bounds must be finite and increasing. Received: bounds=({low:g}, {high:g})")
    return low, high
