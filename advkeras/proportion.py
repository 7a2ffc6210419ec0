"""Shares of a sample, with the interval that tells how far the sample can be trusted."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Proportion:
    """A count out of a number of trials.

    Attributes:
        count: successes.
        of: trials.
    """

    count: int
    of: int

    @property
    def rate(self) -> float:
        """The share in [0, 1]; NaN without trials."""
        return self.count / self.of if self.of else float("nan")

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Wilson's score interval (Wilson 1927); the whole of [0, 1] without trials."""
        if not self.of:
            return 0.0, 1.0
        from scipy.stats import binomtest

        low, high = binomtest(self.count, self.of).proportion_ci(confidence, method="wilson")
        return float(low), float(high)

    def to_json(self) -> dict[str, Any]:
        """Count, trials, rate and the 95% interval."""
        low, high = self.interval()
        return {"count": self.count, "of": self.of, "rate": self.rate if self.of else None, "low": low, "high": high}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Proportion":
        """The inverse of :meth:`to_json`."""
        return cls(int(data["count"]), int(data["of"]))
