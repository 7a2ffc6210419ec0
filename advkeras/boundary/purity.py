"""How much the directions around an image agree on the class that lies beyond the boundary."""

import numpy as np
import numpy.typing as npt

from advkeras.arrays import NO_CLASS


def purity(adjacent: npt.NDArray[np.int32], num_classes: int) -> npt.NDArray[np.float32]:
    """The purity of the top k adjacent classes, for k = 1, 2, ..., num_classes - 1 (He et al. 2018, section 5).

    The largest share of the directions that met a boundary which met one of k classes.

    Args:
        adjacent: (N, D) int32, the class beyond the boundary; -1 where none was met, which does not count.
        num_classes: of the classifier.

    Returns:
        (N, num_classes - 1) float32; NaN for an image around which no boundary was met.
    """
    rows, places = np.nonzero((adjacent >= 0) & (adjacent < num_classes))
    numbers = rows * num_classes + adjacent[rows, places]
    counts = np.bincount(numbers, minlength=len(adjacent) * num_classes).reshape(len(adjacent), num_classes)
    largest_first = -np.sort(-counts, axis=1)[:, : num_classes - 1]
    met = (adjacent != NO_CLASS).sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.cumsum(largest_first, axis=1) / np.where(met, met, np.nan), np.float32)
