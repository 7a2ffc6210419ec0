"""Running a search on many images with a batch that is always full: finished images leave, waiting ones enter."""

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
        batch = np.resize(active, bucket(len(active), batch_size)) if fixed_shapes else active
        advanced, taken = advance(type(state)(*(values[batch] for values in state)))
        for values, new in zip(state, advanced, strict=True):
            values[active] = new.numpy()[: len(active)]
        iterations += int(taken) * len(active)


def bucket(count: int, batch_size: int) -> int:
    """The smallest of batch_size, its half, its quarter, ... that holds a number of images."""
    size = batch_size
    while size // 2 >= count:
        size //= 2
    return size
