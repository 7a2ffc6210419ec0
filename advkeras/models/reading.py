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
    """

    logits: Callable[[Any], Any]
    how: str
    random: float = 0.0
