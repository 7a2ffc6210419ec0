"""Training on several devices, by several workers, and across a kill: by commands in processes of their own."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from advkeras.models import Classifier, ModelCard

REPOSITORY = Path(__file__).parents[2]

VIRTUAL_DEVICES = """
import sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras
from advkeras.cli import main
from advkeras.models import architectures

def tiny(spec):
    layers = (keras.layers.MaxPooling2D(4), keras.layers.Conv2D(8, 3), keras.layers.BatchNormalization())
    return keras.Sequential([keras.Input(spec.shape), *layers, keras.layers.Flatten(), keras.layers.Dense(10)])

architectures._REGISTRY["tiny"] = tiny
main()
"""


@pytest.fixture
def digits(tmp_path, sample) -> Path:
    """The shipped sample as a user's own data set."""
    np.savez(tmp_path / "digits.npz", images=sample.images, labels=sample.labels)
    return tmp_path / "digits.npz"


def arguments(data: Path, output: Path, *more: object) -> list[str]:
    fixed = ("train", "--dataset", data, "--bounds", 0, 1, "--architecture", "madry-mnist", "--optimizer", "adam")
    recipe = ("--learning-rate", 0.001, "--weight-decay", 0, "--average", 0, "--batch-size", 60)
    return [str(argument) for argument in (*fixed, *recipe, "--output", output, *more)]


def start(command: list[str], **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=900)
    assert process.returncode == 0, output
    return output


def benign(folder: Path) -> float:
    card = ModelCard.read(folder / "1")
    assert card is not None
    return float(card.accuracies["benign"]["rate"])


@pytest.mark.slow
def test_two_virtual_devices_train_a_network_with_batch_normalisation(digits, tmp_path):
    command = arguments(digits, tmp_path / "two", "--epochs", 2, "--defense", "fast", "--average", 0.9)
    command[command.index("madry-mnist")] = "tiny"
    finish(start(["-c", VIRTUAL_DEVICES, *command, "--strategy", "mirrored"]))
    history = ModelCard.read(tmp_path / "two" / "1").history
    assert history[1]["loss"] < history[0]["loss"]
    assert Classifier.load(tmp_path / "two").num_classes == 10


@pytest.mark.slow
def test_two_workers_train_as_well_as_one(digits, tmp_path):
    finish(start(["cli.py", *arguments(digits, tmp_path / "one", "--epochs", 8)]))
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{listening.getsockname()[1]}" for listening in (first, second)]
    workers = [
        start(
            ["cli.py", *arguments(digits, tmp_path / "two", "--epochs", 8, "--strategy", "multiworker")],
            TF_CONFIG=json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}),
        )
        for index in range(2)
    ]
    outputs = [finish(worker) for worker in workers]
    assert "the first worker writes the model" in outputs[1]
    assert benign(tmp_path / "one") > 0.85
    assert benign(tmp_path / "two") == pytest.approx(benign(tmp_path / "one"), abs=0.04)


@pytest.mark.slow
def test_a_killed_training_goes_on_and_ends_as_well(digits, tmp_path):
    more = ("--epochs", 8, "--defense", "pgd", "--epsilon", 0.1)
    finish(start(["cli.py", *arguments(digits, tmp_path / "whole", *more)]))
    third = tmp_path / "killed" / "training" / "epochs" / "3"
    process = start(["cli.py", *arguments(digits, tmp_path / "killed", *more)])
    while not third.is_dir():
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.05)
    # Within the fourth epoch.
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "1").exists()
    output = finish(start(["cli.py", *arguments(digits, tmp_path / "killed", *more)]))
    assert "epoch 3 of 8" not in output
    assert "epoch 4 of 8" in output
    assert [entry["epoch"] for entry in ModelCard.read(tmp_path / "killed" / "1").history] == list(range(8))
    assert benign(tmp_path / "killed") == pytest.approx(benign(tmp_path / "whole"), abs=0.05)
