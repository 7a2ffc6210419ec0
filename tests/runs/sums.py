"""Units that are known in closed form, and tell that they were computed."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from advkeras.runs.unit import Result, Unit

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True, eq=False)
class Sum(Unit):
    """The sum of what it follows on and of a number of its own; notes that it was computed, and may take its time."""

    number: int
    notes: Path
    seconds: float = 0.0
    wrong: type[Exception] | None = None
    called: str = ""

    kind: ClassVar[str] = "sum"

    @property
    def title(self):
        return self.called or f"sum of {self.number}"

    @property
    def subject(self):
        return {"number": self.number}

    def compute(self, found, progress):
        with (self.notes / "computed").open("a") as stream:
            stream.write(f"{self.number}\n")
        time.sleep(self.seconds)
        if self.wrong is not None and not (self.notes / "mended").exists():
            raise self.wrong("no good")
        total = np.array([self.number]) + sum(result.arrays["total"] for result in found)
        return Result({"total": total}, {"followed": len(found)})


def chain(notes, **options):
    """Two units, one that follows on both, and one on that."""
    first, second = (Sum(number=number, notes=notes, **options) for number in (1, 2))
    third = Sum(number=3, notes=notes, follows=(first, second), **options)
    return first, second, third, Sum(number=4, notes=notes, follows=(third,), **options)


def computed(notes):
    path = notes / "computed"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)
