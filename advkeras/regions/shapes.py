"""Where to look around an image: the regions of region classification, and random orthogonal directions."""

import abc
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from advkeras.errors import InvalidInputError, unknown_name
from advkeras.parameters import NotNegative, hold_fields

# Of a matrix that directions are made of: 32 MiB of float64.
_NUMBERS_AT_ONCE = 2**22


@dataclass(frozen=True)
class Region(abc.ABC):
    """A distribution of points around an image.

    Attributes:
        radius: its size, in the data set's pixel unit.
    """

    radius: NotNegative

    name: ClassVar[str]

    def __post_init__(self) -> None:
        hold_fields(self)

    @abc.abstractmethod
    def offsets(self, shape: Any, seed: Any | None) -> Any:
        """Independently drawn offsets, float32, to be added to images.

        Args:
            shape: of the result; the last three axes are an image's.
            seed: (2,) int32; None draws afresh at each call.
        """

    def offsets_by_image(self, shape: Any, seeds: Any) -> Any:
        """Offsets for each image from a seed of its own, so that they do not depend on the image's company.

        Args:
            shape: of one image's offsets, such as (H, W, C) or (M, H, W, C).
            seeds: (B, 2) int32.

        Returns:
            (B, *shape) float32.
        """
        return tf.map_fn(lambda seed: self.offsets(shape, seed), seeds, fn_output_signature=tf.float32)


@dataclass(frozen=True)
class Hypercube(Region):
    """The points whose every pixel differs by at most a radius, uniformly (Cao and Gong, ACSAC 2017).

    Attributes:
        radius: half the edge.
    """

    name: ClassVar[str] = "hypercube"

    def offsets(self, shape: Any, seed: Any | None) -> Any:
        """Uniformly drawn offsets."""
        return _uniform(shape, seed, -self.radius, self.radius)


@dataclass(frozen=True)
class Ball(Region):
    """The points of at most a Euclidean distance, uniformly.

    Attributes:
        radius: the largest Euclidean length of an offset, over all pixels and channels.
    """

    name: ClassVar[str] = "ball"

    def offsets(self, shape: Any, seed: Any | None) -> Any:
        """Uniformly drawn offsets: a Gaussian direction, and a length whose power of the dimension is uniform."""
        direction, share, features = _directions_and_shares(shape, seed)
        return self.radius * share ** (1.0 / features) * direction


@dataclass(frozen=True)
class Radial(Region):
    """The points in all directions, at every length up to a radius alike: what a walk away from an image meets.

    Attributes:
        radius: the largest RMS of an offset.
    """

    name: ClassVar[str] = "radial"

    def offsets(self, shape: Any, seed: Any | None) -> Any:
        """Offsets in a Gaussian's directions, whose RMS is uniform."""
        direction, share, features = _directions_and_shares(shape, seed)
        return self.radius * share * tf.sqrt(features) * direction


@dataclass(frozen=True)
class Gaussian(Region):
    """Independent Gaussian noise in every pixel, as in randomised smoothing (Cohen et al., ICML 2019).

    Attributes:
        radius: the standard deviation, which is the noise's RMS.
    """

    name: ClassVar[str] = "gaussian"

    def offsets(self, shape: Any, seed: Any | None) -> Any:
        """Normally drawn offsets."""
        return self.radius * _normal(shape, seed)


_REGIONS: dict[str, type[Region]] = {region.name: region for region in (Hypercube, Ball, Gaussian, Radial)}


def names() -> tuple[str, ...]:
    """Names of the regions."""
    return tuple(_REGIONS)


def get(name: str, radius: float) -> Region:
    """The region of a name and size.

    Raises:
        InvalidInputError: if there is no region of that name, or the radius is no number from 0.
    """
    if not isinstance(name, str) or name not in _REGIONS:
        raise InvalidInputError(unknown_name("region", str(name), names()))
    return _REGIONS[name](radius)


# An attack asks for the same directions at each call, and again to verify. The linear algebra's idle threads go on
# spinning for a while after a decomposition, which slows down what TensorFlow does next.
@lru_cache(maxsize=4)
def orthogonal_directions(
    count: int, shape: tuple[int, ...], *, rms: float, seed: tuple[int, int]
) -> npt.NDArray[np.float32]:
    """Random orthogonal directions in image space, by QR of a Gaussian matrix (He et al. 2018, sections 4 and 5).

    Where the matrix would be large it is made in blocks of columns, each of them orthogonal to those before.

    Args:
        count: number of directions.
        shape: height, width, channels.
        rms: length of each, as RMS over its pixels, in pixel units.
        seed: two integers.

    Returns:
        (count, H, W, C) float32, read-only.

    Raises:
        InvalidInputError: if the image has fewer features than directions are asked for.
    """
    features = int(np.prod(shape))
    if count > features:
        raise InvalidInputError(f"an image with {features} features has no {count} orthogonal directions")
    generator = np.random.default_rng([value % 2**32 for value in seed])
    length = rms * np.sqrt(features)
    directions, columns = np.empty((count, features), np.float32), max(1, _NUMBERS_AT_ONCE // features)
    for first in range(0, count, columns):
        block = generator.standard_normal((features, min(columns, count - first)))
        before = directions[:first]
        # Where little is left of a block, once more takes off what rounding has left.
        for _ in range(2 if 4 * first > features else 1):
            block -= before.T @ (before @ block.astype(np.float32) / np.float32(length**2))
        directions[first : first + columns] = np.linalg.qr(block)[0].T * length
    directions = directions.reshape(count, *shape)
    directions.setflags(write=False)
    return directions


def _directions_and_shares(shape: Any, seed: Any | None) -> tuple[Any, Any, Any]:
    """Directions of Euclidean length 1, a uniform number in [0, 1) for each, and an image's number of features."""
    drawn = _normal(shape, seed)
    squares = tf.reduce_sum(tf.square(drawn), axis=[-3, -2, -1], keepdims=True)
    features = tf.cast(tf.reduce_prod(tf.shape(drawn)[-3:]), tf.float32)
    shares = _uniform(tf.shape(squares), None if seed is None else seed + 1, 0.0, 1.0)
    return drawn / tf.sqrt(tf.maximum(squares, 1e-24)), shares, features


def _uniform(shape: Any, seed: Any | None, low: float, high: float) -> Any:
    if seed is None:
        return tf.random.uniform(shape, low, high)
    return tf.random.stateless_uniform(shape, seed, low, high)


def _normal(shape: Any, seed: Any | None) -> Any:
    return tf.random.normal(shape) if seed is None else tf.random.stateless_normal(shape, seed)
