"""On how many devices and machines a training runs."""

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow.python.eager import context

from advkeras.errors import AdvkerasError, InvalidInputError, first_line, require

Strategy = Literal["none", "mirrored", "multiworker"]

_NAMED_EVERY, _PROBED_FOR = 60.0, 2.0
_OF_LOST_WORKERS = (
    *(tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.InternalError),
    *(tf.errors.DeadlineExceededError, tf.errors.FailedPreconditionError),
)


def strategy(name: str, *, wait: float = 600.0, report: Callable[[str], None] = print) -> Any:
    """The tf.distribute strategy of a name. Several workers must be set up before TensorFlow is used for anything else.

    Args:
        name: ``"none"``; ``"mirrored"``, all GPUs of this machine, or, where there is none, all its logical CPUs;
            ``"multiworker"``, all machines that the environment variable TF_CONFIG names, each running the same
            command with its own index.
        wait: seconds after which workers that have not come are given up.
        report: called each minute with one line that names them.

    Raises:
        InvalidInputError: if there is no such strategy, or TF_CONFIG does not say which workers there are.
        AdvkerasError: if the workers do not come together.
    """
    if name not in get_args(Strategy):
        raise InvalidInputError(f"unknown strategy {name!r}: known are {', '.join(get_args(Strategy))}")
    if name == "none":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    require(wait > 0, "wait must be more than 0 seconds", wait=wait)
    return _gather(*_cluster(), wait, report)


def worker(chosen: Any) -> int:
    """The number of this worker; 0, the chief, writes what the training has made."""
    resolver = chosen.cluster_resolver
    return int(resolver.task_id or 0) if resolver is not None else 0


def in_common(chosen: Any, numbers: Iterable[int], below: int) -> int:
    """The largest number that all workers have; each of them has to ask.

    Args:
        chosen: the strategy.
        numbers: that this worker has, from 0 on.
        below: what all numbers of all workers are less than.

    Returns:
        -1 if there is none.
    """
    own = set(numbers)
    totals = _total(chosen, [float(number in own) for number in range(below)])
    return int(np.flatnonzero(totals == chosen.num_replicas_in_sync).max(initial=-1))


def of_the_chief(chosen: Any, values: Sequence[float]) -> list[float]:
    """The values that the first worker has; all workers have to ask. Without workers it is these values."""
    if not has_workers(chosen):
        return list(values)
    chief = float(worker(chosen) == 0)
    # All of the chief's replicas add them up.
    *totals, replicas = _total(chosen, [*(chief * value for value in values), chief])
    return [float(total / replicas) for total in totals]


@contextmanager
def naming_lost_workers(chosen: Any) -> Iterator[None]:
    """Where a worker has gone, what TensorFlow says about it becomes one line that says what to do.

    Raises:
        AdvkerasError: in place of TensorFlow's error, with several workers.
    """
    try:
        yield
    except _OF_LOST_WORKERS as error:
        if not has_workers(chosen):
            raise
        raise AdvkerasError(
            f"a worker is gone, or does not answer ({type(error).__name__}): "
            "give the same command again on all workers to go on"
        ) from None


def has_workers(chosen: Any) -> bool:
    """Whether several workers train together."""
    return isinstance(chosen, tf.distribute.MultiWorkerMirroredStrategy)


def _total(chosen: Any, values: Sequence[float]) -> npt.NDArray[np.float64]:
    """The sums of values over all replicas of all workers."""
    own = tf.constant(values, tf.float64)

    def add() -> Any:
        # A tensor of each replica's own; one that they share would count once.
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(own))

    summed = tf.function(lambda: chosen.run(add), autograph=False)()
    return np.asarray(chosen.experimental_local_results(summed)[0])


def _cluster() -> tuple[Sequence[str], int]:
    """Addresses of the workers, and which of them this one is."""
    try:
        config = json.loads(os.environ["TF_CONFIG"])
        workers, index = config["cluster"]["worker"], int(config["task"]["index"])
        known = config["task"]["type"] == "worker" and 0 <= index < len(workers)
        known = known and isinstance(workers, list) and all(isinstance(address, str) for address in workers)
    except (KeyError, ValueError, TypeError, OverflowError):
        known = False
    if not known:
        raise InvalidInputError(
            "--strategy multiworker needs the environment variable TF_CONFIG on each machine, for example "
            '{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, "task": {"type": "worker", "index": 0}}. '
            f"Received: {os.environ.get('TF_CONFIG', 'nothing')}"
        )
    return workers, index


def _gather(workers: Sequence[str], index: int, wait: float, report: Callable[[str], None]) -> Any:
    """Builds the strategy in a thread, since that ends when all workers have come, and watches over it."""
    built: Future[Any] = Future()

    def build() -> None:
        try:
            built.set_result(_build())
        except Exception as error:
            built.set_exception(error)

    threading.Thread(target=build, daemon=True).start()
    begun = time.monotonic()
    while (left := begun + wait - time.monotonic()) > 0:
        try:
            return built.result(timeout=min(_NAMED_EVERY, left))
        except TimeoutError:
            if left > _NAMED_EVERY:
                report(f"{_missing(workers, index)}; waiting for up to {wait:g} s (--wait)")
        except (tf.errors.OpError, RuntimeError) as error:
            raise AdvkerasError(f"the workers do not come together: {first_line(error)}") from None
    raise AdvkerasError(f"{_missing(workers, index)}; {wait:g} s are over (--wait)")


def _build() -> Any:
    # By default TensorFlow's coordination service brings the workers together. Until they are, it holds Python's lock,
    # so that nobody can be told who is missing, and it takes SIGTERM for itself. Without it an all-reduce waits.
    context.context().configure_coordination_service(service_type="", service_leader="")
    # It logs a worker that does not answer: one that is done, or one whose loss ends the training with an error.
    tf.get_logger().setLevel(logging.CRITICAL)
    return tf.distribute.MultiWorkerMirroredStrategy()


def _missing(workers: Sequence[str], index: int) -> str:
    """Which other workers do not answer, in words."""
    missing = [
        f"worker {number} ({address})"
        for number, address in enumerate(workers)
        if number != index and not _answers(address)
    ]
    if not missing:
        return "all workers answer, and yet they do not begin together"
    return f"{', '.join(missing)} {'has' if len(missing) == 1 else 'have'} not come"


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_PROBED_FOR):
            return True
    except (OSError, ValueError, OverflowError):
        return False
