"""What is done to images before a model gets them, so that bounds stay those of the picture."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import keras
import numpy as np
import tensorflow as tf

from advkeras.errors import InvalidInputError, require, unknown_name

Mode = Literal["caffe", "tf", "torch"]


def of_mode(mode: Mode, bounds: tuple[float, float]) -> Callable[[Any], Any]:
    """What ``keras.applications`` does to images of [0, 255] in a mode; images of other bounds are scaled to that.

    Args:
        mode: ``"caffe"`` (BGR, ImageNet's means taken off: VGG, ResNet), ``"tf"`` ([-1, 1]: MobileNet, Inception,
            Xception, ResNetV2) or ``"torch"`` (ImageNet's means and deviations: DenseNet).
        bounds: lowest and highest pixel value of the images.

    Raises:
        InvalidInputError: if there is no such mode.
    """
    modes = get_args(Mode)
    if mode not in modes:
        raise InvalidInputError(unknown_name("preprocessing", mode, modes))
    low, high = bounds
    preprocess = keras.applications.imagenet_utils.preprocess_input

    def prepare(images: Any) -> Any:
        return preprocess((images - low) * (255 / (high - low)), data_format="channels_last", mode=mode)

    return prepare


@dataclass(frozen=True)
class Standardising:
    """Takes a mean off and divides by a deviation, both in the images' unit, by channel or one number for all.

    Attributes:
        mean: of each channel.
        std: of each channel.

    Raises:
        InvalidInputError: if a deviation is not above zero, a number is not finite, or the two are not as many.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        require(len(self.mean) == len(self.std) > 0, "mean and std must be as many", mean=self.mean, std=self.std)
        require(bool(np.isfinite(self.mean).all()), "mean must be finite", mean=self.mean)
        require(bool(np.isfinite(self.std).all() and min(self.std) > 0), "std must be above 0", std=self.std)

    def __call__(self, images: Any) -> Any:
        """Images (N, H, W, C), standardised; a TensorFlow function."""
        channels = images.shape[-1]
        require(len(self.mean) in (1, channels), f"there are {channels} channels", mean=self.mean, std=self.std)
        return (images - tf.constant(self.mean, images.dtype)) / tf.constant(self.std, images.dtype)
