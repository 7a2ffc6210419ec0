"""Computing units here, one after the other; several processes on one folder share the work."""

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager

from advkeras.arrays import Progress, no_progress
from advkeras.errors import AdvkerasError, first_line
from advkeras.runs.store import Store
from advkeras.runs.unit import Result, Unit, in_order

WAIT = 0.2
"""Seconds until units are looked at again that others are on."""


class UnitsFailedError(AdvkerasError):
    """Units could not be computed; all the others are."""


class Watch:
    """What is told of a run as it goes on; this one tells nobody."""

    def planned(self, units: Sequence[Unit], there: Collection[str]) -> None:
        """Before the work: all units, and the digests of those whose results are there already."""

    @contextmanager
    def working(self, unit: Unit) -> Iterator[Progress]:
        """Around the work on a unit; workers are on several at a time."""
        yield no_progress

    def failed(self, unit: Unit, error: BaseException, attempts_left: int) -> None:
        """A unit could not be computed."""


def execute(units: Iterable[Unit], store: Store, watch: Watch | None = None, *, attempts: int = 3) -> None:
    """Computes what the store has no result of.

    Args:
        units: what to compute, and with it all that they follow on.
        store: of the results. Other processes may work on it at the same time: what one of them is on is left to it.
        watch: told as the work goes on.
        attempts: a unit that fails so often is given up, with those that follow on it.

    Raises:
        UnitsFailedError: in the end, if units were given up.
        AdvkerasError: at once, if input is wrong or results cannot be written; what is done is kept.
    """
    watch = watch or Watch()
    work = Work(store, watch, attempts)
    ordered, pending = begin(units, store, watch)
    while pending:
        left = [unit for unit in pending if not work.settled(unit)]
        if len(left) == len(pending):
            time.sleep(WAIT)  # others are on all of them
        pending = left
    work.require_none_given_up(len(ordered))


def begin(units: Iterable[Unit], store: Store, watch: Watch) -> tuple[list[Unit], list[Unit]]:
    """Makes a store ready, and tells the watch what is planned.

    Args:
        units: what to compute, and with it all that they follow on.
        store: of the results.
        watch: told all units.

    Returns:
        All units, each after what it follows on, and those of them that have no result.

    Raises:
        InvalidInputError: if results cannot be written.
    """
    store.require_writable()
    store.sweep()
    ordered = in_order(units)
    there = store.digests()
    watch.planned(ordered, there)
    return ordered, [unit for unit in ordered if unit.digest not in there]


class Work:
    """Units that are worked on by one process.

    Args:
        store: of the results.
        watch: told of each attempt.
        attempts: at a unit, before it is given up.

    Attributes:
        given_up: why, by digest; nothing for a unit that follows on such a one.
    """

    def __init__(self, store: Store, watch: Watch, attempts: int) -> None:
        self._store, self._watch, self._attempts = store, watch, attempts
        self.given_up: dict[str, str] = {}

    def settled(self, unit: Unit) -> bool:
        """Whether the unit has a result or is given up, after an attempt at it, if nobody else is on it."""
        if self.barred(unit) or unit in self._store:
            return True
        found = self._results(unit.follows)
        if found is None:
            return False
        with self._store.claim(unit) as mine:
            return mine and (unit in self._store or self._computed(unit, found))

    def barred(self, unit: Unit) -> bool:
        """Whether the unit follows on one that is given up; it is given up with that."""
        if any(each.digest in self.given_up for each in unit.follows):
            self.given_up[unit.digest] = ""
            return True
        return False

    def failed(self, unit: Unit, error: BaseException, attempts_left: int) -> None:
        """Tells the watch that an attempt failed; gives the unit up if it was the last."""
        self._watch.failed(unit, error, attempts_left)
        if not attempts_left:
            self._store.note_failure(unit, error)
            self.given_up[unit.digest] = f"{unit.title}: {type(error).__name__}: {first_line(error)}"

    def require_none_given_up(self, planned: int) -> None:
        """Makes sure that all units have results.

        Args:
            planned: number of all units.

        Raises:
            UnitsFailedError: if some were given up.
        """
        if self.given_up:
            reasons = sorted({reason for reason in self.given_up.values() if reason})
            raise UnitsFailedError(f"{len(self.given_up)} of {planned} units failed: {'; '.join(reasons)}")

    def _results(self, units: Sequence[Unit]) -> list[Result] | None:
        """What units gave, computed again where it is damaged; None where another process is on one of them."""
        results = []
        for unit in units:
            result = self._store.get(unit)
            if result is None and self.settled(unit):
                result = self._store.get(unit)
            if result is None:
                return None
            results.append(result)
        return results

    def _computed(self, unit: Unit, found: Sequence[Result]) -> bool:
        for left in reversed(range(self._attempts)):
            try:
                with self._watch.working(unit) as progress:
                    result = unit.compute(found, progress)
            except AdvkerasError:
                raise
            except Exception as error:
                self.failed(unit, error, left)
            else:
                self._store.put(unit, result)
                break
        return True
