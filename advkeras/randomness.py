"""Seeds for stateless random operations, derived from one number and the name of the work they are for.

No attack and no evaluation draws from a global random state, so the order of the work, resuming it and the number of
workers cannot change a result. (Training seeds Keras's global state, for the initial weights; a region layer without a
seed draws afresh at each call, on purpose.)
"""

import hashlib

import numpy as np
import numpy.typing as npt


def derive_seed(seed: int, *unit: str | int) -> tuple[int, int]:
    """A seed for TensorFlow's stateless operations.

    Args:
        seed: the user's number.
        unit: what the randomness is for, for example ``("pgd", 256)``; other units give independent seeds.

    Returns:
        Two integers in the range of int32.
    """
    digest = hashlib.sha256(repr((seed, *unit)).encode()).digest()
    first, second = (int.from_bytes(digest[i : i + 4], "big", signed=True) for i in (0, 4))
    return first, second


def derive_seeds(seed: int, *unit: str | int, places: npt.ArrayLike) -> npt.NDArray[np.int32]:
    """A seed for each image, (N, 2) int32, by its place in the data set: whatever company it comes in, it is the same.

    Args:
        seed: the user's number.
        unit: what the randomness is for.
        places: (N,) integers.
    """
    rows = [derive_seed(seed, *unit, int(place)) for place in np.asarray(places)]
    return np.array(rows, np.int32).reshape(-1, 2)


def derive_generator(seed: int, *unit: str | int) -> np.random.Generator:
    """A generator of its own for NumPy's random numbers, seeded as :func:`derive_seed` says."""
    return np.random.default_rng([part % 2**32 for part in derive_seed(seed, *unit)])
