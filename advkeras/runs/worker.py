"""What a process does that computes units for another one: it keeps what happens until the other asks."""

import os
import pickle
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any

from advkeras.arrays import Progress
from advkeras.errors import AdvkerasError, InvalidInputError, first_line
from advkeras.runs.execute import Watch, Work
from advkeras.runs.store import Store
from advkeras.runs.unit import Unit

# Seconds: how long a worker waits for more to tell, and how often it tells of a unit's progress.
_BATCH, _STEP = 0.5, 0.1
THREADS = "OMP_NUM_THREADS"

Event = tuple[Any, ...]
"""What happened, and to what; the last one of a unit is ``"settled"`` or ``"stopped"``."""


class Worker:
    """What a Ray actor is made of: it works on one unit at a time.

    Args:
        store: of the results.
    """

    def __init__(self, store: Store) -> None:
        if not os.environ.get(THREADS):
            os.environ.pop(THREADS, None)  # an empty value has kept Ray from choosing one
        self._store, self._relay = store, _Relay()
        self._thread: threading.Thread | None = None

    def ready(self) -> int:
        """The number of the process, once it is there."""
        return os.getpid()

    def begin(self, unit: bytes, attempts: int) -> list[Event]:
        """Begins to work on a unit.

        Args:
            unit: as :func:`pickled` gives it.
            attempts: before it is given up.

        Returns:
            What has happened so far.
        """
        self._thread = threading.Thread(target=self._settle, args=(unit, attempts), daemon=True)
        self._thread.start()
        return self.go_on()

    def go_on(self) -> list[Event]:
        """What has happened since the last call, after a while or when the unit is settled."""
        if self._thread is not None:
            self._thread.join(_BATCH)
        return self._relay.batch()

    def _settle(self, unit: bytes, attempts: int) -> None:
        work = Work(self._store, self._relay, attempts)
        try:
            self._relay.tell("settled", work.settled(_loaded(unit)), work.given_up)
        except BaseException as error:
            self._relay.tell("stopped", _portable(error))


class _Relay(Watch):
    """Keeps what another process's watch is to be told."""

    def __init__(self) -> None:
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()

    def tell(self, *event: Any) -> None:
        self._events.put(event)

    def batch(self) -> list[Event]:
        return [self._events.get() for _ in range(self._events.qsize())]

    @contextmanager
    def working(self, unit: Unit) -> Iterator[Progress]:
        self.tell("began", unit.digest)
        told = 0.0

        def progress(done: int, total: int) -> None:
            nonlocal told
            if done == total or time.monotonic() - told > _STEP:
                told = time.monotonic()
                self.tell("progress", done, total)

        try:
            yield progress
        except BaseException as error:
            self.tell("ended", _portable(error))
            raise
        self.tell("ended", None)

    def failed(self, unit: Unit, error: BaseException, attempts_left: int) -> None:
        self.tell("failed", unit.digest, _portable(error), attempts_left)


_BY_VALUE: list[ModuleType] = []


def send_by_value(module: ModuleType) -> None:
    """Says that workers cannot import a module: what units hold of it is sent along."""
    _BY_VALUE.append(module)


def pickled(unit: Unit) -> bytes:
    """A unit as a worker takes it; its class may be defined in a script.

    Raises:
        InvalidInputError: if it holds what cannot be pickled.
    """
    from ray import cloudpickle

    for module in _BY_VALUE:
        cloudpickle.register_pickle_by_value(module)
    try:
        return bytes(cloudpickle.dumps(unit))
    except Exception as error:
        raise InvalidInputError(f"{unit.title} cannot be sent to a worker: {first_line(error)}") from None


def _loaded(content: bytes) -> Unit:
    try:
        unit: Unit = pickle.loads(content)  # noqa: S301 - from the process that Ray has started this worker for
    except Exception as error:
        raise InvalidInputError(f"a worker cannot load a unit: {type(error).__name__}: {first_line(error)}") from None
    return unit


def _portable(error: BaseException) -> BaseException:
    """The error, or one of the same name that says the same, if it cannot be pickled."""
    from ray import cloudpickle

    with suppress(Exception):
        if type(pickle.loads(cloudpickle.dumps(error))) is type(error):  # noqa: S301 - what was dumped just now
            return error
    base = AdvkerasError if isinstance(error, AdvkerasError) else Exception
    named: type[Exception] = type(type(error).__name__, (base,), {})
    return named(first_line(error))
