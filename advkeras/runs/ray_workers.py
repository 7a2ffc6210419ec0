"""Computing units on Ray: workers that are processes of this machine or of a cluster."""

import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from advkeras.arrays import Progress, no_progress
from advkeras.errors import AdvkerasError, InvalidInputError, first_line
from advkeras.parameters import require_count
from advkeras.runs.execute import WAIT, Watch, Work, begin
from advkeras.runs.store import Store
from advkeras.runs.unit import Unit
from advkeras.runs.worker import THREADS, Event, Worker, pickled

# What may change the last digits of a result is on the workers what it is here.
_PASSED_ON = ("TF_", "XLA_", "KERAS_", "ADVKERAS_", "OPENBLAS_", "MKL_")
_PATIENCE = 10.0  # seconds until a cluster counts as unreachable
_AGAIN = 5 * WAIT  # until a unit is tried again that another run was on


class WorkerDiedError(Exception):
    """The process that computed a unit is no more."""


def execute_on_ray(
    units: Iterable[Unit],
    store: Store,
    watch: Watch | None = None,
    *,
    workers: int | None = None,
    address: str | None = None,
    attempts: int = 3,
) -> None:
    """Computes what the store has no result of on several workers, as :func:`~advkeras.runs.execute.execute` does here.

    A worker is a process that lives as long as the run: what a module has loaded there serves its later units, too.
    It reads what a unit follows on from the store, and puts the result there. Units may be defined in a script.
    A unit whose worker dies is computed again on another one; this counts as an attempt.

    Args:
        units: what to compute, and with it all that they follow on.
        store: of the results. All workers must reach it: a cluster needs a shared disk or a URL.
        watch: told as the work goes on, in this process; several units are worked on at a time.
        workers: how many. Each has a GPU of its own where there are GPUs, and as many threads as a single process.
            If not given, as many as there are GPUs, or machines where there are none.
        address: of a Ray cluster, for example ``"auto"`` or ``"10.0.0.1:6379"``. If not given, the session that this
            process has begun with ``ray.init``, or else one on this machine that ends with the run.
        attempts: a unit that fails so often is given up, with those that follow on it.

    Raises:
        UnitsFailedError: in the end, if units were given up.
        InvalidInputError: if Ray is not installed or cannot be reached, or has too few cores or GPUs.
        AdvkerasError: at once, if input is wrong, results cannot be written or workers cannot be started; what is
            done is kept.
    """
    if workers is not None:
        require_count(workers=workers)
    ray = _ray()
    watch = watch or Watch()
    work = Work(store, watch, attempts)
    ordered, pending = begin(units, store, watch)
    if pending:
        with _session(ray, address) as own:
            demand = _demand(ray, own)
            count = _count(ray, workers, demand)
            with _Crew(ray, demand, store) as crew:
                _Run(crew, work, watch, attempts, ordered, pending).finish(min(count, len(pending)))
    work.require_none_given_up(len(ordered))


def _ray() -> Any:
    # Ray would print this to the standard output, also where it is told to be quiet; the watch is told instead.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", "A worker died or was killed")
    try:
        import ray
    except ImportError as error:
        reason = first_line(error)
        raise InvalidInputError(f"workers need Ray: pip install 'advkeras[distributed]' ({reason})") from None
    return ray


@contextmanager
def _session(ray: Any, address: str | None) -> Iterator[bool]:
    """A Ray session: the one that there is, or one for a while. Gives whether it is one of this machine for a while."""
    if ray.is_initialized():
        yield False
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        _connect(ray, address)
        if callable(handler):
            _on_terminate(handler)  # Ray has put its own in the place of the caller's
        yield address is None
    finally:
        ray.shutdown()
        _on_terminate(handler)


def _on_terminate(handler: Any) -> None:
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def _connect(ray: Any, address: str | None) -> None:
    quiet = {"log_to_driver": False, "logging_level": "error"}
    try:
        if address is None:
            # With no cores to give away, Ray starts no other processes than the workers.
            ray.init("local", num_cpus=0, include_dashboard=False, **quiet)
        else:
            _require_listener(address)
            ray.init(address, **quiet)
    except Exception as error:
        if address is None:
            raise InvalidInputError(f"Ray cannot be started: {first_line(error)}") from None
        raise InvalidInputError(
            f"cannot connect to a Ray cluster at {address!r}: {first_line(error)}; is one there, and is RAY_AUTH_MODE "
            "here what it is there?"
        ) from None


def _require_listener(address: str) -> None:
    """Raises an OSError if nobody listens at a host's port, for which Ray would wait many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE):
            pass


def _demand(ray: Any, own: bool) -> dict[str, int]:
    """What each worker asks Ray for."""
    if ray.cluster_resources().get("GPU"):
        return {"num_cpus": 0, "num_gpus": 1}
    return {"num_cpus": 0 if own else 1}


def _count(ray: Any, workers: int | None, demand: Mapping[str, int]) -> int:
    there = ray.cluster_resources()
    gpus, cores = int(there.get("GPU", 0)), int(there.get("CPU", 0))
    count = workers or gpus or sum(node["Alive"] for node in ray.nodes())
    for name, what, most in (("num_gpus", "GPUs", gpus), ("num_cpus", "cores", cores)):
        if demand.get(name) and count > most:
            raise InvalidInputError(f"workers must be at most {most}, the number of {what}. Received: workers={count}")
    return count


class _Seat:
    """A worker as the driver sees it: what it is on, and what the watch is told of that."""

    def __init__(self, actor: Any) -> None:
        self.actor = actor
        self.unit: Unit | None = None
        self.progress: Progress = no_progress
        self._around: AbstractContextManager[Progress] | None = None

    def enter(self, around: AbstractContextManager[Progress]) -> None:
        self._around = around
        self.progress = around.__enter__()

    def leave(self, error: BaseException | None) -> None:
        around, self._around, self.progress = self._around, None, no_progress
        if around is not None:
            around.__exit__(type(error) if error else None, error, None)


class _Crew:
    """The workers of a run; they end with it."""

    def __init__(self, ray: Any, demand: Mapping[str, int], store: Store) -> None:
        self._ray, self._store = ray, store
        variables = {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)}
        # Ray chooses a number of threads where there is no value; an empty one keeps it from that.
        variables[THREADS] = os.environ.get(THREADS, "")
        options = {**demand, "scheduling_strategy": "SPREAD", "runtime_env": {"env_vars": variables}}
        self._worker = ray.remote(Worker).options(**options)
        self._seats: list[_Seat] = []
        self._expected: dict[Any, _Seat] = {}

    def __enter__(self) -> "_Crew":
        return self

    def __exit__(self, _: Any, error: BaseException | None, __: Any) -> None:
        for seat in self._seats:
            self._ray.kill(seat.actor)
        for seat in self._seats:
            seat.leave(error)

    def hire(self) -> None:
        """Starts a worker, and expects that it is ready."""
        seat = _Seat(self._worker.remote(self._store))
        self._seats.append(seat)
        self.expect(seat, seat.actor.ready.remote())

    def dismiss(self, seat: _Seat) -> None:
        """Ends a worker."""
        self._seats.remove(seat)
        self._ray.kill(seat.actor)

    def expect(self, seat: _Seat, call: Any) -> None:
        """Keeps what a worker was asked."""
        self._expected[call] = seat

    def answer(self) -> tuple[_Seat, Any] | None:
        """A worker's answer, or the error that it died of; None after a while."""
        if not self._expected:
            time.sleep(WAIT)
            return None
        for call in self._ray.wait(list(self._expected), timeout=WAIT)[0]:
            seat = self._expected.pop(call)
            try:
                return seat, self._ray.get(call)
            except self._ray.exceptions.RayTaskError as error:
                raise AdvkerasError(f"a worker failed: {_last_line(error)}") from None
            except self._ray.exceptions.RayError as error:
                return seat, error
        return None


def _last_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[-1]


class _Run:
    """What is left of a run, and who is on it."""

    def __init__(
        self,
        crew: _Crew,
        work: Work,
        watch: Watch,
        attempts: int,
        ordered: Sequence[Unit],
        pending: Sequence[Unit],
    ) -> None:
        self._crew, self._work, self._watch, self._attempts = crew, work, watch, attempts
        self._units = {unit.digest: unit for unit in ordered}
        self._unsettled = {unit.digest: unit for unit in pending}
        self._idle: list[_Seat] = []
        self._taken: set[str] = set()
        self._not_before: dict[str, float] = {}
        self._deaths: Counter[str] = Counter()
        self._false_starts = 0

    def finish(self, workers: int) -> None:
        """Settles all units with so many workers."""
        for _ in range(workers):
            self._crew.hire()
        while self._unsettled:
            while self._idle and (unit := self._next()):
                self._give(self._idle.pop(), unit)
            if answer := self._crew.answer():
                self._heed(*answer)

    def _next(self) -> Unit | None:
        now = time.monotonic()
        for digest, unit in self._unsettled.items():
            free = digest not in self._taken and self._not_before.get(digest, now) <= now
            if free and not any(each.digest in self._unsettled for each in unit.follows):
                return unit
        return None

    def _give(self, seat: _Seat, unit: Unit) -> None:
        seat.unit = unit
        self._taken.add(unit.digest)
        left = self._attempts - self._deaths[unit.digest]
        self._crew.expect(seat, seat.actor.begin.remote(pickled(unit), left))

    def _heed(self, seat: _Seat, answer: Any) -> None:
        if isinstance(answer, BaseException):
            self._replace(seat, answer)
        elif seat.unit is None:
            self._false_starts = 0
            self._idle.append(seat)
        else:
            for event in answer:
                self._take_in(seat, event)
            if seat.unit is None:
                self._idle.append(seat)
            else:
                self._crew.expect(seat, seat.actor.go_on.remote())

    def _take_in(self, seat: _Seat, event: Event) -> None:
        match event:
            case "began", digest:
                seat.enter(self._watch.working(self._units[digest]))
            case "progress", done, total:
                seat.progress(done, total)
            case "ended", error:
                seat.leave(error)
            case "failed", digest, error, left:
                self._watch.failed(self._units[digest], error, left)
            case "settled", settled, given_up:
                self._work.given_up.update(given_up)
                self._free(seat, settled)
            case "stopped", error:
                raise error

    def _free(self, seat: _Seat, settled: bool) -> None:
        unit, seat.unit = seat.unit, None
        assert unit is not None
        self._taken.remove(unit.digest)
        if settled:
            self._unsettled.pop(unit.digest, None)
        else:
            self._not_before[unit.digest] = time.monotonic() + _AGAIN
        if self._work.given_up:
            left = self._unsettled.items()
            self._unsettled = {digest: each for digest, each in left if not self._work.barred(each)}

    def _replace(self, seat: _Seat, error: BaseException) -> None:
        """Puts a new worker in the place of a dead one."""
        died = WorkerDiedError("the process that computed it died")
        seat.leave(died)
        self._crew.dismiss(seat)
        if seat.unit is None:
            self._false_starts += 1
            if getattr(error, "actor_init_failed", False) or self._false_starts == self._attempts:
                raise AdvkerasError(f"workers cannot be started: {_last_line(error)}")
        else:
            unit = seat.unit
            self._deaths[unit.digest] += 1
            self._work.failed(unit, died, self._attempts - self._deaths[unit.digest])
            self._free(seat, settled=unit.digest in self._work.given_up)
        self._crew.hire()
