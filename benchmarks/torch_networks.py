"""The zoo's networks on PyTorch, with the weights of their SavedModels, for attacks that have their home there.

They take images (N, C, H, W) in [0, 1], whatever the pixel unit of the data set is.
"""

import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import torch

from advkeras.models import Classifier

# Triton comes with newer PyTorch and is imported late; nothing here needs it, and its copy of LLVM beside TensorFlow's
# aborts the process.
sys.modules["triton"] = None  # type: ignore[assignment]

Weights = dict[str, npt.NDArray[np.float32]]

_TOLERANCE = 1e-3  # of the logits


class MadryMnist(torch.nn.Module):
    """The network ``madry-mnist``."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.features = torch.nn.Sequential(
            _convolution(weights["conv2d/kernel"], weights["conv2d/bias"]),
            torch.nn.ReLU(),
            torch.nn.MaxPool2d(2),
            _convolution(weights["conv2d_1/kernel"], weights["conv2d_1/bias"]),
            torch.nn.ReLU(),
            torch.nn.MaxPool2d(2),
        )
        self.hidden = _dense(weights, "dense")
        self.output = _dense(weights, "logits")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits."""
        # Keras flattens with the channels last.
        features = self.features(images).permute(0, 2, 3, 1).flatten(1)
        return self.output(torch.relu(self.hidden(features)))


class SmallResnet(torch.nn.Module):
    """The network ``resnet-small``."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.stem = _normalised_convolution(weights, "stem", "stem_norm")
        self.grown, self.inner = torch.nn.ModuleList(), torch.nn.ModuleList()
        for name in ("stage0", "stage1", "stage2"):
            self.grown.append(_normalised_convolution(weights, f"{name}_conv", f"{name}_norm"))
            inner = [f"{name}_inner{layer}" for layer in range(2)]
            layers = [_normalised_convolution(weights, f"{each}_conv", f"{each}_norm") for each in inner]
            self.inner.append(torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1], torch.nn.ReLU()))
        self.output = _dense(weights, "logits")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits."""
        features = torch.relu(self.stem(2 * images - 1))
        for grown, inner in zip(self.grown, self.inner, strict=True):
            features = torch.relu(torch.nn.functional.max_pool2d(grown(features), 2))
            features = features + inner(features)
        return self.output(features.amax(dim=(2, 3)))


_NETWORKS = {"madry-mnist": MadryMnist, "resnet-small": SmallResnet}


def ported(classifier: Classifier, images: npt.NDArray[np.float32]) -> torch.nn.Module:
    """The network of a classifier of the zoo; ends the program if its logits for images (N, H, W, C) are others."""
    loaded = tf.saved_model.load(str(classifier.folder))
    variables = loaded.signatures["serving_default"].variables
    weights = {
        variable.name.removesuffix(":0").removeprefix("madry_mnist/"): variable.numpy() for variable in variables
    }
    network = _NETWORKS[classifier.card.architecture](weights).eval().requires_grad_(False)
    network = network.to(memory_format=torch.channels_last)  # faster on CPUs
    logits = network(to_torch(images, classifier.bounds)).numpy()
    difference = float(np.abs(logits - classifier.logits(images)).max())
    if not difference < _TOLERANCE:
        raise SystemExit(f"the logits of {classifier.name} on PyTorch differ by {difference}")
    return network


def to_torch(images: npt.NDArray[np.float32], bounds: tuple[float, float]) -> torch.Tensor:
    """Images (N, H, W, C) within bounds, as (N, C, H, W) in [0, 1]."""
    low, high = bounds
    return torch.tensor(((images - low) / (high - low)).transpose(0, 3, 1, 2).copy())


def to_images(tensor: torch.Tensor, bounds: tuple[float, float]) -> npt.NDArray[np.float32]:
    """The inverse of :func:`to_torch`."""
    low, high = bounds
    return tensor.numpy().transpose(0, 2, 3, 1) * np.float32(high - low) + np.float32(low)


def _convolution(kernel: Any, bias: Any) -> torch.nn.Conv2d:
    layer = torch.nn.Conv2d(kernel.shape[2], kernel.shape[3], kernel.shape[:2], padding="same", bias=bias is not None)
    layer.weight.data = torch.tensor(kernel.transpose(3, 2, 0, 1).copy())
    if bias is not None:
        layer.bias.data = torch.tensor(bias)
    return layer


def _normalised_convolution(weights: Weights, convolution: str, norm: str) -> torch.nn.Sequential:
    kernel = weights[f"{convolution}/kernel"]
    layer = torch.nn.BatchNorm2d(kernel.shape[3])
    layer.weight.data, layer.bias.data, layer.running_mean, layer.running_var = (
        torch.tensor(weights[f"{norm}/{part}"]) for part in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    return torch.nn.Sequential(_convolution(kernel, weights.get(f"{convolution}/bias")), layer)


def _dense(weights: Weights, name: str) -> torch.nn.Linear:
    kernel, bias = weights[f"{name}/kernel"], weights[f"{name}/bias"]
    layer = torch.nn.Linear(*kernel.shape)
    layer.weight.data, layer.bias.data = torch.tensor(kernel.T.copy()), torch.tensor(bias)
    return layer
