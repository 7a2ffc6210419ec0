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

# Workers of a network and a validation that take little time, and that are told of a missing one soon.
QUICK = """
import keras
from advkeras.cli import main
from advkeras.models import architectures
from advkeras.training import distribution, robust_validation

distribution._NAMED_EVERY = 2
robust_validation._ITERATIONS = 2

def quick(spec):
    layers = (keras.layers.MaxPooling2D(4), keras.layers.Flatten(), keras.layers.Dense(10))
    return keras.Sequential([keras.Input(spec.shape), *layers])

architectures._REGISTRY["madry-mnist"] = quick
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


def cluster() -> list[str]:
    """Addresses of two workers on this machine."""
    with socket.socket() as first, socket.socket() as second:
        for listening in (first, second):
            listening.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{listening.getsockname()[1]}" for listening in (first, second)]


def start_worker(command: list[str], addresses: list[str], index: int) -> subprocess.Popen[str]:
    config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
    return start([*command, "--strategy", "multiworker"], TF_CONFIG=json.dumps(config))


def start_two(command: list[str]) -> list[subprocess.Popen[str]]:
    addresses = cluster()
    return [start_worker(command, addresses, index) for index in range(2)]


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """What a process prints up to a line that has the text."""
    lines = []
    while text not in (line := process.stdout.readline()):
        assert line, "".join(lines)
        lines.append(line)
    return "".join([*lines, line])


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
    workers = start_two(["cli.py", *arguments(digits, tmp_path / "two", "--epochs", 8)])
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


def quick(digits: Path, output: Path, epochs: int) -> list[str]:
    return ["-c", QUICK, *arguments(digits, output, "--epochs", epochs, "--examples", 120)]


def epochs_of(folder: Path) -> list[int]:
    return [entry["epoch"] for entry in ModelCard.read(folder).history]


@pytest.mark.slow
def test_workers_use_the_same_folders_twice(digits, tmp_path):
    for version in ("1", "2"):
        outputs = [finish(worker) for worker in start_two(quick(digits, tmp_path / "two", 3))]
        assert all("epoch 1 of 3" in output and "epoch 3 of 3" in output for output in outputs)
        assert "seems down" not in outputs[0]
        assert epochs_of(tmp_path / "two" / version) == [0, 1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("index", [0, 1])
def test_a_worker_that_does_not_come_is_named_and_given_up(digits, tmp_path, index):
    addresses = cluster()
    worker = start_worker([*quick(digits, tmp_path / "two", 1), "--wait", "5"], addresses, index)
    output, _ = worker.communicate(timeout=300)
    assert worker.returncode == 1
    missing = f"worker {1 - index} ({addresses[1 - index]}) has not come"
    assert f"{missing}; waiting for up to 5 s (--wait)" in output
    assert output.endswith(f"Error: {missing}; 5 s are over (--wait)\n")
    assert "Traceback" not in output


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_worker_that_waits_for_another(digits, tmp_path, number, code):
    worker = start_worker(quick(digits, tmp_path / "two", 1), cluster(), 0)
    read_until(worker, "has not come")
    worker.send_signal(number)
    output, _ = worker.communicate(timeout=5)
    assert worker.returncode == code
    assert "give the same command again" in output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("killed", "number"),
    [((0,), signal.SIGKILL), ((1,), signal.SIGKILL), ((0, 1), signal.SIGKILL), ((0, 1), signal.SIGTERM)],
)
def test_workers_that_were_stopped_go_on_together(digits, tmp_path, killed, number):
    workers = start_two(quick(digits, tmp_path / "two", 40))
    for worker in workers:
        read_until(worker, "epoch 3 of 40")
    for index in killed:
        workers[index].send_signal(number)
    for index in killed:
        workers[index].communicate(timeout=5)
        assert workers[index].returncode == (143 if number == signal.SIGTERM else -number)
    for index in {0, 1}.difference(killed):
        output, _ = workers[index].communicate(timeout=200)
        assert workers[index].returncode == 1
        assert "a worker is gone" in output.splitlines()[-1]
        assert "Traceback" not in output
    outputs = [finish(worker) for worker in start_two(quick(digits, tmp_path / "two", 40))]
    firsts = {output[output.index("epoch ") :].split(":")[0] for output in outputs}
    assert len(firsts) == 1
    assert "epoch 1 of 40" not in outputs[0]
    assert epochs_of(tmp_path / "two" / "1") == list(range(40))


@pytest.mark.slow
def test_a_signal_ends_a_training_that_runs(digits, tmp_path):
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        worker = start(quick(digits, tmp_path / "one", 1000))
        read_until(worker, "epoch ")
        worker.send_signal(number)
        output, _ = worker.communicate(timeout=5)
        assert worker.returncode == code
        assert output.endswith("(on every worker; without --no-resume)\n")
