"""Running attacks on many images, batch by batch."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from advkeras.arrays import Progress
from advkeras.models import Classifier


def run_in_batches(
    classifier: Classifier,
    function: Callable[[npt.NDArray[np.intp]], tuple[Any, ...]],
    count: int,
    *,
    batch_size: int,
    progress: Progress,
    fixed_shapes: bool = False,
) -> tuple[npt.NDArray[Any], ...]:
    """Runs a compiled function on all images, batch by batch.

    Args:
        classifier: what the function runs.
        function: takes the indices of a batch's images and returns tensors with a row for each.
        count: of images.
        batch_size: images at once; 0 for as many as the memory budget holds.
        progress: called with the number of images done and to do.
        fixed_shapes: fill a batch that is not full, for XLA, which compiles every new shape anew,
            with copies up to a half, a quarter, ... of its size.

    Returns:
        The rows of all images, for each of the tensors.
    """
    parts, size = [], batch_size or classifier.at_once
    for start in range(0, count, size):
        indices: npt.NDArray[np.intp] = np.arange(start, min(start + size, count))
        batch = filled(indices, size) if fixed_shapes else indices
        with classifier.counting(len(indices), of=len(batch)):
            parts.append([rows.numpy()[: len(indices)] for rows in function(batch)])
        progress(start + len(indices), count)
    return tuple(np.concatenate(rows) for rows in zip(*parts, strict=True))


def filled(indices: npt.NDArray[np.intp], batch_size: int) -> npt.NDArray[np.intp]:
    """Indices, repeated up to the smallest of batch_size, its half, its quarter, ... that holds them."""
    size = batch_size
    while size // 2 >= len(indices):
        size //= 2
    return np.resize(indices, size)
