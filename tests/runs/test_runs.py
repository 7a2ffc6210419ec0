"""Units, the store of their results, and computing them: stopped, damaged, failing, and two processes at once."""

import errno
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from advkeras.errors import InvalidInputError
from advkeras.files import scratch_prefix, write_atomically
from advkeras.runs.execute import UnitsFailedError, Watch, execute
from advkeras.runs.store import Store
from advkeras.runs.unit import Result, canonical, in_order

from .sums import REPOSITORY, Sum, chain, computed, wait_for


def test_what_decides_the_result_is_the_identity(tmp_path):
    first, second, third, last = chain(tmp_path)
    assert first.digest == Sum(number=1, notes=tmp_path / "elsewhere", seconds=9.0).digest
    assert len({unit.digest for unit in (first, second, third, last)}) == 4
    assert third.digest != Sum(number=3, notes=tmp_path, follows=(second, first)).digest
    newer = type("Newer", (Sum,), {"version": 2})
    assert newer(number=1, notes=tmp_path).digest != first.digest
    assert in_order([last, first]) == [first, second, third, last]
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical({"epsilon": float("nan")})


def test_units_are_computed_once_and_after_what_they_follow_on(tmp_path):
    store, units = Store(tmp_path / "run"), chain(tmp_path)
    assert store.digests() == set()
    execute([units[3]], store)
    assert computed(tmp_path) == [1, 2, 3, 4]
    assert store.get(units[3]).arrays["total"].tolist() == [10]
    assert store.get(units[2]).facts == {"followed": 2}
    execute([units[3]], store)
    assert computed(tmp_path) == [1, 2, 3, 4]
    assert store.digests() == {unit.digest for unit in units}


@pytest.mark.parametrize("harm", ["cut off", "other facts", "another unit's", "nothing"])
def test_a_result_that_is_damaged_is_computed_again(tmp_path, harm):
    store, units = Store(tmp_path / "run"), chain(tmp_path)
    execute(units, store)
    file = tmp_path / "run" / "units" / f"{units[1].digest}.npz"
    if harm == "other facts":
        store.put(units[1], Result({"total": np.array([7])}, {}))
        arrays = dict(np.load(file))
        np.savez(file, **{**arrays, "total": np.array([8])})
    elif harm == "another unit's":
        file.write_bytes((tmp_path / "run" / "units" / f"{units[0].digest}.npz").read_bytes())
    else:
        file.write_bytes(file.read_bytes()[:-20] if harm == "cut off" else b"")
    assert store.get(units[1]) is None
    execute(units, store)
    assert computed(tmp_path) == [1, 2, 3, 4, 2]
    assert store.get(units[1]).arrays["total"].tolist() == [2]


def test_a_unit_whose_input_is_damaged_is_given_a_whole_one(tmp_path):
    store, units = Store(tmp_path / "run"), chain(tmp_path)
    execute(units[:2], store)
    (tmp_path / "run" / "units" / f"{units[0].digest}.npz").write_bytes(b"PK")
    execute(units, store)
    assert sorted(computed(tmp_path)) == [1, 1, 2, 3, 4]
    assert store.get(units[3]).arrays["total"].tolist() == [10]


def test_a_unit_that_fails_three_times_does_not_stop_the_others(tmp_path):
    store = Store(tmp_path / "run")
    broken = Sum(number=5, notes=tmp_path, wrong=RuntimeError)
    after = Sum(number=6, notes=tmp_path, follows=(broken,))
    told = []

    class Telling(Watch):
        def failed(self, unit, error, attempts_left):
            told.append((unit.number, str(error), attempts_left))

    with pytest.raises(UnitsFailedError, match="2 of 6 units failed: sum of 5: RuntimeError: no good"):
        execute([after, *chain(tmp_path)], store, Telling())
    assert computed(tmp_path) == [5, 5, 5, 1, 2, 3, 4]
    assert told == [(5, "no good", 2), (5, "no good", 1), (5, "no good", 0)]
    assert store.failures() == {broken.digest: "RuntimeError: no good"}
    (tmp_path / "mended").touch()
    execute([after], store)
    assert store.get(after).arrays["total"].tolist() == [11]
    assert store.failures() == {}


def test_wrong_input_ends_the_run_at_once(tmp_path):
    store = Store(tmp_path / "run")
    units = [Sum(number=1, notes=tmp_path), Sum(number=2, notes=tmp_path, wrong=InvalidInputError)]
    with pytest.raises(InvalidInputError, match="no good"):
        execute([*units, Sum(number=3, notes=tmp_path)], store)
    assert computed(tmp_path) == [1, 2]
    assert store.get(units[0]) is not None


SCRIPT = """
import sys
from pathlib import Path
from advkeras.runs.execute import execute
from advkeras.runs.store import Store
from tests.runs.sums import Sum
folder = Path(sys.argv[1])
execute([Sum(number=number, notes=folder, seconds=float(sys.argv[2])) for number in range(6)], Store(folder / "run"))
"""


def started(folder, seconds):
    return subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder), str(seconds)], cwd=REPOSITORY)


def test_two_processes_share_the_work_and_a_dead_one_holds_nothing(tmp_path):
    processes = [started(tmp_path, 0.4) for _ in range(2)]
    try:
        # One is killed with a unit in its hands.
        wait_for(lambda: len(computed(tmp_path)) >= 3)
        os.kill(processes[0].pid, signal.SIGKILL)
        assert processes[1].wait(timeout=60) == 0
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert set(computed(tmp_path)) == set(range(6))
    assert len(computed(tmp_path)) <= 7
    store = Store(tmp_path / "run")
    assert [store.get(Sum(number=n, notes=tmp_path)).arrays["total"][0] for n in range(6)] == list(range(6))


def left_by_a_dead_process(folder):
    """A file, half written, of a process that is no more."""
    folder.mkdir(parents=True, exist_ok=True)
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    left = folder / scratch_prefix().replace(f"-{os.getpid()}-", f"-{process.pid}-x")
    left.write_bytes(b"half")
    return left


@pytest.mark.parametrize("place", ["", "units", "failures", "plans", "model"])
def test_what_a_killed_process_left_half_written_in_a_run_is_swept_up(tmp_path, place):
    folder = tmp_path / "run" / place
    dead, alive = left_by_a_dead_process(folder), folder / f"{scratch_prefix()}x"
    alive.write_bytes(b"half")
    execute([], Store(tmp_path / "run"))
    assert not dead.exists()
    assert alive.exists()


def test_what_a_killed_process_left_half_written_is_swept_up_by_who_writes_beside_it(tmp_path):
    dead, linked = left_by_a_dead_process(tmp_path / "results"), left_by_a_dead_process(tmp_path / "elsewhere")
    (tmp_path / "results" / "link").symlink_to(tmp_path / "elsewhere")
    write_atomically(tmp_path / "results" / "whole", b"whole")
    Store(tmp_path / "results").sweep()
    assert not dead.exists()
    assert linked.exists()


def test_a_disk_that_is_full_is_one_line_and_leaves_nothing_half_written(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InvalidInputError, match=r"cannot write .*x\.bin: No space left on device"):
        write_atomically(tmp_path / "x.bin", b"content")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK])
def test_on_a_file_system_without_locks_everybody_works_on_everything(number, tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", no_locks)
    store, units = Store(tmp_path / "run"), chain(tmp_path)
    with store.claim(units[0]) as mine, store.claim(units[0]) as also_mine:
        assert mine and also_mine
    execute(units, store)
    assert store.get(units[-1]).arrays["total"].tolist() == [10]


def test_a_result_that_memory_is_short_for_is_kept(tmp_path, monkeypatch):
    store, (unit, *_) = Store(tmp_path / "run"), chain(tmp_path)
    execute([unit], store)

    def too_much(*_, **__):
        raise MemoryError

    monkeypatch.setattr("advkeras.npz._values", too_much)
    with pytest.raises(MemoryError):
        store.get(unit)
    monkeypatch.undo()
    assert store.get(unit).arrays["total"].tolist() == [1]
