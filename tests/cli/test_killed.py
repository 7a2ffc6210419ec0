"""Commands that are killed at any moment, and given again: the results are those of one that ran to its end."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from advkeras.models import ModelCard

from ..grids import grid
from ..zygote import Zygote

COMMANDS = {
    "evaluate": ("evaluate", "--attack", "fgsm,square", "--set", "square.queries=40"),
    "boundary": ("boundary", "--attack", "fgsm", "--directions", 36, "--reach", 0.1),
    "detect": (
        *("detect", "--train-attack", "fgsm", "--test-attack", "fgsm"),
        *("--directions", 36, "--reach", 0.1, "--steps", 4),
    ),
}
# What differs between two runs that found the same.
TIMES = {"seconds", "region_seconds", "provenance", "command", "finished"}


@pytest.fixture(scope="module")
def zygote(tmp_path_factory):
    with Zygote(tmp_path_factory.mktemp("zygote")) as zygote:
        yield zygote


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A network that is wrong near its images, and a few of them."""
    folder = tmp_path_factory.mktemp("small")
    generator = np.random.default_rng(0)
    model = keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
    weights = generator.standard_normal((36, 3))
    model.layers[-1].set_weights([weights, -weights.sum(axis=0) / 2])
    images = generator.uniform(0.45, 0.55, (9, 6, 6, 1)).astype(np.float32)
    np.savez(folder / "data.npz", images=images, labels=model.predict(images, verbose=0).argmax(axis=1))
    model.save(folder / "model.keras")
    return (
        *("--model", folder / "model.keras", "--dataset", folder / "data.npz", "--bounds", 0, 1),
        *("--classes", "a,b,c", "--slice", 3),
    )


def without_times(value):
    if isinstance(value, dict):
        return {key: without_times(entry) for key, entry in value.items() if key not in TIMES}
    return [without_times(entry) for entry in value] if isinstance(value, list) else value


def results_of(folder: Path) -> dict:
    """Everything that a run says, times aside: the JSON files' values, the examples to the bit, the other files."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        found[path.name] = without_times(json.loads(path.read_text()))
    for path in sorted(folder.glob("*/*.npz")):
        if path.parent.name != "units":
            arrays = dict(np.load(path))
            facts = without_times(json.loads(str(arrays.pop("facts"))))
            found[f"{path.parent.name}/{path.name}"] = (facts, {name: each.tobytes() for name, each in arrays.items()})
    others = {".png", ".svg", ".keras"}
    found["others"] = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix in others)
    return found


@pytest.mark.parametrize(("command",), grid(COMMANDS, fast=[("evaluate",)]))
def test_a_command_that_is_killed_three_times_goes_on(zygote, small, tmp_path, command):
    expected, _ = expected_of(zygote, tmp_path, (*COMMANDS[command], *small))
    folder = tmp_path / "killed"
    units = len(written(tmp_path / "whole"))
    for share in (0.2, 0.5, 0.8):
        done = written(folder)
        code, _ = zygote.run(
            *(*COMMANDS[command], *small, "--output", folder),
            kill_when=lambda _, share=share: len(written(folder)) >= share * units,
        )
        assert code == -9
        assert done.items() <= written(folder).items()
    check_going_on(zygote, folder, (*COMMANDS[command], *small), expected)


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_is_killed_at_any_moment_goes_on(zygote, small, tmp_path, command):
    expected, seconds = expected_of(zygote, tmp_path, (*COMMANDS[command], *small))
    codes = []
    for moment in np.linspace(0.05, 0.95, 20):
        folder = tmp_path / f"killed-{moment:.2f}"
        arguments = (*COMMANDS[command], *small, "--output", folder)
        codes.append(zygote.run(*arguments, kill_when=lambda now, end=moment * seconds: now >= end)[0])
        check_going_on(zygote, folder, (*COMMANDS[command], *small), expected)
    assert codes.count(-9) > 5


def expected_of(zygote, tmp_path, arguments):
    """The results of a run that nobody stops, and how long it takes."""
    code, seconds = zygote.run(*arguments, "--output", tmp_path / "whole")
    assert code == 0, zygote.said
    return results_of(tmp_path / "whole"), seconds


def check_going_on(zygote, folder, arguments, expected):
    """The command goes on: nothing that is done is done again, and nothing that was half done is left."""
    done = written(folder)
    code, _ = zygote.run(*arguments, "--output", folder)
    assert code == 0, zygote.said
    assert results_of(folder) == expected
    assert done.items() <= written(folder).items()
    assert not list(folder.rglob(".writing-*"))


def written(folder):
    """When each unit's result was written."""
    return {path.name: path.stat().st_mtime_ns for path in (folder / "units").glob("*.npz")}


QUICK = """
import keras
from advkeras.models import architectures
from advkeras.training import robust_validation

robust_validation._ITERATIONS = 2

def quick(spec):
    return keras.Sequential([keras.Input(spec.shape), keras.layers.Flatten(), keras.layers.Dense(3)])

architectures._REGISTRY["resnet-small"] = quick
"""
EPOCHS = 4


@pytest.fixture
def training(small, tmp_path):
    """The command that trains a small network."""
    (tmp_path / "quick.py").write_text(QUICK)
    _, _, _, data, *classes = small
    return (
        *("--load", tmp_path / "quick.py", "train", "--dataset", data, *classes[:5], "--defense", "pgd"),
        *("--epochs", EPOCHS, "--batch-size", 2, "--validation", 2),
    )


def check_card(folder, whole):
    """All epochs are there with all their figures, the model answers, and nothing of the run is left."""
    card, expected = (ModelCard.read(each / "1") for each in (folder, whole))
    assert [set(epoch) for epoch in card.history] == [set(epoch) for epoch in expected.history]
    assert [epoch["epoch"] for epoch in card.history] == list(range(EPOCHS))
    assert abs(card.accuracies["benign"]["rate"] - expected.accuracies["benign"]["rate"]) <= 0.5
    assert not list(folder.rglob(".writing-*"))


def test_a_training_that_is_killed_three_times_goes_on(zygote, training, tmp_path):
    code, _ = zygote.run(*training, "--output", tmp_path / "whole")
    assert code == 0, zygote.said
    folder = tmp_path / "killed"
    figures = folder / "training" / "history.json"

    def epochs():
        return len(json.loads(figures.read_text())) if figures.is_file() else 0

    for done in (1, 2, 3):
        arguments = (*training, "--output", folder)
        assert zygote.run(*arguments, kill_when=lambda _, done=done: epochs() >= done)[0] == -9
    assert zygote.run(*training, "--output", folder)[0] == 0, zygote.said
    check_card(folder, tmp_path / "whole")


@pytest.mark.slow
def test_a_training_that_is_killed_at_any_moment_goes_on(zygote, training, tmp_path):
    code, seconds = zygote.run(*training, "--output", tmp_path / "whole")
    assert code == 0, zygote.said
    codes = []
    for moment in np.linspace(0.05, 0.95, 20):
        folder = tmp_path / f"killed-{moment:.2f}"
        arguments = (*training, "--output", folder)
        codes.append(zygote.run(*arguments, kill_when=lambda now, end=moment * seconds: now >= end)[0])
        assert zygote.run(*training, "--output", folder)[0] == 0, zygote.said
        check_card(folder, tmp_path / "whole")
    assert codes.count(-9) > 5
