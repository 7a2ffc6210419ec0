"""The errors that advkeras raises on purpose; each message says what was received and what to do."""

import difflib
import math
import re
import struct
import unicodedata
from typing import Any

# What TensorFlow's messages say of its own graph: {{function_node ...}}, [[{{node ...}}]], [Op:...].
_INTERNALS = re.compile(
    r" for '\{\{node [^']*'|\[\[\{\{[^{}]*\}\}\]\]|\{\{[^{}]*\}\}|\[Op:[^\]]*\](?: name:(?: \S*)?)?"
)
# How they begin where they show the lines of Python that led there before they say what is wrong.
_FRAMED = ("Graph execution error", "Detected at node", "in user code")
_FRAMES = re.compile(r"\s*File |\s{6,}|<stack traces unavailable>|Node: |Detected at node")


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


def is_of_memory(error: BaseException) -> bool:
    """Whether an error says that there is not enough memory, for Python or for TensorFlow."""
    return isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError"


def first_line(error: BaseException) -> str:
    """The first line of what another library's error says; its type's name where it says nothing."""
    return without_internals(str(error)) or type(error).__name__


def without_internals(text: str) -> str:
    """The first line of a message that says what is wrong, without what TensorFlow says of its own graph in it."""
    lines = text.strip().splitlines()
    if lines and lines[0].startswith(_FRAMED):
        lines = [line for line in lines[1:] if not _FRAMES.match(line)] or lines
    said = (" ".join(_INTERNALS.sub("", line).split()) for line in lines)
    return next(filter(None, said), "")


def plain_text(text: object, limit: int = 300) -> str:
    r"""Text from outside as one line that can be printed: what steers a terminal or turns writing around is escaped.

    Args:
        text: whatever it is, ``str`` of it is taken.
        limit: characters that are kept; where there are more, the line ends with three dots.

    Returns:
        The line, in which a control or format character stands as its escape, ``\x1b`` for example.
    """
    whole = str(text)
    if len(whole) <= limit and whole.isprintable():
        return whole
    shown = "".join(each if each.isprintable() else _escaped(each) for each in whole[: limit + 1])
    return shown if len(shown) <= limit else shown[: max(0, limit - 3)] + "..."


def _escaped(character: str) -> str:
    """A character as Python writes it in a string; an unusual space as a space."""
    return " " if unicodedata.category(character) == "Zs" else character.encode("unicode_escape").decode()


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
    """The lowest and the highest pixel value, or an :class:`InvalidInputError` if they are none in float32."""
    try:
        low, high = (float(bound) for bound in bounds)
    except (TypeError, ValueError, OverflowError):
        raise InvalidInputError(f"bounds must be two numbers. Received: bounds={bounds!r}") from None
    try:
        # As pixels have them.
        least, most = struct.unpack("ff", struct.pack("ff", low, high))
    except OverflowError:
        least, most = -math.inf, math.inf
    if not (least < most and math.isfinite(least) and math.isfinite(most)):
        raise InvalidInputError(f"bounds must be finite and increasing. Received: bounds=({low:g}, {high:g})")
    return low, high
