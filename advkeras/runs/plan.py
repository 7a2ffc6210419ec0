"""What a study is made of, on disk beside the results: enough to tell how far a run is, and to put results together."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from advkeras import limits, records
from advkeras.provenance import Provenance
from advkeras.record_types import Digest
from advkeras.runs.store import Store
from advkeras.runs.unit import Unit, canonical, in_order

SCHEMA_VERSION = 1
_FOLDER, _SUFFIX = "plans", ".json"


@dataclass(frozen=True)
class PlannedUnit:
    """A unit, without what it takes to compute it.

    Attributes:
        digest: the unit's name in a store.
        title: what people call it; units that belong together share it.
    """

    digest: Digest
    title: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a command was asked for.

    Attributes:
        study: the kind of it, which puts the results together.
        about: what the study needs to know for that, as plain values.
        units: all of them, each after what it follows on.
        provenance: what it runs with.
        asked: when, in ISO format.
        schema_version: of this structure.
    """

    study: str
    about: dict[str, Any]
    units: tuple[PlannedUnit, ...]
    provenance: Provenance
    asked: str
    schema_version: int = SCHEMA_VERSION

    @classmethod
    def of(cls, study: str, about: Any, units: Sequence[Unit], provenance: Provenance) -> "Plan":
        """The plan of a study.

        Args:
            study: its kind.
            about: a record of what the study needs to know.
            units: what is to be computed, and with it all that they follow on.
            provenance: what it runs with.
        """
        return cls(
            study=study,
            about=records.plain(about),
            units=tuple(PlannedUnit(unit.digest, unit.title) for unit in in_order(units)),
            provenance=provenance,
            asked=datetime.now(UTC).isoformat(timespec="microseconds"),
        )

    @cached_property
    def digest(self) -> str:
        """Of what was asked for, whoever asked and when."""
        told = canonical({"study": self.study, "about": self.about, "units": [unit.digest for unit in self.units]})
        return hashlib.sha256(told.encode()).hexdigest()

    def left(self, store: Store) -> list[PlannedUnit]:
        """Units that have no result."""
        there = store.digests()
        return [unit for unit in self.units if unit.digest not in there]


def keep(plan: Plan, store: Store) -> None:
    """Writes a plan into a run's folder; the same one given before makes room for it.

    Raises:
        InvalidInputError: if it cannot be written, or has more units than are read again.
    """
    content = records.as_json(plan)
    limits.require_room(
        len(content), limits.RECORD, f"the plan of {len(plan.units):,} units (larger slices make fewer)"
    )
    store.write(f"{_FOLDER}/{plan.digest}{_SUFFIX}", content)


def kept(store: Store, study: str | None = None) -> list[Plan]:
    """The plans in a run's folder, the last one that was asked for at the end; damaged ones are left out.

    Args:
        store: of the run.
        study: of that kind only; any by default.

    Raises:
        InvalidInputError: if one is larger than what is read.
    """
    folder = store.folder / _FOLDER
    found = []
    for path in folder.iterdir() if folder.exists() else ():
        if not path.name.endswith(_SUFFIX):
            continue
        try:
            content = limits.read_file(path, limits.RECORD, str(path))
        except OSError:
            continue
        try:
            plan = records.record_of(Plan, content, what="a plan", schema_version=SCHEMA_VERSION)
            whole = path.name == f"{plan.digest}{_SUFFIX}"
        except ValueError:
            continue
        if whole and study in (None, plan.study):
            found.append(plan)
    return sorted(found, key=lambda plan: plan.asked)
