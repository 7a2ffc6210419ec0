"""Probing a served model: is it the one that was exported, how fast does it answer, how robust is it there?"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from advkeras.arrays import NO_CLASS
from advkeras.attacks.base import Attack
from advkeras.datasets import LabelledImages
from advkeras.errors import plain_text, require
from advkeras.models import Classifier
from advkeras.models.reading import OF_PROBABILITIES
from advkeras.parameters import require_count
from advkeras.proportion import Proportion
from advkeras.serving.clients import Client
from advkeras.serving.failures import ServingError
from advkeras.serving.served import ServedClassifier

# What a load may be, at most.
_MOST_THREADS, _MOST_REQUESTS, _LARGEST_REQUEST = 256, 1_000_000, 256 * 2**20
# Failures in a row after which a server is left alone.
_GIVEN_UP = 10


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The served model held against the local one on the same images.

    Attributes:
        served: images that the served model classifies correctly.
        local: images that the local model classifies correctly.
        by_class: for each class that occurs, images that the served and the local model classify correctly.
        differing: places of the images that get different classes.
        largest_difference: of a logit, in units of the largest one; of a probability where the served model answers
            with these; infinite where only one of the two is a number.
        compared: ``"logits"`` or ``"probabilities"``.
    """

    served: Proportion
    local: Proportion
    by_class: dict[str, tuple[Proportion, Proportion]]
    differing: tuple[int, ...]
    largest_difference: float
    compared: str


@dataclass(frozen=True, kw_only=True)
class Load:
    """How the server answers a number of requests at once.

    Attributes:
        threads: requests under way at once.
        requests: number of all that were sent: fewer than asked for, where the server failed again and again.
        batch_size: images in each.
        errors: requests that failed.
        p50: median of the answers' times, in seconds.
        p95: 95th percentile.
        p99: 99th percentile.
        images_per_second: over all requests.
        seconds: from the first request to the last answer.
        waiting: share of the threads' time that went by waiting for the server and the network.
        first_error: what the first failure said.
    """

    threads: int
    requests: int
    batch_size: int
    errors: int
    p50: float
    p95: float
    p99: float
    images_per_second: float
    seconds: float
    waiting: float
    first_error: str = ""


@dataclass(frozen=True, kw_only=True)
class QueryAttack:
    """What an attack that only asks questions makes of the served and of the local model.

    Attributes:
        title: of the attack.
        config: its parameters.
        served: accuracy of the served model on the examples that were crafted on it.
        local: accuracy of the local model on the examples that were crafted on it with the same seed; None without one.
        queries: single images sent, on average over the attacked ones.
        distortion: mean RMS of the successful examples, in pixel units; None where there is none.
        seconds: on the served model.
    """

    title: str
    config: dict[str, Any]
    served: Proportion
    local: Proportion | None
    queries: float
    distortion: float | None
    seconds: float


@dataclass(frozen=True, kw_only=True)
class ProbeReport:
    """What was found out about a served model.

    Attributes:
        url: of the server.
        model: its name there.
        random: by how much its logits differ from one call to the next; 0 for most models.
        signatures: inputs and outputs of each.
        comparison: with the local model.
        load: under requests.
        attack: by queries, where one was asked for.
        seconds: that the probe took.
        waiting: share of these that went by waiting for the server and the network.
    """

    url: str
    model: str
    random: float
    signatures: dict[str, dict[str, list[str]]]
    comparison: Comparison
    load: Load
    attack: QueryAttack | None = field(default=None)
    seconds: float
    waiting: float

    @classmethod
    def of(
        cls,
        served: ServedClassifier,
        comparison: Comparison,
        load: Load,
        attack: QueryAttack | None,
        *,
        seconds: float,
    ) -> "ProbeReport":
        """The report of a probe that is over.

        Args:
            served: what was probed.
            comparison: with the local model.
            load: under requests.
            attack: by queries, where one was asked for.
            seconds: that the probe took.
        """
        client = served.client
        waited = client.waited + load.waiting * load.seconds
        return cls(
            url=client.url,
            model=plain_text(client.model),
            random=served.reading.random,
            signatures={
                plain_text(name): {
                    "inputs": sorted(map(plain_text, entry.inputs)),
                    "outputs": sorted(map(plain_text, entry.outputs)),
                }
                for name, entry in client.signatures().items()
            },
            comparison=comparison,
            load=load,
            attack=attack,
            seconds=round(seconds, 1),
            waiting=min(1.0, waited / seconds) if seconds > 0 else 0.0,
        )


def compare(served: ServedClassifier, local: Classifier, data: LabelledImages, names: tuple[str, ...]) -> Comparison:
    """Holds the served model's classes and logits against the local model's.

    Args:
        served: the served model.
        local: the model that it should be.
        data: images and true classes.
        names: of the classes.

    Raises:
        ServingError: if the server fails, or its model has other shapes or classes.
    """
    if (served.input_shape, served.num_classes) != (local.input_shape, local.num_classes):
        raise ServingError(
            f"{served.source}: model {served.name} takes images of {served.input_shape} and has {served.num_classes} "
            f"classes, {local.name} takes {local.input_shape} and has {local.num_classes}"
        )
    theirs, ours = served.logits(data.images), local.logits(data.images)
    classes = [_classes(logits) for logits in (theirs, ours)]
    right = [each == data.labels for each in classes]
    # A served model's probabilities say nothing of what its logits have in common.
    by_softmax = OF_PROBABILITIES in (served.reading.how, local.reading.how)
    by_class = {
        names[label] if names.count(names[label]) == 1 else f"{names[label]} ({label})": (
            _share(right[0][data.labels == label]),
            _share(right[1][data.labels == label]),
        )
        for label in np.unique(data.labels)
    }
    return Comparison(
        served=_share(right[0]),
        local=_share(right[1]),
        by_class=by_class,
        differing=tuple(np.flatnonzero(classes[0] != classes[1]).tolist()),
        largest_difference=_difference(*((_softmax(theirs), _softmax(ours)) if by_softmax else (theirs, ours))),
        compared="probabilities" if by_softmax else "logits",
    )


def require_load(*, threads: int, requests: int, batch_size: int, image: int = 1) -> None:
    """Refuses a load that makes no sense.

    Args:
        threads: requests under way at once.
        requests: number of all.
        batch_size: images in each.
        image: numbers of an image.

    Raises:
        InvalidInputError: if one of the numbers is too small or too large.
    """
    require_count(concurrency=threads, requests=requests, batch_size=batch_size)
    require(threads <= _MOST_THREADS, f"concurrency must be at most {_MOST_THREADS}", concurrency=threads)
    require(requests <= _MOST_REQUESTS, f"requests must be at most {_MOST_REQUESTS:,}", requests=requests)
    require(requests >= threads, "there must be a request for each thread", requests=requests, concurrency=threads)
    require(
        4 * image * batch_size <= _LARGEST_REQUEST,
        f"a request may have {_LARGEST_REQUEST // 2**20} MiB of pixels at most",
        batch_size=batch_size,
    )


def measure_load(
    connect: Callable[[], Client],
    make_inputs: Callable[[int], dict[str, npt.NDArray[Any]]],
    *,
    signature: str,
    threads: int,
    requests: int,
    batch_size: int,
    keep: Callable[[int, dict[str, npt.NDArray[Any]]], object] | None = None,
) -> Load:
    """Sends requests from several threads at once, each with a connection of its own.

    After ten failures in a row no more are sent.

    Args:
        connect: makes a client.
        make_inputs: the inputs of a request, by its number.
        signature: that is asked.
        threads: requests under way at once.
        requests: number of all.
        batch_size: images in each request.
        keep: is given each answer, with its request's number; it may raise a ServingError.

    Raises:
        InvalidInputError: if one of the numbers is too small or too large.
    """
    require_load(threads=threads, requests=requests, batch_size=batch_size)
    own, seconds = threading.local(), np.full(requests, np.nan)
    errors: list[str] = []
    clients: list[Client] = []
    failing = _InARow()

    def ask(number: int) -> None:
        if failing.times >= _GIVEN_UP:
            return
        inputs = make_inputs(number)
        try:
            if not hasattr(own, "client"):
                client = connect()
                clients.append(client)
                client.signatures()  # which is no part of a request's time
                own.client = client
            start = time.perf_counter()
            answer = own.client.predict(inputs, signature=signature)
            taken = time.perf_counter() - start
            if keep is not None:
                keep(number, answer)
        except ServingError as error:
            errors.append(str(error))
            failing.count(failed=True)
            return
        failing.count(failed=False)
        seconds[number] = taken

    start = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        for finished in [pool.submit(ask, number) for number in range(requests)]:
            finished.result()
    elapsed = time.perf_counter() - start
    for client in clients:
        client.close()
    answered = seconds[~np.isnan(seconds)]
    p50, p95, p99 = np.percentile(answered, [50, 95, 99]) if len(answered) else (np.nan,) * 3
    return Load(
        threads=threads,
        requests=len(answered) + len(errors),
        batch_size=batch_size,
        errors=len(errors),
        p50=float(p50),
        p95=float(p95),
        p99=float(p99),
        images_per_second=len(answered) * batch_size / elapsed,
        seconds=elapsed,
        waiting=sum(client.waited for client in clients) / (threads * elapsed),
        first_error=errors[0] if errors else "",
    )


class _InARow:
    """How many requests in a row have failed, over all threads.

    Attributes:
        times: so far.
    """

    def __init__(self) -> None:
        self.times = 0
        self._lock = threading.Lock()

    def count(self, *, failed: bool) -> None:
        """Counts a request."""
        with self._lock:
            self.times = self.times + 1 if failed else 0


def attack_served(
    attack: Attack,
    served: ServedClassifier,
    local: Classifier | None,
    data: LabelledImages,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> QueryAttack:
    """Attacks the served model by queries alone, and the local one with the same seed.

    Args:
        attack: one that needs no gradient.
        served: the served model.
        local: the model that it should be.
        data: images and true classes.
        progress: called with the number of images done and to do, on the served model.

    Raises:
        InvalidInputError: if the attack needs gradients.
        ServingError: if the server fails.
    """
    result = attack(served, data.images, data.labels, progress=progress)
    again = attack(local, data.images, data.labels) if local is not None else None
    return QueryAttack(
        title=attack.title,
        config=attack.get_config(),
        served=_share(result.predictions == data.labels),
        local=None if again is None else _share(again.predictions == data.labels),
        queries=result.forward_count / max(1, int(result.attacked.sum())),
        distortion=float(result.distortion[result.success].mean()) if result.success.any() else None,
        seconds=round(result.seconds, 1),
    )


def _classes(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """As :meth:`Classifier.predict` has them."""
    return np.where(np.isnan(logits).any(axis=1), NO_CLASS, logits.argmax(axis=1))


def _difference(theirs: npt.NDArray[np.float32], ours: npt.NDArray[np.float32]) -> float:
    """The largest one, in units of the largest number of ours, or of 1; equal infinite numbers do not differ."""
    with np.errstate(invalid="ignore"):
        apart = np.where((theirs == ours) | (np.isnan(theirs) & np.isnan(ours)), 0.0, np.abs(theirs - ours))
    scale = np.abs(ours).max(initial=1.0, where=np.isfinite(ours))
    return float(np.nan_to_num(apart, nan=np.inf).max(initial=0.0) / scale)


def _softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.asarray(tf.nn.softmax(logits))


def _share(right: npt.NDArray[np.bool_]) -> Proportion:
    return Proportion(int(right.sum()), len(right))
