"""How a long run is computed: options that several commands share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from advkeras.cli import options
from advkeras.cli.console import err
from advkeras.cli.shared_options import with_options_of


@dataclass(frozen=True)
class Run:
    """How units are computed, and where their results are kept; each field is an option."""

    output: options.Output = None
    slice_size: options.SliceSize = None
    shard: options.Shard = None

    def open(self, default: str) -> str:
        """The run's folder or URL, once it is known that it can be written."""
        from advkeras.runs.store import Store

        place = self.output or f"advkeras-results/{default}"
        Store(place).require_writable()
        return place

    @property
    def how(self) -> dict[str, Any]:
        """Arguments of a study: the size of slices, and what computes them."""
        from advkeras.runs.execute import execute
        from advkeras.runs.shard import shard

        return {"slice_size": self.slice_size, "compute": shard(self.shard) if self.shard else execute}

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
