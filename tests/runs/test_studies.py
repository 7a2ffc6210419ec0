"""Plans on disk, how far a run is, shares of it, and putting results together."""

import json
import os
import shutil
from dataclasses import dataclass, replace

import pytest

from advkeras.errors import InvalidInputError
from advkeras.provenance import UNKNOWN, Provenance
from advkeras.runs.execute import UnitsFailedError, execute
from advkeras.runs.plan import Plan, keep, kept
from advkeras.runs.shard import shard
from advkeras.runs.status import status
from advkeras.runs.store import Store
from advkeras.runs.study import Study

from ..commands import error_of, run
from .sums import Sum, chain, computed


@dataclass(frozen=True)
class Asked:
    """The units whose totals are added up."""

    units: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Total:
    """What they add up to, as far as they are there."""

    total: int
    found: int
    units_left: int = 0
    plan: str = ""
    provenance: Provenance | None = None
    schema_version: int = 1


class Adding(Study):
    name, what = "adding", "a total"
    asked, file_name, report, schema_version = Asked, "total.json", Total, 1

    def fold(self, asked, find, provenance):
        found = [result for digest in asked.units if (result := find(digest)) is not None]
        return Total(
            total=sum(int(result.arrays["total"][0]) for result in found), found=len(found), provenance=provenance
        )

    def write_files(self, asked, found, store):
        store.write("seen", b"")
        return found


def asked_for(units):
    return Asked(tuple(unit.digest for unit in units))


def test_a_study_computes_what_is_missing_and_puts_it_together(tmp_path):
    store, units = Store(tmp_path / "run"), chain(tmp_path)
    found = Adding().carry_out(asked_for(units), units, store)
    assert (found.total, found.units_left) == (1 + 2 + 6 + 10, 0)
    assert Adding().read(tmp_path / "run") == found
    (tmp_path / "run" / "units" / f"{units[2].digest}.npz").write_bytes(b"damaged")
    (tmp_path / "run" / "units" / f"{units[1].digest}.npz").write_bytes(b"damaged, too")
    again = Adding().carry_out(asked_for(units), units, store)
    assert again.total == found.total
    assert sorted(computed(tmp_path)) == [1, 2, 2, 3, 3, 4]


def test_what_is_unfinished_is_put_together_and_not_written(tmp_path):
    store, units = Store(tmp_path / "run"), chain(tmp_path)
    with pytest.raises(InvalidInputError, match="holds no plan of a total"):
        Adding().put_together(store)
    found = Adding().carry_out(asked_for(units), units, store, compute=lambda *_: execute(units[:2], store))
    assert (found.total, found.found, found.units_left) == (3, 2, 2)
    assert not (tmp_path / "run" / "total.json").exists()
    assert not (tmp_path / "run" / "seen").exists()
    execute(units, store)
    assert Adding().put_together(store).total == 19
    assert (tmp_path / "run" / "total.json").exists()


def test_results_are_of_what_was_asked_whatever_another_command_asks_meanwhile(tmp_path):
    store, units = Store(tmp_path / "run"), chain(tmp_path)

    def meanwhile(asked, store, watch):
        keep(Plan.of("adding", asked_for(units), units, UNKNOWN), store)
        execute(asked, store, watch)

    found = Adding().carry_out(asked_for(units[:1]), units[:1], store, compute=meanwhile)
    assert (found.total, found.units_left) == (1, 0)
    assert Adding().put_together(store).units_left == 3, "later, the last one that was asked for counts"


def test_what_is_unfinished_can_be_looked_at_where_nothing_can_be_written(tmp_path, monkeypatch):
    store, units = Store(tmp_path / "run"), chain(tmp_path)
    Adding().carry_out(asked_for(units), units, store, compute=lambda *_: execute(units[:2], store))
    shutil.rmtree(tmp_path / "run" / "claims")

    def read_only(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.mkdir", read_only)
    assert Adding().put_together(store).found == 2


def test_plans_are_kept_in_the_order_in_which_they_were_asked_for(tmp_path):
    store, units = Store(tmp_path), chain(tmp_path)
    plans = [
        Plan.of("adding", asked_for(part), part, replace(UNKNOWN, command=f"of {len(part)}"))
        for part in (units[:1], units)
    ]
    for plan in (*plans, replace(plans[0], asked="9999")):
        keep(plan, store)
    assert [plan.provenance.command for plan in kept(store)] == ["of 4", "of 1"]
    assert [unit.digest for unit in kept(store)[0].units] == [unit.digest for unit in units]
    assert kept(store, "subtracting") == []
    for path in (tmp_path / "plans").iterdir():
        path.write_bytes(path.read_bytes()[:-9])
    assert kept(store) == []


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2)])
def test_shares_add_up_and_the_last_one_does_what_follows_on_several(tmp_path, order):
    store = Store(tmp_path / "run")
    roots = [Sum(number=number, notes=tmp_path) for number in range(5)]
    after = [Sum(number=10 + unit.number, notes=tmp_path, follows=(unit,)) for unit in roots]
    joint = Sum(number=100, notes=tmp_path, follows=tuple(after))
    units = [*after, joint]
    for number in order[:-1]:
        execute_share = shard(f"{number}/3")
        execute_share(units, store, None)
        assert joint not in store
    shard(f"{order[-1]}/3")(units, store, None)
    assert sorted(computed(tmp_path)) == [*range(5), *range(10, 15), 100]
    assert store.get(joint).arrays["total"].tolist() == [sum(range(5)) + sum(range(10, 15)) + 100]


def test_each_share_has_as_many_units_of_a_kind(tmp_path):
    """Units come slice by slice, each with as many attacks as there are shares: none has an attack for itself."""
    store = Store(tmp_path / "run")
    units = [
        Sum(number=1_000 * part + number, notes=tmp_path, called=f"attack {number}")
        for part in range(8)
        for number in range(4)
    ]
    shard("2/4")(units, store, None)
    assert sorted(number % 1_000 for number in computed(tmp_path)) == [0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "1/0", "a/b", "1/3 ", f"1/{'9' * 5_000}"])
def test_a_share_that_is_none_is_refused(text):
    with pytest.raises(InvalidInputError, match=f"as in 3/16. Received: {text}"):
        shard(text)


def test_status_tells_what_is_done_failed_and_left(tmp_path):
    run_folder = tmp_path / "run"
    store = Store(run_folder)
    fine = [Sum(number=number, notes=tmp_path) for number in range(4)]
    broken = Sum(number=7, notes=tmp_path, wrong=RuntimeError)
    later = Sum(number=8, notes=tmp_path)
    plan = Plan.of("adding", asked_for(fine), [*fine, broken, later], replace(UNKNOWN, command="advkeras add"))
    keep(plan, store)
    with pytest.raises(UnitsFailedError):
        execute([*fine, broken], store)
    for second, unit in enumerate(fine):
        os.utime(run_folder / "units" / f"{unit.digest}.npz", (1000 + 30 * second,) * 2)
    (found,) = status(store)
    assert (found.done, found.failed, found.left, found.seconds_left) == (4, 1, 1, 30.0)
    assert found.failures == {"sum of 7": "RuntimeError: no good"}
    shown = run("status", run_folder).stdout
    assert "adding: advkeras add (asked for " in shown
    assert "sum of 7 failed: RuntimeError: no good" in shown
    assert "4 of 6 units done, 1 failed, 1 left, about 30 s left" in shown
    assert json.loads(run("status", run_folder, "--json").stdout)[0]["left"] == 1
    assert "holds no run" in error_of("status", tmp_path / "nowhere")


def test_a_pause_does_not_count_for_the_time_left(tmp_path):
    store = Store(tmp_path / "run")
    units = [Sum(number=number, notes=tmp_path) for number in range(6)]
    keep(Plan.of("adding", asked_for(units), units, UNKNOWN), store)
    (alone,) = status(store)
    assert alone.seconds_left is None
    execute(units[:4], store)
    for time, unit in zip((0, 10, 20, 90_000), units, strict=False):
        os.utime(tmp_path / "run" / "units" / f"{unit.digest}.npz", (time, time))
    (found,) = status(store)
    assert found.seconds_left == pytest.approx(20)
