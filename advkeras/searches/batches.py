"""Running attacks on many images, batch by batch."""

from collections.abc import Callable, Generator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from advkeras.arrays import BoolArray, FloatArray, IntArray, Progress

# Yields points (n, H, W, C), is sent an answer to each, (n,), and returns what it found for its image, (H, W, C).
Search = Generator[FloatArray, BoolArray, FloatArray]


def run_in_batches(
    function: Callable[[npt.NDArray[np.intp]], tuple[Any, ...]],
    count: int,
    *,
    batch_size: int,
    progress: Progress,
    fixed_shapes: bool = False,
) -> tuple[npt.NDArray[Any], ...]:
    """Runs a compiled function on all images, batch by batch.

    Args:
        function: takes the indices of a batch's images and returns tensors with a row for each.
        count: of images.
        batch_size: images at once.
        progress: called with the number of images done and to do.
        fixed_shapes: fill a batch that is not full, for XLA, which compiles every new shape anew,
            with copies up to a half, a quarter, ... of its size.

    Returns:
        The rows of all images, for each of the tensors.
    """
    parts = []
    for start in range(0, count, batch_size):
        indices: npt.NDArray[np.intp] = np.arange(start, min(start + batch_size, count))
        batch = _filled(indices, batch_size) if fixed_shapes else indices
        parts.append([rows.numpy()[: len(indices)] for rows in function(batch)])
        progress(start + len(indices), count)
    return tuple(np.concatenate(rows) for rows in zip(*parts, strict=True))


def run_together(
    searches: Sequence[Search],
    answer: Callable[[IntArray, FloatArray], BoolArray],
    *,
    at_once: int,
    progress: Progress,
) -> list[FloatArray]:
    """Runs searches, one for each image, so that what several of them ask is answered together.

    A search's result does not depend on its company, since all that it knows of the others is that it waits for them.

    Args:
        searches: generators that have not started.
        answer: takes points (n, H, W, C) and, before them, the place of the search that asks about each, (n,); returns
            an answer to each, (n,).
        at_once: searches that run at once.
        progress: called with the number of images done and to do.

    Returns:
        What each search returned.
    """
    places = iter(range(len(searches)))
    answers: dict[int, BoolArray | None] = {}
    found: dict[int, FloatArray] = {}
    while len(found) < len(searches):
        answers.update(dict.fromkeys(islice(places, at_once - len(answers))))
        questions: dict[int, FloatArray] = {}
        for place, answered in answers.items():
            search = searches[place]
            try:
                questions[place] = next(search) if answered is None else search.send(answered)
            except StopIteration as end:
                found[place] = end.value
        answers = _answered(questions, answer) if questions else {}
        progress(len(found), len(searches))
    return [found[place] for place in range(len(searches))]


def _answered(
    questions: dict[int, FloatArray], answer: Callable[[IntArray, FloatArray], BoolArray]
) -> dict[int, BoolArray | None]:
    """The answers to each search's question, all asked at once."""
    counts = [len(points) for points in questions.values()]
    asking = np.repeat(np.array(list(questions), np.int32), counts)
    answers = answer(asking, np.concatenate(list(questions.values())))
    return dict(zip(questions, np.split(answers, np.cumsum(counts)[:-1]), strict=True))


def _filled(indices: npt.NDArray[np.intp], batch_size: int) -> npt.NDArray[np.intp]:
    """Indices, repeated up to the smallest of batch_size, its half, its quarter, ... that holds them."""
    size = batch_size
    while size // 2 >= len(indices):
        size //= 2
    return np.resize(indices, size)
