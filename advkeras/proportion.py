"""Shares of a sample, and how they change, with the interval that tells how far the sample can be trusted."""

import abc
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

from pydantic import computed_field

from advkeras.errors import require
from advkeras.record_types import Count

# Halves an interval of length 2 to what a float tells apart.
_BISECTIONS = 54


class _Estimate(abc.ABC):
    """A figure with an interval, which is written down with it."""

    @abc.abstractmethod
    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """The values that the sample does not rule out."""

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


@dataclass(frozen=True)
class Proportion(_Estimate):
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

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Wilson's score interval (Wilson 1927); the whole of [0, 1] without trials."""
        return _wilson(self.count, self.of, confidence)


@dataclass(frozen=True)
class PairedDifference(_Estimate):
    """How a share changes between two looks at the same trials; written down with its interval and its p-value.

    Attributes:
        both: successes at both looks.
        lost: successes at the first look alone.
        gained: successes at the second look alone.
        neither: failures at both.
    """

    both: Count
    lost: Count
    gained: Count
    neither: Count

    @property
    def of(self) -> int:
        """The trials."""
        return self.both + self.lost + self.gained + self.neither

    @computed_field  # type: ignore[prop-decorator]
    @property
    def before(self) -> Proportion:
        """The share at the first look."""
        return Proportion(self.both + self.lost, self.of)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def after(self) -> Proportion:
        """The share at the second look."""
        return Proportion(self.both + self.gained, self.of)

    @computed_field(return_type=float | None)  # type: ignore[prop-decorator]
    @property
    def rate(self) -> float:
        """The second share less the first one, in [-1, 1]; NaN without trials."""
        return (self.gained - self.lost) / self.of if self.of else float("nan")

    @computed_field  # type: ignore[prop-decorator]
    @property
    def p(self) -> float:
        """P-value of McNemar's exact test, two-sided: as if each change were a throw of a coin; 1 without changes."""
        from scipy.stats import binomtest

        changed = self.lost + self.gained
        return float(binomtest(self.gained, changed).pvalue) if changed else 1.0

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Tango's score interval for paired shares; the whole of [-1, 1] without trials.

        Tango (Statistics in Medicine 17:891, 1998): the differences that a score test does not reject. Of the trials
        that have not changed it is their number alone that counts. It holds what it promises also where few have
        changed, where intervals of the Wald kind, and Newcombe's for pairs (17:2635, 1998), are too short.
        """
        if not self.of:
            return -1.0, 1.0
        z = _quantile(confidence)
        low = _falls_to(z, self._score, -1.0, self.rate) if self.rate > -1 else -1.0
        high = _falls_to(-z, self._score, self.rate, 1.0) if self.rate < 1 else 1.0
        return low, high

    def _score(self, difference: float) -> float:
        """How many standard deviations what was seen lies above what a true difference lets expect."""
        linear = (2 * self.of - self.gained + self.lost) * difference - self.gained - self.lost
        constant = -self.lost * difference * (1 - difference)
        # The likeliest share of trials that are lost, given the difference.
        root = math.sqrt(max(linear**2 - 8 * self.of * constant, 0.0))
        lost = (root - linear) / (4 * self.of)
        variance = self.of * (2 * lost + difference * (1 - difference))
        above = self.gained - self.lost - self.of * difference
        return above / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, above) if above else 0.0


def _falls_to(value: float, function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function that falls from one end to the other has a value, by bisection."""
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) > value else (low, middle)
    return (low + high) / 2


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
