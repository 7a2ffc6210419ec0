"""What is known about each data set before any image is read."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from advkeras.errors import InvalidInputError, unknown_name


@dataclass(frozen=True, kw_only=True)
class ProtocolConstants:
    """The parameters that the paper uses on one data set, in that data set's pixel unit.

    Source: He, Li and Song (ICLR 2018), sections 4 to 6, its authors' code, and Madry et al. (ICLR 2018).

    Attributes:
        epsilon: L-inf bound of FGSM and PGD.
        pgd_step: step of PGD.
        pgd_iterations: iterations of PGD.
        card_iterations: iterations of PGD for a model card's accuracy.
        card_images: test images, at most, for that accuracy.
        region_radius: half the edge of region classification's hypercube.
        region_samples: points that region classification draws for each image.
        member_rms: RMS of the perturbations v_i of OptMargin's ensemble.
        ensemble_size: members of OptMargin's ensemble, the unperturbed image included.
        learning_rate: Adam's rate in the authors' search.
        initial_weight: first weight c of the attack loss in the authors' search.
        boundary_directions: along which boundaries are looked for.
        boundary_negatives: whether half of them are the opposites of the other half.
        boundary_step: RMS of a step along a direction.
        boundary_reach: RMS up to which boundaries are looked for.
        detector_steps: of the training of a detector of adversarial examples.
        detector_batch: images in a step of it.
        distance_scale: what the authors' search divides the squared distance by, once pixels are scaled to [0, 1].
        clip_members: clip the members of OptMargin's ensemble to the pixel range. The authors do not; a network may
            give no answer beyond the range, though.
    """

    epsilon: float
    pgd_step: float
    pgd_iterations: int
    card_iterations: int
    card_images: int
    region_radius: float
    region_samples: int = 100
    member_rms: float
    ensemble_size: int = 20
    learning_rate: float
    initial_weight: float
    distance_scale: float
    boundary_directions: int
    boundary_negatives: bool
    boundary_step: float
    boundary_reach: float
    detector_steps: int
    detector_batch: int
    clip_members: bool = False

    def scaled(self, factor: float) -> "ProtocolConstants":
        """The same constants in a pixel unit of which ``factor`` make one of the present unit."""
        return replace(
            self,
            epsilon=self.epsilon * factor,
            pgd_step=self.pgd_step * factor,
            region_radius=self.region_radius * factor,
            member_rms=self.member_rms * factor,
            boundary_step=self.boundary_step * factor,
            boundary_reach=self.boundary_reach * factor,
        )


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """One data set: its geometry, its pixel unit and the constants of the protocol on it.

    Attributes:
        name: as the command line and tensorflow-datasets call it.
        title: as a table's heading calls it.
        bounds: lowest and highest pixel value, in the data set's own pixel unit.
        shape: height, width, channels.
        class_names: one for each label, in the labels' order.
        constants: the protocol's parameters.
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
    constants: ProtocolConstants
    version: str = ""
    split_sizes: Mapping[str, int] = field(default_factory=dict)
    sample_size: int = 0
    default_examples: int = 50

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    def with_bounds(self, bounds: tuple[float, float]) -> "DatasetSpec":
        """The same data set with its pixels, and the protocol's constants, scaled to other bounds."""
        (low, high), (new_low, new_high) = self.bounds, bounds
        require_increasing(bounds)
        return replace(self, bounds=bounds, constants=self.constants.scaled((new_high - new_low) / (high - low)))


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
    constants=ProtocolConstants(
        epsilon=0.3,
        pgd_step=0.01,
        pgd_iterations=40,
        card_iterations=100,
        card_images=1_000,
        region_radius=0.3,
        member_rms=0.3,
        learning_rate=0.2,
        initial_weight=0.2,
        distance_scale=255.0**2,
        boundary_directions=2 * 28 * 28,
        boundary_negatives=True,
        boundary_step=0.01,
        boundary_reach=0.5,
        detector_steps=2_000,
        detector_batch=128,
    ),
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
    constants=ProtocolConstants(
        epsilon=8.0,
        pgd_step=2.0,
        pgd_iterations=20,
        card_iterations=20,
        card_images=10_000,
        region_radius=0.02 * 255,
        member_rms=8.0,
        learning_rate=0.01,
        initial_weight=1.0,
        distance_scale=1.0,
        boundary_directions=1_000,
        boundary_negatives=False,
        boundary_step=2.0,
        boundary_reach=127.5,
        detector_steps=4_000,
        detector_batch=150,
    ),
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
    """A data set that the paper does not have: the protocol's constants are CIFAR-10's, scaled to its bounds.

    OptMargin's members are clipped to the bounds, as all images that the model is meant for lie within them.
    """
    scaled = CIFAR10.with_bounds(bounds)
    return replace(
        scaled,
        constants=replace(scaled.constants, clip_members=True),
        name=name,
        title=name,
        shape=shape,
        class_names=class_names,
        version="",
        split_sizes={},
        sample_size=0,
    )


def require_increasing(bounds: tuple[float, float]) -> None:
    """Makes sure that the lower bound is the lower one.

    Raises:
        InvalidInputError: if not.
    """
    if not bounds[0] < bounds[1]:
        raise InvalidInputError(f"bounds must be increasing. Received: bounds=({bounds[0]:g}, {bounds[1]:g})")
