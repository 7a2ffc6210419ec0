"""The networks of the paper, as Keras models that map images in pixel units to logits."""

from collections.abc import Callable

import keras

from advkeras.datasets.registry import DatasetSpec
from advkeras.errors import InvalidInputError, unknown_name


def madry_mnist(spec: DatasetSpec) -> keras.Model:
    """Madry's network for MNIST: two convolutions of 5x5 with max-pooling, dense 1024, logits.

    Source: Madry et al. (ICLR 2018), section 5; the paper uses it as its MNIST model. 3.3 million parameters.

    Args:
        spec: the data set, which gives the shape of the images and the number of logits.
    """
    return keras.Sequential(
        [
            keras.Input(spec.shape),
            keras.layers.Conv2D(32, 5, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(2, padding="same"),
            keras.layers.Conv2D(64, 5, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(2, padding="same"),
            keras.layers.Flatten(),
            keras.layers.Dense(1024, activation="relu"),
            keras.layers.Dense(spec.num_classes, name="logits"),
        ],
        name="madry_mnist",
    )


_REGISTRY: dict[str, Callable[[DatasetSpec], keras.Model]] = {"madry-mnist": madry_mnist}
_DEFAULTS = {"mnist": "madry-mnist"}


def names() -> tuple[str, ...]:
    """Names of the architectures."""
    return tuple(_REGISTRY)


def default_for(spec: DatasetSpec) -> str:
    """The architecture that the paper uses on a data set."""
    return _DEFAULTS[spec.name]


def build(name: str, spec: DatasetSpec) -> keras.Model:
    """A freshly initialised network.

    Raises:
        InvalidInputError: if there is no architecture of that name.
    """
    if name not in _REGISTRY:
        raise InvalidInputError(unknown_name("architecture", name, names()))
    return _REGISTRY[name](spec)
