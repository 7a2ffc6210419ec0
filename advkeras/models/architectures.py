"""The networks of the paper, and a small one, as Keras models that map images in pixel units to logits.

Every layer has a name of its own, so that the weights of a SavedModel find their place in a fresh network.
"""

from collections.abc import Callable
from typing import Any

import keras

from advkeras.datasets.registry import DatasetSpec
from advkeras.errors import InvalidInputError, unknown_name

# Of Madry's wide residual network.
_UNITS, _WIDTHS, _LEAK = 5, (160, 320, 640), 0.1
# Of the small one: the stem's channels, and those of each stage.
_STEM, _STAGES = 32, (64, 128, 128)


def madry_mnist(spec: DatasetSpec) -> keras.Model:
    """Madry's network for MNIST: two convolutions of 5x5 with max-pooling, dense 1024, logits.

    Source: Madry et al. (ICLR 2018), section 5; the paper uses it as its MNIST model. 3.3 million parameters.

    Args:
        spec: the data set, which gives the shape of the images and the number of logits.
    """
    return keras.Sequential(
        [
            keras.Input(spec.shape),
            keras.layers.Conv2D(32, 5, padding="same", activation="relu", name="conv2d"),
            keras.layers.MaxPooling2D(2, padding="same", name="pool"),
            keras.layers.Conv2D(64, 5, padding="same", activation="relu", name="conv2d_1"),
            keras.layers.MaxPooling2D(2, padding="same", name="pool_1"),
            keras.layers.Flatten(name="flat"),
            keras.layers.Dense(1024, activation="relu", name="dense"),
            keras.layers.Dense(spec.num_classes, dtype="float32", name="logits"),
        ],
        name="madry_mnist",
    )


def small_resnet(spec: DatasetSpec) -> keras.Model:
    """A small residual network, which two cores can train and attack: 909,290 parameters for CIFAR-10.

    Each of three stages halves the image by max-pooling and has a residual block of two convolutions, after the
    nine-layer network of the DAWNBench competition (Page, 2018). Pixels are scaled to [-1, 1] inside.

    Args:
        spec: the data set, which gives the shape of the images, their bounds and the number of logits.
    """
    low, high = spec.bounds
    images = keras.Input(spec.shape, name="images")
    scaled = keras.layers.Rescaling(2.0 / (high - low), offset=-(high + low) / (high - low), name="scaled")(images)
    features = _relu(_normalised(_convolution(scaled, _STEM, name="stem"), name="stem_norm"), name="stem_relu")
    for stage, width in enumerate(_STAGES):
        name = f"stage{stage}"
        grown = _normalised(_convolution(features, width, name=f"{name}_conv"), name=f"{name}_norm")
        features = _relu(keras.layers.MaxPooling2D(2, padding="same", name=f"{name}_pool")(grown), name=f"{name}_relu")
        inner = features
        for layer in range(2):
            convolved = _convolution(inner, width, name=f"{name}_inner{layer}_conv")
            inner = _relu(_normalised(convolved, name=f"{name}_inner{layer}_norm"), name=f"{name}_inner{layer}_relu")
        features = keras.layers.Add(name=f"{name}_sum")([features, inner])
    pooled = keras.layers.GlobalMaxPooling2D(name="pooled")(features)
    # The largest of many values is large at first, and so would the loss be.
    logits = keras.layers.Dense(
        spec.num_classes,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
        dtype="float32",
        name="logits",
    )(pooled)
    return keras.Model(images, logits, name="resnet_small")


def wide_resnet_32_10(spec: DatasetSpec) -> keras.Model:
    """Madry's wide residual network for CIFAR-10: 3 stages of 5 residual units, 160, 320 and 640 channels wide.

    Source: Madry et al. (ICLR 2018), section 5, after Zagoruyko and Komodakis (BMVC 2016); the paper uses it as its
    CIFAR-10 model. Images are standardised one by one. 45.9 million parameters: for GPUs.

    Args:
        spec: the data set, which gives the shape of the images and the number of logits.
    """
    images = keras.Input(spec.shape, name="images")
    # Over an image's pixels and channels, as tf.image.per_image_standardization does it.
    standardised = keras.layers.LayerNormalization(
        axis=(1, 2, 3), epsilon=1e-6, center=False, scale=False, name="standardised"
    )(images)
    features = _convolution(standardised, 16, name="stem")
    for stage, width in enumerate(_WIDTHS):
        for unit in range(_UNITS):
            features = _leaky_unit(features, width, first=unit == 0, stage=stage, name=f"stage{stage}_unit{unit}")
    features = keras.layers.LeakyReLU(_LEAK, name="last_relu")(_normalised(features, name="last_norm"))
    pooled = keras.layers.GlobalAveragePooling2D(name="pooled")(features)
    logits = keras.layers.Dense(spec.num_classes, dtype="float32", name="logits")(pooled)
    return keras.Model(images, logits, name="wrn_32_10")


def _leaky_unit(features: Any, width: int, *, first: bool, stage: int, name: str) -> Any:
    """Two convolutions after normalisation and leaky ReLU; the first unit of the first stage shares the activation."""
    stride = 2 if first and stage > 0 else 1
    activated = keras.layers.LeakyReLU(_LEAK, name=f"{name}_relu_0")(_normalised(features, name=f"{name}_norm_0"))
    shortcut = activated if first and stage == 0 else features
    if stride > 1:
        shortcut = keras.layers.AveragePooling2D(stride, name=f"{name}_pool")(shortcut)
    grown = width - shortcut.shape[-1]
    if grown:
        # New channels are 0 on the shortcut, half of them before and half after the old ones.
        padding = ((0, 0), (0, 0), (0, 0), (grown // 2, grown - grown // 2))
        shortcut = keras.ops.pad(shortcut, padding)
    inner = _convolution(activated, width, stride=stride, name=f"{name}_conv_0")
    inner = keras.layers.LeakyReLU(_LEAK, name=f"{name}_relu_1")(_normalised(inner, name=f"{name}_norm_1"))
    inner = _convolution(inner, width, name=f"{name}_conv_1")
    return keras.layers.Add(name=f"{name}_sum")([shortcut, inner])


def _relu(features: Any, *, name: str) -> Any:
    return keras.layers.ReLU(name=name)(features)


def _convolution(features: Any, width: int, *, name: str, stride: int = 1) -> Any:
    return keras.layers.Conv2D(
        width, 3, strides=stride, padding="same", use_bias=False, kernel_initializer="he_normal", name=name
    )(features)


def _normalised(features: Any, *, name: str) -> Any:
    return keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(features)


_REGISTRY: dict[str, Callable[[DatasetSpec], keras.Model]] = {
    "madry-mnist": madry_mnist,
    "resnet-small": small_resnet,
    "wrn-32-10": wide_resnet_32_10,
}
_DEFAULTS = {"mnist": "madry-mnist"}
_SMALL = "resnet-small"


def names() -> tuple[str, ...]:
    """Names of the architectures."""
    return tuple(_REGISTRY)


def default_for(spec: DatasetSpec) -> str:
    """The architecture for a data set: the paper's on MNIST; elsewhere the small one, which two cores can train."""
    return _DEFAULTS.get(spec.name, _SMALL)


def build(name: str, spec: DatasetSpec) -> keras.Model:
    """A freshly initialised network.

    Raises:
        InvalidInputError: if there is no architecture of that name.
    """
    if name not in _REGISTRY:
        raise InvalidInputError(unknown_name("architecture", name, names()))
    return _REGISTRY[name](spec)
