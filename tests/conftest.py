import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores: threads of their own only get in each other's way.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

import gc
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import advkeras  # noqa: F401 - before TensorFlow, which it tells what to use

# isort: split
import keras
import numpy as np
import pytest
import tensorflow as tf

from advkeras import datasets
from advkeras.attacks import base
from advkeras.datasets import LabelledImages
from advkeras.models import Classifier, architectures

from .commands import of_the_zoo

SHAPE = (3, 4, 2)
FEATURES = 24


def pytest_collection_finish() -> None:
    """Graphs are many objects: the garbage collector, which goes over all that is alive, does so less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def linear_classifier(
    weights: np.ndarray, bias: np.ndarray, bounds: tuple[float, float] = (0.0, 1.0), shape: tuple[int, ...] = SHAPE
) -> Classifier:
    """Logits ``x @ weights + bias`` of flattened images: everything about it is known in closed form."""
    matrix, offset = tf.constant(weights, tf.float32), tf.constant(bias, tf.float32)
    return Classifier(
        lambda images: tf.reshape(images, (-1, int(np.prod(shape)))) @ matrix + offset,
        bounds=bounds,
        input_shape=shape,
        name="linear",
    )


@pytest.fixture(scope="session")
def half_space() -> Callable[..., tuple[Classifier, np.ndarray]]:
    """Two classes parted by a hyperplane through mid-grey; returns the classifier and the normal of class 1's side.

    The normal, (24,), has length 1; the logit of class 1 minus that of class 0 is ``scale * normal @ (x - middle)``,
    for pixels scaled to [0, 1]. Tests share the classifiers, and with them the graphs of the attacks on them.
    """

    @lru_cache
    def make(scale: float = 20.0, bounds: tuple[float, float] = (0.0, 1.0)) -> tuple[Classifier, np.ndarray]:
        normal = np.random.default_rng(5).standard_normal(FEATURES)
        normal /= np.linalg.norm(normal)
        low, high = bounds
        per_pixel = scale * normal / (high - low)
        weights = np.stack([np.zeros(FEATURES), per_pixel], axis=1)
        return linear_classifier(weights, np.array([0.0, -(per_pixel * (low + high) / 2).sum()]), bounds), normal

    return make


def to_the_plane(
    images: np.ndarray, normal: np.ndarray, bounds: tuple[float, float] = (0.0, 1.0), norm: str = "l2"
) -> np.ndarray:
    """The least distance (N,) of images to the hyperplane of :func:`half_space`, over pixels scaled to [0, 1]."""
    low, high = bounds
    along = np.abs(((images - low) / (high - low) - 0.5).reshape(len(images), -1) @ normal)
    return along / np.abs(normal).sum() if norm == "linf" else along


@pytest.fixture
def grey_images() -> Callable[..., np.ndarray]:
    """Images near mid-grey, so that no bound is in an attack's way."""

    def make(count: int = 8, bounds: tuple[float, float] = (0.0, 1.0), spread: float = 0.08) -> np.ndarray:
        low, high = bounds
        noise = np.random.default_rng(7).uniform(-spread, spread, (count, *SHAPE))
        return (low + (0.5 + noise) * (high - low)).astype(np.float32)

    return make


@pytest.fixture(scope="session")
def sample() -> LabelledImages:
    """The shipped sample of real MNIST."""
    return datasets.load_sample("mnist")


@pytest.fixture(scope="session")
def natural() -> Classifier:
    """The zoo's naturally trained MNIST model."""
    return of_the_zoo("mnist-natural")


@pytest.fixture(autouse=True)
def no_prepared_data(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every test starts with an empty cache of data sets."""
    folder = tmp_path_factory.mktemp("data")
    monkeypatch.setenv("ADVKERAS_DATA_DIR", str(folder))
    return folder


@pytest.fixture
def own_registry():
    """Attacks that a test registers are forgotten afterwards."""
    before = dict(base.REGISTERED)
    yield
    base.REGISTERED.clear()
    base.REGISTERED.update(before)


def small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that trains in a second, under the names of the real ones."""

    def build(spec):
        return keras.Sequential(
            [
                keras.Input(spec.shape),
                keras.layers.MaxPooling2D(4),
                keras.layers.Flatten(),
                keras.layers.Dense(spec.num_classes, name="logits"),
            ],
            name="small",
        )

    for name in ("madry-mnist", "resnet-small"):
        monkeypatch.setitem(architectures._REGISTRY, name, build)


@pytest.fixture
def small(monkeypatch) -> None:
    """Small networks."""
    small_networks(monkeypatch)
