"""What is known about each data set before any image is read."""

from collections.abc import Mapping
from dataclasses import dataclass

from advkeras.errors import InvalidInputError, unknown_name


@dataclass(frozen=True, kw_only=True)
class ProtocolConstants:
    """The parameters that the paper uses on one data set, in that data set's pixel unit.

    Source: He, Li and Song (ICLR 2018), sections 4 to 6, its authors' code, and Madry et al. (ICLR 2018).

    Attributes:
        epsilon: L-inf bound of FGSM and PGD.
        pgd_step: step of PGD.
        pgd_iterations: iterations of PGD.
        region_radius: half the edge of region classification's hypercube.
        region_samples: points that region classification draws for each image.
        member_rms: RMS of the perturbations v_i of OptMargin's ensemble.
        ensemble_size: members of OptMargin's ensemble, the unperturbed image included.
        learning_rate: Adam's rate in the authors' search.
        initial_weight: first weight c of the attack loss in the authors' search.
        distance_scale: what the authors' search divides the squared distance by, once pixels are scaled to [0, 1].
    """

    epsilon: float
    pgd_step: float
    pgd_iterations: int
    region_radius: float
    region_samples: int = 100
    member_rms: float
    ensemble_size: int = 20
    learning_rate: float
    initial_weight: float
    distance_scale: float


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """One data set: its geometry, its pixel unit and the constants of the protocol on it.

    Attributes:
        name: as the command line and tensorflow-datasets call it.
        title: as a table's heading calls it.
        version: of the tensorflow-datasets builder.
        bounds: lowest and highest pixel value, in the data set's own pixel unit.
        shape: height, width, channels.
        class_names: one for each label, in the labels' order.
        split_sizes: images in each split.
        sample_size: images of the test split that ship with the package.
        constants: the protocol's parameters.
    """

    name: str
    title: str
    version: str
    bounds: tuple[float, float]
    shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    split_sizes: Mapping[str, int]
    sample_size: int
    constants: ProtocolConstants

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)


MNIST = DatasetSpec(
    name="mnist",
    title="MNIST",
    version="3.0.1",
    bounds=(0.0, 1.0),
    shape=(28, 28, 1),
    class_names=tuple(str(digit) for digit in range(10)),
    split_sizes={"train": 60_000, "test": 10_000},
    sample_size=1_000,
    constants=ProtocolConstants(
        epsilon=0.3,
        pgd_step=0.01,
        pgd_iterations=40,
        region_radius=0.3,
        member_rms=0.3,
        learning_rate=0.2,
        initial_weight=0.2,
        distance_scale=255.0**2,
    ),
)

_REGISTRY = {spec.name: spec for spec in (MNIST,)}


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
