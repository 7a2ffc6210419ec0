"""Small exported models, and the stand-in server that serves them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from advkeras import regions
from advkeras.boundary import BoundarySearch
from advkeras.boundary.detector import BoundaryDetector
from advkeras.models import Classifier
from advkeras.regions.voting import RegionVote
from advkeras.serving.export import export

SHAPE, BOUNDS = (6, 5, 1), (-1.0, 3.0)
VOTE = RegionVote(region=regions.Hypercube(0.5), samples=40)


def classifier_of(seed: int) -> Classifier:
    """A small network with weights of its own."""
    initial = keras.initializers.GlorotUniform(seed=seed)
    layers = [
        keras.Input(SHAPE),
        keras.layers.Conv2D(3, 3, activation="relu", kernel_initializer=initial),
        keras.layers.Flatten(),
        keras.layers.Dense(4, kernel_initializer=initial),
    ]
    return Classifier.from_keras(keras.Sequential(layers, name="small"), bounds=BOUNDS)


@pytest.fixture(scope="session")
def small() -> Classifier:
    return classifier_of(0)


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    return np.random.default_rng(0).uniform(*BOUNDS, (7, *SHAPE)).astype(np.float32)


@pytest.fixture(scope="session")
def exported(small, tmp_path_factory) -> Path:
    """The folder above the versions of the small network, exported once."""
    parent = tmp_path_factory.mktemp("served") / "small"
    export(small, parent, vote=VOTE)
    return parent


def save_noisy(classifier: Classifier, folder: Path) -> None:
    """A SavedModel whose logits differ from call to call, and whose classes do not."""
    kernel, bias, weights, offsets = map(tf.constant, classifier.model.get_weights())

    @tf.function(input_signature=[tf.TensorSpec((None, *SHAPE), tf.float32)])
    def answer(images):
        features = tf.nn.relu(tf.nn.conv2d(images, kernel, 1, "VALID") + bias)
        logits = tf.reshape(features, (-1, weights.shape[0])) @ weights + offsets
        return {"logits": logits + tf.random.uniform(())}

    tf.saved_model.save(tf.Module(), str(folder), signatures=answer)


@dataclass(frozen=True)
class Addresses:
    """Where the stand-in listens, and its process."""

    grpc: str
    rest: str
    pid: int


@contextmanager
def serving(*arguments: str) -> Iterator[Addresses]:
    """The stand-in server, in a process of its own."""
    command = [sys.executable, "-m", "tests.serving.standin", *arguments]
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ}
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        command, cwd=root, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        ports = process.stdout.readline().split()
        assert len(ports) == 2, "the stand-in did not start"
        try:
            yield Addresses(f"grpc://127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}", process.pid)
        finally:
            process.stdin.close()


@pytest.fixture(scope="session")
def server(exported, tmp_path_factory) -> Iterator[Addresses]:
    """Serves the small network: as it is, as Keras itself exports it (also with a softmax, or with a sigmoid instead of
    its classes), a few images at once, with noise added to its logits; and one of the same shape with other weights.
    """
    folders = {name: tmp_path_factory.mktemp("served") / name for name in ("wrong", "noisy", "plain", "softmax", "one")}
    export(classifier_of(1), folders["wrong"], vote=VOTE)
    save_noisy(classifier_of(0), folders["noisy"] / "1")
    for name in ("plain", "softmax", "one"):
        ending_with(name).export(folders[name] / "1", verbose=False)
    models = {"small": exported, "few": f"{exported}@3", **folders}
    with serving(*(f"{name}={place}" for name, place in models.items())) as addresses:
        yield addresses


def ending_with(what: str) -> keras.Model:
    """The small network as it is (``plain``), with a softmax, or with one probability as its only output (``one``)."""
    network = classifier_of(0).model
    if what == "plain":
        return network
    if what == "softmax":
        return keras.Sequential([network, keras.layers.Softmax()], name="softmax")
    difference = keras.layers.Lambda(lambda logits: logits[:, 1:2] - logits[:, :1])
    return keras.Sequential([network, difference, keras.layers.Activation("sigmoid")], name="one")


@pytest.fixture(scope="session")
def detector() -> BoundaryDetector:
    return BoundaryDetector.build(BoundarySearch(directions=40, negatives=True, step=0.2, reach=2.0), classifier_of(0))
