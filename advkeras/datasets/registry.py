"""What is known about each data set before any image is read."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from advkeras.errors import InvalidInputError, require_increasing, unknown_name

# Decision boundaries are looked for up to this share of the pixel range (He, Li and Song 2018, section 5).
BOUNDARY_REACH = 0.5


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """One data set: its geometry, its pixel unit, and how far from an image attacks and defences go on it.

    What one attack alone takes on a data set stands beside the attack (:meth:`advkeras.attacks.base.Attack.for_data`),
    as shares of the pixel range.

    Attributes:
        name: as the command line and tensorflow-datasets call it.
        title: as a table's heading calls it.
        bounds: lowest and highest pixel value, in the data set's own pixel unit.
        shape: height, width, channels.
        class_names: one for each label, in the labels' order.
        epsilon: L-inf bound of fixed-norm attacks, in pixel units (Madry et al., ICLR 2018).
        region_radius: half the edge of region classification's hypercube, in pixel units (Cao and Gong, ACSAC 2017).
        follows: the registered data set whose further parameters hold here; itself, for a registered one.
        region_samples: points that region classification draws for each image.
        version: of the tensorflow-datasets builder, for a registered data set.
        split_sizes: images in each split, for a registered data set.
        sample_size: images of the test split that ship with the package.
        default_examples: images that a command works on when it is not told how many.
    """

    name: str
    title: str
    bounds: tuple[float, float]
    shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    epsilon: float
    region_radius: float
    follows: str
    region_samples: int = 100
    version: str = ""
    split_sizes: Mapping[str, int] = field(default_factory=dict)
    sample_size: int = 0
    default_examples: int = 50

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def span(self) -> float:
        """The pixel range, in pixel units."""
        return self.bounds[1] - self.bounds[0]

    @property
    def registered(self) -> bool:
        """Whether it is one of the paper's, and not the user's own."""
        return bool(self.version)

    def with_bounds(self, bounds: tuple[float, float]) -> "DatasetSpec":
        """The same data set with its pixels, and all that is in pixel units, scaled to other bounds."""
        require_increasing(bounds)
        factor = (bounds[1] - bounds[0]) / self.span
        return replace(self, bounds=bounds, epsilon=self.epsilon * factor, region_radius=self.region_radius * factor)


MNIST = DatasetSpec(
    name="mnist",
    title="MNIST",
    version="3.0.1",
    bounds=(0.0, 1.0),
    shape=(28, 28, 1),
    class_names=tuple(str(digit) for digit in range(10)),
    split_sizes={"train": 60_000, "test": 10_000},
    sample_size=1_000,
    default_examples=100,
    epsilon=0.3,
    region_radius=0.3,
    follows="mnist",
)

CIFAR10 = DatasetSpec(
    name="cifar10",
    title="CIFAR-10",
    version="3.0.2",
    bounds=(0.0, 255.0),
    shape=(32, 32, 3),
    class_names=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    split_sizes={"train": 50_000, "test": 10_000},
    sample_size=500,
    epsilon=8.0,
    region_radius=0.02 * 255,
    follows="cifar10",
)

_REGISTRY = {spec.name: spec for spec in (MNIST, CIFAR10)}


def names() -> tuple[str, ...]:
    """Names of the data sets that advkeras knows."""
    return tuple(_REGISTRY)


def get(name: str) -> DatasetSpec:
    """The data set of that name.

    Raises:
        InvalidInputError: if there is none.
    """
    try:
        return _REGISTRY[name]
    except KeyError:
        raise InvalidInputError(unknown_name("data set", name, names())) from None


def own(
    name: str, *, bounds: tuple[float, float], shape: tuple[int, int, int], class_names: tuple[str, ...]
) -> DatasetSpec:
    """A data set that the paper does not have: the protocol's parameters are CIFAR-10's, scaled to its bounds."""
    return replace(
        CIFAR10.with_bounds(bounds),
        name=name,
        title=name,
        shape=shape,
        class_names=class_names,
        version="",
        split_sizes={},
        sample_size=0,
    )
