"""A study: a plan of units, and a way to put their results together, however far they are."""

import abc
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Generic, TypeVar

from advkeras import limits, records
from advkeras.errors import InvalidInputError
from advkeras.provenance import Provenance, of_run
from advkeras.runs.execute import Watch, execute
from advkeras.runs.plan import Plan, keep, kept
from advkeras.runs.store import Store
from advkeras.runs.unit import Find, Unit

Compute = Callable[[Iterable[Unit], Store, Watch | None], None]
"""Has those of some units computed that a store has no result of."""

Identity = tuple[str, dict[str, Any]]
"""What two models have in common that answer alike: their checksum, and how they are used."""

A = TypeVar("A")
R = TypeVar("R")


class Study(abc.ABC, Generic[A, R]):
    """A kind of study, on disk: what it is asked for (A), and its results (R); it knows nothing of models.

    Attributes:
        name: of the kind.
        asked: the record of what a study is asked for.
        file_name: of the results in a run's folder.
        report: the record that this file holds; it has ``plan``, ``units_left`` and ``provenance``.
        schema_version: of that record.
        what: people call it.
    """

    name: ClassVar[str]
    asked: type[A]
    file_name: ClassVar[str]
    report: ClassVar[type[Any]]
    schema_version: ClassVar[int]
    what: ClassVar[str]

    def together(self, plans: Sequence[A], there: set[str]) -> A:
        """The last plan, and what those before it add to the same results; here nothing.

        Args:
            plans: in the order in which they were asked for, one at least.
            there: digests of the units that have a result.
        """
        return plans[-1]

    def identities(self, asked: A) -> dict[str, Identity]:
        """Of each model whose figures stand side by side, by its name, its checksum and how it is used; here none."""
        return {}

    @abc.abstractmethod
    def fold(self, asked: A, find: Find, provenance: Provenance) -> R:
        """The results, as far as units have some. Nothing is computed.

        Args:
            asked: what the study is.
            find: units' results.
            provenance: what they were made with.
        """

    def report_of(self, found: R) -> Any:
        """The record of the results; here the results themselves."""
        return found

    def with_facts(self, found: R, **facts: Any) -> R:
        """Results whose record says more of the run."""
        return replace(found, **facts)  # type: ignore[type-var]

    @abc.abstractmethod
    def write_files(self, asked: A, found: R, store: Store) -> R:
        """Writes what people look at beside the record; the results, which may say where it is."""

    def read(self, path: Any) -> Any:
        """The record in a file, or in the folder that holds it.

        Raises:
            InvalidInputError: if there is none, it is damaged, or another version of advkeras wrote it.
        """
        return records.read(path, self.file_name, self.report, what=self.what, schema_version=self.schema_version)

    def kept(self, store: Store) -> Any:
        """The record that a run's folder holds; None where there is none that can be read."""
        try:
            content = limits.read_file(store.folder / self.file_name, limits.RECORD)
            return records.record_of(self.report, content, what=self.what, schema_version=self.schema_version)
        except (OSError, InvalidInputError):
            return None

    def asked_for(self, store: Store, there: set[str], plan: Plan | None = None) -> tuple[A, Plan]:
        """What the studies of this kind in a folder were asked for, together, and the plan that counts.

        Args:
            store: of the run.
            there: digests of the units that have a result.
            plan: which one counts; the one that was asked for last by default.

        Raises:
            InvalidInputError: if there is no such study.
        """
        plans = kept(store, self.name)
        if plan is not None:
            plans = [*(each for each in plans if each.digest != plan.digest), plan]
        if not plans:
            raise InvalidInputError(f"{store.folder} holds no plan of {self.what}")
        asked = [records.of_plain(self.asked, each.about, what="a plan") for each in plans]
        return self.together(asked, there), plans[-1]

    def put_together(self, store: Store, provenance: Provenance | None = None, plan: Plan | None = None) -> R:
        """The results of a study of this kind in a folder; written there, where nothing is missing.

        Args:
            store: of the run.
            provenance: of the results; that of the plan by default.
            plan: whose results; by default the one's that was asked for last.

        Raises:
            InvalidInputError: if there is no such study, or the results cannot be written.
        """
        with store.alone():
            while True:
                there = store.digests()
                chosen, counting = self.asked_for(store, there, plan)
                found = self.fold(chosen, store.result, provenance or counting.provenance)
                if there <= store.digests():  # what turns out to be damaged is there no more
                    break
            left = len(counting.left(store))
            found = self.with_facts(found, plan=counting.digest, units_left=left)
            if not left:
                found = self.write_files(chosen, found, store)
                store.write(self.file_name, records.as_json(self.report_of(found)))
        return found

    def carry_out(
        self, asked: A, units: Sequence[Unit], store: Store, *, compute: Compute = execute, watch: Watch | None = None
    ) -> R:
        """Computes what is missing, and puts the results together.

        Args:
            asked: what the study is.
            units: of which it consists.
            store: of the run.
            compute: has units computed; here, one after the other, by default.
            watch: told as the work goes on.

        Returns:
            The results; unfinished, where ``compute`` leaves units to others.

        Raises:
            UnitsFailedError: if units could not be computed; the others are.
        """
        start = time.perf_counter()
        plan = Plan.of(self.name, asked, units, of_run(0.0))
        keep(plan, store)

        def computed() -> R:
            compute(units, store, watch)
            # Another command may have been asked for on the same folder meanwhile.
            return self.put_together(store, of_run(time.perf_counter() - start), plan)

        found = computed()
        if not plan.left(store):
            return found
        # That one is damaged was seen when they were put together; others may be, too.
        for unit in plan.units:
            store.result(unit.digest)
        return computed()
