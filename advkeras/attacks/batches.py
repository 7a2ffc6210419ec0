"""Running attacks on many images: batch by batch, or with finished images leaving and waiting ones entering."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from advkeras.attacks.base import Progress


def run_active_set(
    advance: Callable[[Any], tuple[Any, Any]],
    state: Any,
    *,
    batch_size: int,
    progress: Progress,
    fixed_shapes: bool = False,
) -> int:
    """Advances the unfinished images, as many at once as the batch holds, until all are finished.

    An image's result does not depend on its company, since every part of its state is its own; memory depends on
    the batch, not on the number of images.

    Args:
        advance: compiled; takes the state of a batch and returns it some iterations later, and their number.
        state: named tuple of arrays (N, ...) with the field ``finished``; updated in place.
        batch_size: images at once.
        progress: called with the number of images done and to do.
        fixed_shapes: fill a batch that is not full with copies, up to a half, a quarter, ... of the batch size, where
            every new shape would be compiled anew (XLA).

    Returns:
        Iterations, summed over images.
    """
    total = len(state.finished)
    iterations = 0
    while True:
        waiting = np.flatnonzero(~state.finished)
        progress(total - len(waiting), total)
        if not len(waiting):
            return iterations
        active: npt.NDArray[np.intp] = waiting[:batch_size]
        batch = _filled(active, batch_size) if fixed_shapes else active
        advanced, taken = advance(type(state)(*(values[batch] for values in state)))
        for values, new in zip(state, advanced, strict=True):
            values[active] = new.numpy()[: len(active)]
        iterations += int(taken) * len(active)


def run_in_batches(
    function: Callable[[npt.NDArray[np.intp]], Any],
    count: int,
    *,
    batch_size: int,
    progress: Progress,
    fixed_shapes: bool = False,
) -> npt.NDArray[Any]:
    """Runs a compiled function on all images, batch by batch.

    Args:
        function: takes the indices of a batch's images and returns a tensor with a row for each.
        count: of images.
        batch_size: images at once.
        progress: called with the number of images done and to do.
        fixed_shapes: as in :func:`run_active_set`.

    Returns:
        The rows of all images.
    """
    parts = []
    for start in range(0, count, batch_size):
        indices: npt.NDArray[np.intp] = np.arange(start, min(start + batch_size, count))
        batch = _filled(indices, batch_size) if fixed_shapes else indices
        parts.append(function(batch).numpy()[: len(indices)])
        progress(start + len(indices), count)
    return np.concatenate(parts)


def _filled(indices: npt.NDArray[np.intp], batch_size: int) -> npt.NDArray[np.intp]:
    """Indices, repeated up to the smallest of batch_size, its half, its quarter, ... that holds them."""
    size = batch_size
    while size // 2 >= len(indices):
        size //= 2
    return np.resize(indices, size)
