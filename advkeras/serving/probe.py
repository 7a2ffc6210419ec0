"""Probing a served model: is it the one that was exported, how fast does it answer, how robust is it there?"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from advkeras.attacks.base import Attack
from advkeras.datasets import LabelledImages
from advkeras.errors import require
from advkeras.models import Classifier
from advkeras.parameters import require_count
from advkeras.proportion import Proportion
from advkeras.serving.clients import Client, ServingError
from advkeras.serving.served import ServedClassifier


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The served model held against the local one on the same images.

    Attributes:
        served: images that the served model classifies correctly.
        local: images that the local model classifies correctly.
        by_class: for each class that occurs, images that the served and the local model classify correctly.
        differing: places of the images that get different classes.
        largest_difference: of a logit, in units of the largest one.
    """

    served: Proportion
    local: Proportion
    by_class: dict[str, tuple[Proportion, Proportion]]
    differing: tuple[int, ...]
    largest_difference: float


@dataclass(frozen=True, kw_only=True)
class Load:
    """How the server answers a number of requests at once.

    Attributes:
        threads: requests under way at once.
        requests: number of all.
        batch_size: images in each.
        errors: requests that failed.
        p50: median of the answers' times, in seconds.
        p95: 95th percentile.
        p99: 99th percentile.
        images_per_second: over all requests.
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
    """

    url: str
    model: str
    random: float
    signatures: dict[str, dict[str, list[str]]]
    comparison: Comparison
    load: Load
    attack: QueryAttack | None = field(default=None)


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
    right = [logits.argmax(axis=1) == data.labels for logits in (theirs, ours)]
    by_class = {
        names[label]: (_share(right[0][data.labels == label]), _share(right[1][data.labels == label]))
        for label in np.unique(data.labels)
    }
    return Comparison(
        served=_share(right[0]),
        local=_share(right[1]),
        by_class=by_class,
        differing=tuple(np.flatnonzero(theirs.argmax(axis=1) != ours.argmax(axis=1)).tolist()),
        largest_difference=float(np.abs(theirs - ours).max() / max(1.0, np.abs(ours).max())),
    )


def measure_load(
    connect: Callable[[], Client],
    make_inputs: Callable[[int], dict[str, npt.NDArray[Any]]],
    *,
    signature: str,
    threads: int,
    requests: int,
    batch_size: int,
    keep: Callable[[int, dict[str, npt.NDArray[Any]]], None] | None = None,
) -> Load:
    """Sends requests from several threads at once, each with a connection of its own.

    Args:
        connect: makes a client.
        make_inputs: the inputs of a request, by its number.
        signature: that is asked.
        threads: requests under way at once.
        requests: number of all.
        batch_size: images in each request.
        keep: is given each answer, with its request's number.
    """
    require_count(concurrency=threads)
    require(requests >= threads, "there must be a request for each thread", requests=requests, concurrency=threads)
    own, seconds = threading.local(), np.full(requests, np.nan)
    errors: list[str] = []
    clients: list[Client] = []

    def ask(number: int) -> None:
        if not hasattr(own, "client"):
            own.client = connect()
            clients.append(own.client)
        inputs = make_inputs(number)
        start = time.perf_counter()
        try:
            answer = own.client.predict(inputs, signature=signature)
        except ServingError as error:
            errors.append(str(error))
            return
        seconds[number] = time.perf_counter() - start
        if keep is not None:
            keep(number, answer)

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
        requests=requests,
        batch_size=batch_size,
        errors=len(errors),
        p50=float(p50),
        p95=float(p95),
        p99=float(p99),
        images_per_second=len(answered) * batch_size / elapsed,
        first_error=errors[0] if errors else "",
    )


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


def _share(right: npt.NDArray[np.bool_]) -> Proportion:
    return Proportion(int(right.sum()), len(right))
