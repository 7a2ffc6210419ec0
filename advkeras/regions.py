"""Where to look around an image: the hypercube of region classification, and random orthogonal directions."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from advkeras.errors import InvalidInputError


@dataclass(frozen=True)
class Hypercube:
    """The points whose every pixel differs by at most a radius (Cao and Gong, ACSAC 2017).

    Attributes:
        radius: half the edge, in the data set's pixel unit.
    """

    radius: float

    def __post_init__(self) -> None:
        if not self.radius >= 0:
            raise InvalidInputError(f"radius must not be negative. Received: radius={self.radius!r}")

    def offsets(self, shape: Any, seed: Any | None) -> Any:
        """Uniformly drawn offsets of the given shape, float32, to be added to images.

        Args:
            shape: of the result.
            seed: (2,) int32; None draws afresh at each call.
        """
        if seed is None:
            return tf.random.uniform(shape, -self.radius, self.radius)
        return tf.random.stateless_uniform(shape, seed, -self.radius, self.radius)


def orthogonal_directions(
    count: int, shape: tuple[int, ...], *, rms: float, seed: tuple[int, int]
) -> npt.NDArray[np.float32]:
    """Random orthogonal directions in image space, by QR of a Gaussian matrix (He et al. 2018, sections 4 and 5).

    Args:
        count: number of directions.
        shape: height, width, channels.
        rms: length of each, as RMS over its pixels, in pixel units.
        seed: two integers.

    Returns:
        (count, H, W, C) float32.

    Raises:
        InvalidInputError: if the image has fewer features than directions are asked for.
    """
    features = int(np.prod(shape))
    if count > features:
        raise InvalidInputError(f"an image with {features} features has no {count} orthogonal directions")
    generator = np.random.default_rng([value % 2**32 for value in seed])
    orthonormal, _ = np.linalg.qr(generator.standard_normal((features, count)))
    return np.asarray(orthonormal.T.reshape(count, *shape) * (rms * np.sqrt(features)), np.float32)
