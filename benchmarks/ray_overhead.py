"""What Ray workers cost over the work itself: units that do nothing but wait, and hence need no core.

Start-up is apart: from the call to the first unit's beginning.
"""

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from measuring import report

from advkeras.arrays import Progress
from advkeras.runs.ray_workers import execute_on_ray
from advkeras.runs.store import Store
from advkeras.runs.unit import Result, Unit

UNITS, SECONDS, WORKERS = 20, 5.0, 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Waiting(Unit):
    """Waits, and says when it began and ended."""

    number: int

    kind: ClassVar[str] = "waiting"

    @property
    def title(self) -> str:
        """What it is."""
        return "waiting"

    @property
    def subject(self) -> Mapping[str, Any]:
        """Its number."""
        return {"number": self.number}

    def compute(self, found: Sequence[Result], progress: Progress) -> Result:
        """The times, in seconds since 1970."""
        began = time.time()
        time.sleep(SECONDS)
        return Result({"times": np.array([began, time.time()])}, {})


def main() -> None:
    """Measures and reports."""
    units = [Waiting(number=number) for number in range(UNITS)]
    with tempfile.TemporaryDirectory() as folder:
        store, start = Store(folder), time.time()
        execute_on_ray(units, store, workers=WORKERS)
        ended = time.time()
        results = [store.get(unit) for unit in units]
    times = np.array([result.arrays["times"] for result in results if result is not None])
    began, finished = times[:, 0].min(), times[:, 1].max()
    work = UNITS * SECONDS / WORKERS
    row = {
        "units": UNITS,
        "seconds_each": SECONDS,
        "workers": WORKERS,
        "start-up_s": began - start,
        "from_first_to_last_s": finished - began,
        "over_the_work": (finished - began) / work - 1,
        "shutting_down_s": ended - finished,
    }
    report("ray_overhead", "Ray workers: time over the work itself", [row])


if __name__ == "__main__":
    main()
