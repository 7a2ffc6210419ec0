"""How a long run is computed: options that several commands share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from advkeras.cli import options
from advkeras.cli.console import err
from advkeras.cli.shared_options import with_options_of
from advkeras.errors import InvalidInputError, require

STOPPED = "stopped: give the same command again to go on; what is done is kept"


@dataclass(frozen=True)
class Run:
    """How units are computed, and where their results are kept; each field is an option."""

    output: options.Output = None
    slice_size: options.SliceSize = None
    shard: options.Shard = None
    workers: options.Workers = None
    ray_address: options.RayAddress = None

    def open(self, default: str) -> str:
        """The run's folder or URL, once it is known that it can be written."""
        from advkeras.files import safe_name
        from advkeras.runs.store import Store

        place = self.output or f"advkeras-results/{safe_name(default)}"
        Store(place).require_writable()
        return place

    def say_replaced(self, study: Any, place: str, classifiers: Sequence[Any]) -> None:
        """Says whose figures leave the tables of a folder: those of other models that have the names of these.

        A model that is used otherwise, by its preprocessing for instance, is another one.
        """
        from advkeras.evaluation.units import checksum
        from advkeras.runs.store import Store

        store = Store(place)
        try:
            there = study.identities(study.asked_for(store, store.digests())[0])
        except InvalidInputError:
            return  # Nothing has been asked for that can be read.
        for each in classifiers:
            if each.name not in there or there[each.name] == (checksum(each), each.usage.record()):
                continue
            other = f"another model called {each.name}"
            if there[each.name][0] == checksum(each):
                other = f"{each.name} as it was used before, by other options,"
            err.print(
                f"the figures of {other} leave the tables in {place}: to keep both, name another folder (--output)",
                soft_wrap=True,
            )

    @property
    def how(self) -> dict[str, Any]:
        """Arguments of a study: the size of slices, and what computes them."""
        return {"slice_size": self.slice_size, "compute": self._compute()}

    def _compute(self) -> Any:
        from advkeras.runs.execute import execute
        from advkeras.runs.shard import shard

        by_ray = self.workers is not None or self.ray_address is not None
        if self.shard is not None:
            require(not by_ray, "--shard is for machines without Ray: leave out --workers", shard=self.shard)
            return shard(self.shard)
        if not by_ray:
            return execute
        from advkeras.runs.ray_workers import execute_on_ray

        return partial(execute_on_ray, workers=self.workers, address=self.ray_address)

    def is_unfinished(self, place: str, units_left: int) -> bool:
        """Whether units are left to others; says so."""
        if units_left:
            err.print(
                f"{units_left:,} units are left to other shares; advkeras report {place} puts all of them together, "
                f"advkeras status {place} says how far they are",
                soft_wrap=True,
            )
        return bool(units_left)


def on_run(command: Callable[..., None]) -> Callable[..., None]:
    """A command with the options of a :class:`Run`, which it is handed as its argument ``run``."""
    return with_options_of(Run, "run", command)
