"""How far the studies in a run's folder are, told without computing anything."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import mean, median

from pydantic import computed_field

from advkeras.runs.plan import Plan, kept
from advkeras.runs.store import Store

# Gaps between results that are so many times as long as usual are pauses.
_PAUSE = 20
# Results that tell how fast it goes on.
_LATEST = 64


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far the units of one title are.

    Attributes:
        title: what people call them.
        done: units that have a result.
        failed: units without one that were given up.
        left: other units without one.
    """

    title: str
    done: int
    failed: int
    left: int


@dataclass(frozen=True, kw_only=True)
class Status:
    """How far a study is.

    Attributes:
        study: its kind.
        command: that asked for it.
        asked: when, in ISO format.
        titles: how far the units of each title are.
        failures: why units were given up, by title.
        seconds_left: at the pace of the latest results; None where there are too few to tell.
    """

    study: str
    command: str
    asked: str
    titles: tuple[Progress, ...]
    failures: dict[str, str]
    seconds_left: float | None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def done(self) -> int:
        """Units that have a result."""
        return sum(each.done for each in self.titles)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def failed(self) -> int:
        """Units that were given up."""
        return sum(each.failed for each in self.titles)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def left(self) -> int:
        """Units that are neither done nor given up."""
        return sum(each.left for each in self.titles)


def status(store: Store) -> list[Status]:
    """How far each study in a run's folder is, the last one that was asked for at the end."""
    finished = store.times()
    failures = store.failures()
    return [_status(plan, finished, failures) for plan in kept(store)]


def _status(plan: Plan, finished: dict[str, float], failures: dict[str, str]) -> Status:
    done: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    reasons = {}
    for unit in plan.units:
        if unit.digest in finished:
            done[unit.title] += 1
        elif unit.digest in failures:
            failed[unit.title] += 1
            reasons[unit.title] = failures[unit.digest]
    total = Counter(unit.title for unit in plan.units)
    titles = tuple(
        Progress(title=title, done=done[title], failed=failed[title], left=count - done[title] - failed[title])
        for title, count in total.items()
    )
    times = sorted(finished[unit.digest] for unit in plan.units if unit.digest in finished)
    left = total.total() - done.total() - failed.total()
    return Status(
        study=plan.study,
        command=plan.provenance.command,
        asked=plan.asked,
        titles=titles,
        failures=reasons,
        seconds_left=_seconds_left(times, left),
    )


def _seconds_left(times: Sequence[float], left: int) -> float | None:
    """At the pace of the latest results, without pauses."""
    if not left:
        return 0.0
    gaps = [after - before for before, after in pairwise(times[-_LATEST:])]
    if not gaps:
        return None
    usual = [gap for gap in gaps if gap <= _PAUSE * max(median(gaps), 1.0)]
    return left * mean(usual) if usual else None
