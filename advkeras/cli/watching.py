"""What people see of a long run as it goes on."""

import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from rich.progress import Progress

from advkeras.arrays import Progress as Report
from advkeras.cli.console import counting, duration, err
from advkeras.errors import first_line
from advkeras.runs.execute import Watch
from advkeras.runs.unit import Unit

# Units of each title from which on a run is long enough for an estimate of its time.
_LONG = 3


class ProgressWatch(Watch):
    """Bars for what is in work and for the whole run, and a line when all units of a title are done."""

    def __init__(self, progress: Progress, workers: int = 1) -> None:
        self._progress, self._workers = progress, workers
        self._left: Counter[str] = Counter()
        self._seconds: Counter[str] = Counter()

    def planned(self, units: Sequence[Unit], there: Collection[str]) -> None:
        """Says what is already there."""
        self._left = Counter(unit.title for unit in units if unit.digest not in there)
        for title in dict.fromkeys(unit.title for unit in units):
            if not self._left[title]:
                err.print(f"{title}: already there", soft_wrap=True)
        pending = [unit for unit in units if unit.digest not in there]
        if len(pending) > _LONG * len(self._left):
            self._say_estimate(pending)
        self._all = self._progress.add_task("units", total=len(units), completed=len(units) - self._left.total())

    def _say_estimate(self, pending: Sequence[Unit]) -> None:
        from advkeras.evaluation.estimate import estimated_seconds

        seconds = estimated_seconds(pending) / self._workers
        err.print(f"{len(pending):,} units; about {duration(seconds)} on this machine, at most", soft_wrap=True)

    @contextmanager
    def working(self, unit: Unit) -> Iterator[Report]:
        """Shows how far a unit is."""
        start, report = time.perf_counter(), counting(self._progress, unit.title)
        task = self._progress.task_ids[-1]
        try:
            yield report
        finally:
            self._progress.remove_task(task)
        self._seconds[unit.title] += time.perf_counter() - start  # type: ignore[assignment]
        self._left[unit.title] -= 1
        self._progress.advance(self._all)
        if not self._left[unit.title]:
            err.print(f"{unit.title}: {self._seconds[unit.title]:.1f} s", soft_wrap=True)

    def failed(self, unit: Unit, error: BaseException, attempts_left: int) -> None:
        """Says that a unit failed, and what happens then."""
        then = "it is tried again" if attempts_left else "it is left out"
        err.print(f"{unit.title} failed: {type(error).__name__}: {first_line(error)}; {then}", soft_wrap=True)
