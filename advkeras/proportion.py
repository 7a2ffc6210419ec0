"""Shares of a sample, with the interval that tells how far the sample can be trusted."""

import math
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

from pydantic import computed_field

from advkeras.errors import require
from advkeras.record_types import Count


@dataclass(frozen=True)
class Proportion:
    """A count out of a number of trials; written down with its rate and its interval.

    Attributes:
        count: successes.
        of: trials.

    Raises:
        InvalidInputError: if there are more successes than trials, or less than none.
    """

    count: Count
    of: Count

    def __post_init__(self) -> None:
        require(0 <= self.count <= self.of, "count must lie between 0 and the trials", count=self.count, of=self.of)

    @computed_field(return_type=float | None)  # type: ignore[prop-decorator]
    @property
    def rate(self) -> float:
        """The share in [0, 1]; NaN without trials."""
        return self.count / self.of if self.of else float("nan")

    @computed_field  # type: ignore[prop-decorator]
    @property
    def low(self) -> float:
        """Lower end of the 95% interval."""
        return self.interval()[0]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def high(self) -> float:
        """Upper end of the 95% interval."""
        return self.interval()[1]

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Wilson's score interval (Wilson 1927); the whole of [0, 1] without trials."""
        return _wilson(self.count, self.of, confidence)


def _wilson(count: int, of: int, confidence: float) -> tuple[float, float]:
    if not of:
        return 0.0, 1.0
    z = _quantile(confidence)
    middle, whole = count + z**2 / 2, of + z**2
    half = z * math.sqrt(count * (of - count) / of + z**2 / 4)
    return 0.0 if not count else (middle - half) / whole, 1.0 if count == of else (middle + half) / whole


@cache
def _quantile(confidence: float) -> float:
    """How many standard deviations on either side of the mean a normal value keeps to with a probability."""
    return NormalDist().inv_cdf((1 + confidence) / 2)
