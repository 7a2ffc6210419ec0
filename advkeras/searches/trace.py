"""What a search saw on its way, step by step: the trace that attacks keep of each image."""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from advkeras.arrays import BoolArray, FloatArray, IntArray
from advkeras.errors import require

# Columns of a trace, at most: where there are more steps, a column stands for 2, 4, 8, ... of them.
MOST = 256
# A search has not ended that still rises by more than this share of its whole way in so many of its last steps; it has
# to have taken twice as many (Pintor et al., NeurIPS 2022, indicator 4).
_SHARE, _LAST = 0.05, 10
_PREFIX = "trace_"


@dataclass(frozen=True, kw_only=True)
class Trace:
    """What a search saw of each image, in the order of its steps; several runs stand one behind the other.

    Attributes:
        margins: (N, T) float32, at most 256 columns: how far the points that were looked at lay on the attacker's side,
            in logits, positive where the search's goal was reached: the best wrong logit minus the true one (targeted:
            the target's minus the best other one), minus the confidence that is asked for, of the worst member of an
            ensemble. NaN where nothing was looked at, and for searches that see classes alone.
        stride: (N,) int32, for how many steps a column stands: its margin is their highest.
        steps: (N,) int32, points that were looked at; the penalty search counts those, too, that it leaves out where it
            gives up a weight.
        queries: (N,) int32, how many of those were looked at without a gradient; these come last.
        begun: (N,) int32, the step at which the last run began.
        best: (N,) int32, the step at which what the search has kept was found; -1 where it has kept nothing.
    """

    margins: FloatArray
    stride: IntArray
    steps: IntArray
    queries: IntArray
    begun: IntArray
    best: IntArray

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def reached(self) -> BoolArray:
        """Whether the goal was reached at some point of the way, (N,)."""
        return np.asarray((np.nan_to_num(self.margins, nan=-1.0) > 0).any(axis=1))

    @property
    def ended_by_queries(self) -> BoolArray:
        """Whether what was kept was found without a gradient, after steps along gradients: (N,)."""
        by_gradients = self.steps - self.queries
        return np.asarray((self.queries > 0) & (by_gradients > 0) & (self.best >= by_gradients))

    @property
    def rising(self) -> BoolArray:
        """Whether the highest margin of the last run still rose markedly in its last steps, (N,).

        By more than 0.05 of the whole way between its lowest and its highest margin, in the last 10 of 20 steps or more
        (Pintor et al., NeurIPS 2022).
        """
        if not self.margins.shape[1]:
            return np.zeros(len(self), bool)
        of_last = np.arange(self.margins.shape[1]) >= (self.begun // self.stride)[:, None]
        seen = np.isfinite(self.margins) & of_last
        highest = np.maximum.accumulate(np.where(seen, self.margins, -np.inf), axis=1)
        rows = np.arange(len(self))
        last, before = (
            highest[rows, np.clip((self.steps - 1 - back) // self.stride, 0, highest.shape[1] - 1)]
            for back in (0, _LAST)
        )
        way = last - np.where(seen, self.margins, np.inf).min(axis=1)
        known = np.isfinite(before) & np.isfinite(way) & (self.steps - self.begun >= 2 * _LAST)
        with np.errstate(invalid="ignore"):
            return np.asarray(known & (last - before > _SHARE * way))

    @property
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The arrays as a file holds them, by name."""
        return {name: getattr(self, name.removeprefix(_PREFIX)) for name in ARRAYS}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> "Trace | None":
        """The trace among a file's arrays; None where they hold none.

        Raises:
            InvalidInputError: if a column of it stands for no step.
        """
        if not set(ARRAYS).issubset(arrays):
            return None
        least = int(arrays["trace_stride"].min(initial=1))
        require(least >= 1, "a column of a trace stands for one step at least", trace_stride=least)
        return cls(**{name.removeprefix(_PREFIX): arrays[name] for name in ARRAYS})

    @classmethod
    def nothing(cls, count: int) -> "Trace":
        """Of images that were not attacked."""
        none: IntArray = np.zeros(count, np.int32)
        return cls(
            margins=np.zeros((count, 0), np.float32),
            stride=none + 1,
            steps=none,
            queries=none,
            begun=none,
            best=none - 1,
        )

    def wider(self, columns: int) -> "Trace":
        """The same with so many columns at least."""
        more = max(0, columns - self.margins.shape[1])
        margins = np.pad(self.margins, ((0, 0), (0, more)), constant_values=np.nan)
        return replace(self, margins=margins)


ARRAYS = tuple(f"{_PREFIX}{name}" for name in ("margins", "stride", "steps", "queries", "begun", "best"))
"""Names of a trace's arrays in files."""


class TraceRecorder:
    """Takes what the runs of a search saw, and makes one trace of it.

    A part of the images records for the whole, as :class:`WeakGradients` counts; no image is in it twice.
    """

    def __init__(self, images: int) -> None:
        self._steps, self._queries, self._begun = (np.zeros(images, np.int64) for _ in range(3))
        self._best, self._highest = np.full(images, -1, np.int64), np.full(images, -np.inf)
        self._parts: list[tuple[Any, Any, FloatArray, int]] = []
        self._rows = np.arange(images)

    def where(self, chosen: npt.NDArray[Any]) -> "TraceRecorder":
        """The same record, to be added to for the images that a mask or indices choose."""
        part = copy(self)
        part._rows = self._rows[chosen]
        return part

    def add(
        self,
        margins: npt.NDArray[Any] | None,
        steps: npt.NDArray[Any],
        *,
        stride: int = 1,
        best: npt.NDArray[Any] | None = None,
        queries: bool = False,
        goes_on: bool = False,
    ) -> None:
        """Records a run of each image of this part, behind those before it.

        Args:
            margins: (n, t), the highest of each ``stride`` steps, infinite or NaN where there is none; None where the
                run sees classes alone.
            steps: (n,) how many steps it took.
            stride: steps that a column stands for.
            best: (n,) the step of this run at which what is kept from now on was found, -1 where it is what it was; by
                default the one of the highest margin of all.
            queries: whether no gradients were taken.
            goes_on: whether it is the next part of the run before it, instead of a run.
        """
        count, begun = len(self._rows), self._steps[self._rows]
        seen = np.zeros((count, 0), np.float32) if margins is None else np.asarray(margins, np.float32)
        seen = np.where(np.isfinite(seen), seen, np.float32(-np.inf))
        highest = seen.max(axis=1, initial=-np.inf)
        if best is None:
            best = np.full(count, -1)
            if seen.shape[1]:
                best = np.where(highest > self._highest[self._rows], stride * seen.argmax(axis=1), -1)
        found = np.asarray(best) >= 0
        self._best[self._rows[found]] = begun[found] + best[found]
        self._highest[self._rows] = np.maximum(self._highest[self._rows], highest)
        if not goes_on:
            self._begun[self._rows] = begun
        self._steps[self._rows] += steps
        if queries:
            self._queries[self._rows] += steps
        self._parts.append((self._rows, begun, seen, stride))

    @property
    def trace(self) -> Trace | None:
        """Of all images; None where nothing was recorded."""
        if not self._parts:
            return None
        stride = 2 ** np.ceil(np.log2(np.maximum(self._steps, MOST) / MOST)).astype(np.int64)
        told = any(seen.shape[1] for _, _, seen, _ in self._parts)
        width = int((-(-self._steps // stride)).max(initial=0)) if told else 0
        margins = np.full((len(stride), width), -np.inf, np.float32)
        for rows, begun, seen, apart in self._parts:
            columns = (begun[:, None] + apart * np.arange(seen.shape[1])) // stride[rows][:, None]
            row, column = np.nonzero((seen > -np.inf) & (columns < width))
            np.maximum.at(margins, (rows[row], columns[row, column]), seen[row, column])
        return Trace(
            margins=np.where(np.isfinite(margins), margins, np.float32(np.nan)),
            stride=stride.astype(np.int32),
            steps=self._steps.astype(np.int32),
            queries=self._queries.astype(np.int32),
            begun=self._begun.astype(np.int32),
            best=self._best.astype(np.int32),
        )
