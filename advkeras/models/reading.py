"""How logits are had from what a classifier returns, in words and as a function."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

AS_RETURNED = "as returned"
BEFORE_SOFTMAX, BEFORE_SIGMOID = "found before the softmax", "found before the sigmoid"
ONE_LOGIT, OF_PROBABILITIES = "of one output", "logarithms of probabilities"


@dataclass(frozen=True)
class Reading:
    """How logits are had from a function from images to something else.

    Attributes:
        logits: the function from images (N, H, W, C) float32 to logits (N, classes).
        how: in words, for tables.
        random: by how much what the function returns differs from one call to the next; 0 for most networks.
        saturated: share of the images tried on which a probability rounds to 0, where logits are logarithms of them.
        output: which of several outputs the function returns is read; None where it returns one.
        others: the function from images to what else it returns, by name: its other outputs, and what the logits were
            made of where neither they nor their softmax are that.
        guessed: whether nobody said which output it is.
    """

    logits: Callable[[Any], Any]
    how: str
    random: float = 0.0
    saturated: float = 0.0
    output: str | None = None
    guessed: bool = False
    others: Callable[[Any], dict[str, Any]] = lambda images: {}
