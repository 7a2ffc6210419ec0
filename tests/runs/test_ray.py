"""Units on Ray workers: the same results as in one process, whatever dies, fails or is interrupted."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import ClassVar

import numpy as np
import psutil
import pytest

from advkeras.errors import AdvkerasError, InvalidInputError
from advkeras.runs.execute import UnitsFailedError, Watch, execute
from advkeras.runs.ray_workers import WorkerDiedError, execute_on_ray
from advkeras.runs.store import Store
from advkeras.runs.unit import Result

from .sums import REPOSITORY, Sum, chain, computed, wait_for

# Not imported here: how Ray is imported is part of what is tested.
pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")


@dataclass(frozen=True, kw_only=True, eq=False)
class Deadly(Sum):
    """Kills its process, as often as it is told."""

    deaths: int = 1

    def compute(self, found, progress):
        result = super().compute(found, progress)
        if computed(self.notes).count(self.number) <= self.deaths:
            os.kill(os.getpid(), signal.SIGKILL)
        return result


@dataclass(frozen=True, kw_only=True, eq=False)
class Surroundings(Sum):
    """Says where it runs, and how far it is."""

    kind: ClassVar[str] = "surroundings"

    def compute(self, found, progress):
        for step in range(1, 4):
            progress(step, 3)
        facts = {name: os.environ.get(name) for name in ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS")}
        return Result({"process": np.array([os.getpid()])}, facts)


class UnreadableError(Exception):
    """Can be pickled, but not read again."""

    def __init__(self, text):
        super().__init__(text, "more")

    def __str__(self):
        return self.args[0]


class Telling(Watch):
    """Keeps what it is told."""

    def __init__(self):
        self.there, self.around, self.steps, self.failures = None, [], [], []

    def planned(self, units, there):
        self.there = (len(units), len(there))

    @contextmanager
    def working(self, unit):
        self.around.append(("begin", unit.number))
        try:
            yield lambda done, total: self.steps.append((unit.number, done, total))
        except Exception as error:
            self.around.append((type(error).__name__, unit.number))
            raise
        self.around.append(("end", unit.number))

    def failed(self, unit, error, attempts_left):
        self.failures.append((unit.number, type(error).__name__, str(error), attempts_left))


@pytest.fixture(scope="module")
def session():
    """One Ray session for the tests that do not need one of their own."""
    import ray

    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield
    ray.shutdown()


def test_results_failures_and_what_the_watch_hears_are_those_of_one_process(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "3")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.chdir(tmp_path)
    found = {}
    for name, compute in (("here", execute), ("ray", lambda *args: execute_on_ray(*args, workers=2))):
        notes = tmp_path / f"{name}-notes"
        notes.mkdir()
        broken = Sum(number=5, notes=notes, wrong=UnreadableError)
        killed = Deadly(number=8, notes=notes, deaths=1 if name == "ray" else 0)
        units = [*chain(notes), Sum(number=6, notes=notes, follows=(broken,)), Surroundings(number=7, notes=notes)]
        units.append(Sum(number=9, notes=notes, follows=(killed,)))
        store, watch = Store(name), Telling()
        execute(units[:1], store)
        execute(units[1:2], store)
        # A damaged result that another unit follows on.
        (tmp_path / name / "units" / f"{units[0].digest}.npz").write_bytes(b"PK")
        with pytest.raises(UnitsFailedError) as error:
            compute(units, store, watch)
        results = [store.get(unit) for unit in (*units[:4], units[6])]
        assert all(results)
        where = store.get(units[5])
        found[name] = (
            str(error.value),
            [result.checksum for result in results],
            sorted(number for number in computed(notes) if number != 8),
            store.failures(),
            watch.there,
            sorted(each for each in watch.around if each[1] != 8),
            [each for each in watch.failures if each[0] != 8],
            [step for step in watch.steps if step[1] == step[2]],
            where.facts,
        )
        assert (int(where.arrays["process"][0]) == os.getpid()) is (name == "here")
    # The one whose first worker was killed.
    assert computed(notes).count(8) == 2
    assert [(name, left) for number, name, _, left in watch.failures if number == 8] == [("WorkerDiedError", 2)]
    assert found["ray"] == found["here"]
    assert capfd.readouterr() == ("", "")
    assert found["ray"][0] == "2 of 9 units failed: sum of 5: UnreadableError: no good"


@pytest.mark.slow
def test_a_unit_whose_workers_all_die_is_given_up(session, tmp_path):
    store, watch = Store(tmp_path / "run"), Telling()
    once, always = Deadly(number=8, notes=tmp_path), Deadly(number=9, notes=tmp_path, deaths=9)
    last = Sum(number=10, notes=tmp_path, follows=(once,))
    message = "1 of 3 units failed: sum of 9: WorkerDiedError: the process that computed it died"
    with pytest.raises(UnitsFailedError, match=message):
        execute_on_ray([last, always], store, watch, workers=2, attempts=2)
    assert sorted(computed(tmp_path)) == [8, 8, 9, 9, 10]
    assert store.get(last).arrays["total"].tolist() == [18]
    assert list(store.failures()) == [always.digest]
    assert sorted((number, name, left) for number, name, _, left in watch.failures) == [
        (8, WorkerDiedError.__name__, 1),
        (9, WorkerDiedError.__name__, 0),
        (9, WorkerDiedError.__name__, 1),
    ]


@pytest.mark.slow
def test_wrong_input_and_units_that_cannot_be_sent_end_the_run_at_once(session, tmp_path):
    store = Store(tmp_path / "run")
    units = [Sum(number=1, notes=tmp_path, wrong=InvalidInputError), Sum(number=2, notes=tmp_path, seconds=60)]
    start = time.monotonic()
    with pytest.raises(InvalidInputError, match="^no good$"):
        execute_on_ray(units, store, workers=2)
    assert time.monotonic() - start < 50
    with pytest.raises(InvalidInputError, match="sum of 3 cannot be sent to a worker"):
        execute_on_ray([Sum(number=3, notes=(line for line in ()))], store, workers=1)
    assert store.failures() == {}


@pytest.mark.slow
def test_more_workers_than_there_are_cores_are_refused(session, tmp_path):
    units = [Sum(number=1, notes=tmp_path)]
    with pytest.raises(InvalidInputError, match=r"workers must be at most 2, the number of cores. Received: workers=3"):
        execute_on_ray(units, Store(tmp_path / "run"), workers=3)
    with pytest.raises(InvalidInputError, match=r"workers must be at least 1"):
        execute_on_ray(units, Store(tmp_path / "run"), workers=0)
    assert computed(tmp_path) == []


def test_without_ray_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InvalidInputError, match=r"pip install 'advkeras\[distributed\]'"):
        execute_on_ray([Sum(number=1, notes=tmp_path)], Store(tmp_path / "run"))


# A unit of a script, which no worker can import.
SCRIPT = """
import os
import signal
import sys
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
import numpy as np
from advkeras.runs.ray_workers import execute_on_ray
from advkeras.runs.store import Store
from advkeras.runs.unit import Result, Unit

@dataclass(frozen=True, kw_only=True, eq=False)
class Slow(Unit):
    number: int
    kind = "slow"
    title = "slow"
    subject = property(lambda self: {"number": self.number})

    def compute(self, found, progress):
        with Path("computed").open("a") as stream:
            stream.write(f"{self.number}\\n")
        Path(f"process-{os.getpid()}").touch()
        time.sleep(float(sys.argv[1]))
        return Result({"number": np.array([self.number])}, {})

if __name__ == "__main__":
    seconds = float(sys.argv[1])
    # A shell's background jobs, the tests among them, are started with this signal ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        execute_on_ray([Slow(number=number) for number in range(6)], Store("run"), workers=2)
    finally:
        print("left", flush=True)
"""


def started(folder, seconds):
    (folder / "script.py").write_text(SCRIPT.replace("float(sys.argv[1])", str(seconds)))
    return subprocess.Popen(
        [sys.executable, "script.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize(("number", "to_all"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_an_interrupted_run_ends_its_workers_and_keeps_what_is_done(tmp_path, number, to_all):
    with started(tmp_path, 3) as process:
        wait_for(lambda: len(computed(tmp_path)) >= 3, 120)
        start = time.monotonic()
        (os.killpg if to_all else os.kill)(process.pid, number)
        workers = [int(path.name.removeprefix("process-")) for path in tmp_path.glob("process-*")]
        assert len(workers) == 2
        wait_for(lambda: not any(psutil.pid_exists(worker) for worker in workers), 5)
        said, complaint = process.communicate(timeout=60)
        assert time.monotonic() - start < 15
    assert said == "left\n"
    assert process.returncode != 0
    assert complaint.count("\n") < 40
    assert "ray::" not in complaint
    before = Store(tmp_path / "run").digests()
    assert 0 < len(before) < 6
    with started(tmp_path, 0) as process:
        assert process.communicate(timeout=120) == ("left\n", "")
    assert len(Store(tmp_path / "run").digests()) == 6
    assert len(computed(tmp_path)) <= 8


@pytest.mark.slow
def test_two_drivers_share_the_work(tmp_path):
    with started(tmp_path, 2) as first, started(tmp_path, 2) as second:
        for process in (first, second):
            assert process.communicate(timeout=180) == ("left\n", "")
            assert process.returncode == 0
    assert sorted(computed(tmp_path)) == list(range(6))


@pytest.mark.slow
def test_where_there_is_no_cluster_and_where_workers_cannot_be_started_one_line_says_so(tmp_path):
    import ray

    units, store = [Sum(number=1, notes=tmp_path)], Store(tmp_path / "run")
    ray.shutdown()
    with pytest.raises(InvalidInputError, match="^cannot connect to a Ray cluster at '127.0.0.1:1': .*refused.*$"):
        execute_on_ray(units, store, address="127.0.0.1:1")
    with pytest.raises(AdvkerasError, match="^workers cannot be started: .*No module named 'advkeras'$"):
        execute_on_ray(units, Unreadable(tmp_path / "run"))
    assert not ray.is_initialized()


class Unreadable(Store):
    """A store that no worker can open."""

    def __reduce__(self):
        return fail, ()


def fail():
    raise ModuleNotFoundError("No module named 'advkeras'")
