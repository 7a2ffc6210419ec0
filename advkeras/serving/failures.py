"""What is wrong with a served model, in one line, whatever the server has sent."""

import reprlib
from collections.abc import Iterable

from advkeras.errors import AdvkerasError, plain_text, without_internals

# Of a server's message, which may be as long as an answer.
_LOOKED_AT = 4_000


class ServingError(AdvkerasError):
    """The served model does not answer, or not as it should."""


class RefusedError(ServingError):
    """The server has answered a request with an error.

    Args:
        message: for the user.
        about_size: whether the answer's code says that the request is too large.
    """

    def __init__(self, message: str, *, about_size: bool = False) -> None:
        super().__init__(message)
        self.about_size = about_size


def said(value: object) -> str:
    """What a server says, as one line of plain text."""
    text = value if isinstance(value, str) else reprlib.repr(value)
    return plain_text(without_internals(text[:_LOOKED_AT]) or "nothing")


def listed(names: Iterable[str]) -> str:
    """Names that a server gives, as one line of plain text; ``none`` if there are none."""
    return plain_text(", ".join(sorted(names))) or "none"


def too_late(url: str, timeout: float) -> ServingError:
    """An answer has not ended in time."""
    return ServingError(
        f"{url} has not answered to the end within {timeout:g} s: that is the limit of a request (--timeout, timeout=)"
    )


def too_much(url: str, largest: int) -> ServingError:
    """An answer has more bytes than it may have."""
    return ServingError(
        f"{url} answers with more than {largest / 2**20:g} MiB: that is the limit of an answer (--largest-answer, "
        "largest_answer=)"
    )
