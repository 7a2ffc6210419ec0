"""The directions along which the decision boundary is looked for."""

import numpy as np
import numpy.typing as npt

from advkeras.randomness import derive_seed
from advkeras.regions import orthogonal_directions


def random_directions(
    count: int, shape: tuple[int, int, int], *, negatives: bool, seed: int
) -> npt.NDArray[np.float32]:
    """Random orthogonal directions of RMS 1 in image space (He et al. 2018, section 5).

    Args:
        count: number of directions.
        shape: height, width, channels.
        negatives: let the second half be the first half's opposites; the count must be even then.
        seed: of the directions.

    Returns:
        (count, H, W, C) float32: unit vectors times the square root of the number of features.

    Raises:
        InvalidInputError: if an image has fewer features than orthogonal directions are asked for.
    """
    drawn = count // 2 if negatives else count
    directions = orthogonal_directions(drawn, shape, rms=1.0, seed=derive_seed(seed, "boundary directions"))
    return np.concatenate([directions, -directions]) if negatives else directions
