"""Models and cards that are damaged, lie or carry code: one line, and no code runs that nobody has trusted."""

import errno
import io
import json
import os
import shutil
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from advkeras.boundary.detector import BoundaryDetector
from advkeras.errors import InvalidInputError
from advkeras.files import room_in
from advkeras.models import Classifier, ModelCard, layout, zoo
from advkeras.models.networks import load_keras_file

from ..commands import error_of, run
from ..fuzzing.mutations import STRANGE, places

CARD = json.loads((zoo.path("mnist-natural") / "1" / "assets" / "model_card.json").read_text())


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A small SavedModel with a card."""
    folder = tmp_path_factory.mktemp("model") / "small"
    model = keras.Sequential([keras.Input((3, 4, 2)), keras.layers.Flatten(), keras.layers.Dense(3)])
    model.export(folder / "1", verbose=False)
    card = {**CARD, "input_shape": [3, 4, 2], "class_names": ["a", "b", "c"], "checksum": layout.checksum(folder / "1")}
    (folder / "1" / "assets").mkdir(exist_ok=True)
    (folder / "1" / "assets" / "model_card.json").write_text(json.dumps(card))
    return folder


@pytest.fixture
def model(whole, tmp_path) -> Path:
    """A copy of it that may be damaged."""
    return Path(shutil.copytree(whole, tmp_path / "small"))


def refused(path, message="small"):
    with pytest.raises(InvalidInputError, match=message) as error:
        Classifier.load(path, bounds=None)
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 1_000


def test_a_whole_model_is_read(model):
    assert Classifier.load(model).card.class_names == ("a", "b", "c")


@pytest.mark.parametrize("how", ["empty", "cut off", "gone", "rubbish"])
@pytest.mark.parametrize(
    "name", ["variables/variables.data-00000-of-00001", "variables/variables.index", "saved_model.pb"]
)
def test_a_damaged_savedmodel_is_one_line(model, name, how):
    path = model / "1" / name
    content = path.read_bytes()
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(
            {"empty": b"", "cut off": content[: len(content) // 2], "rubbish": b"\xff" * len(content)}[how]
        )
    refused(model)


def test_a_model_without_variables_has_no_checksum(model):
    shutil.rmtree(model / "1" / "variables")
    with pytest.raises(InvalidInputError, match="is a damaged SavedModel"):
        layout.checksum(model / "1")
    refused(model)


def test_numbers_of_versions_are_those_that_tf_serving_takes(model):
    for name in ("²", "1" * 200, "9" * 19):
        shutil.copytree(model / "1", model / name)
    assert layout.version_folder(model) == model / "1"


def with_card(model, **said):
    path = model / "1" / "assets" / "model_card.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **said}))
    return model


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"bounds": ["a", "b"]}, "bounds.0"),
        ({"bounds": [1, 0]}, "bounds must be increasing"),
        ({"bounds": [0, float("nan")]}, "does not hold a model card"),
        ({"bounds": [0]}, "bounds"),
        ({"input_shape": [3, 4]}, "input_shape"),
        ({"input_shape": [3, 0, 2]}, "input_shape.1"),
        ({"input_shape": [10**5, 10**5, 3]}, "images have at most"),
        ({"input_shape": [4, 3, 2]}, r"another model's.*\(4, 3, 2\)"),
        ({"class_names": []}, "class_names"),
        ({"class_names": ["a", "b"]}, "another model's.* 2 classes"),
        ({"class_names": [1, 2, 3]}, "class_names.0"),
        ({"history": [{"loss": "x"}]}, "history.0.loss"),
        ({"history": {}}, "history"),
        ({"accuracies": {"benign": {"rate": 2}}}, "accuracies.benign"),
        ({"name": None}, "name"),
        ({"parameters": 10**30}, "parameters"),
    ],
)
def test_a_card_that_makes_no_sense_is_refused_by_what_is_wrong(model, said, message):
    refused(with_card(model, **said), message)


def test_a_card_is_read_or_refused_whatever_is_in_the_place_of_a_node(tmp_path):
    (tmp_path / "assets").mkdir()
    for number in range(len(list(places(CARD)))):
        for value in STRANGE[::3]:
            card = json.loads(json.dumps(CARD))
            inside, key = list(places(card))[number]
            inside[key] = value
            (tmp_path / "assets" / "model_card.json").write_text(json.dumps(card))
            try:
                ModelCard.read(tmp_path)
            except InvalidInputError as error:
                assert len(str(error).splitlines()) == 1


def test_a_card_without_a_name_has_that_of_the_folder(model):
    assert Classifier.load(with_card(model, name="")).name == "small"


def test_a_name_in_a_card_leads_nowhere_else(model, tmp_path):
    images = np.random.default_rng(0).random((4, 3, 4, 2)).astype(np.float32)
    np.savez(tmp_path / "mine.npz", images=images, labels=np.arange(4) % 3)
    with_card(model, name="../../\x1b[2Jx")
    (tmp_path / "a" / "b").mkdir(parents=True)
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    asked = ("--model", model, "--dataset", tmp_path / "mine.npz", "--examples", 3)
    output = tmp_path / "a" / "b" / "run"
    said = run("evaluate", *asked, "--attack", "fgsm", "--output", output).output
    assert "\x1b[2J" not in said
    new = {path for path in tmp_path.rglob("*") if path.is_file()} - before
    assert new
    assert all(path.is_relative_to(output) for path in new)
    assert "\x1b" not in run("report", output).output + run("report", output, "--markdown").output


def lambda_model(folder, *, suffix=".keras"):
    """A model whose Lambda layer would make a file when it is called."""
    layers = [keras.Input((3, 4, 2)), keras.layers.Lambda(lambda x: x * 2.0, output_shape=(3, 4, 2))]
    path = folder / f"mine{suffix}"
    keras.Sequential([*layers, keras.layers.Flatten(), keras.layers.Dense(3)]).save(path)
    return path


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.filterwarnings("ignore")
def test_python_code_in_a_keras_file_runs_only_if_the_file_is_trusted(tmp_path, suffix):
    path = lambda_model(tmp_path, suffix=suffix)
    with pytest.raises(
        InvalidInputError, match=r"holds Python code.*Lambda layer: give --trust-model \(in Python, trust=True\)"
    ):
        Classifier.load(path, bounds=(0, 1))
    classifier = Classifier.load(path, bounds=(0, 1), trust=True)
    assert classifier.usage.trust
    assert classifier.num_classes == 3


@pytest.mark.filterwarnings("ignore")
def test_commands_trust_a_model_where_that_is_said(tmp_path):
    path = lambda_model(tmp_path)
    np.savez(tmp_path / "mine.npz", images=np.random.default_rng(0).random((4, 3, 4, 2)), labels=np.arange(4) % 3)
    asked = ("attack", "fgsm", "--model", path, "--bounds", 0, 1, "--dataset", tmp_path / "mine.npz")
    assert "give --trust-model" in error_of(*asked, "--output", tmp_path / "a.npz")
    run(*asked, "--output", tmp_path / "a.npz", "--trust-model")
    for command in ("attack", "evaluate", "boundary", "detect", "export", "probe"):
        assert "--trust-model" in run(command, "--help").output


@pytest.mark.parametrize(
    "how", ["empty", "cut off", "no configuration", "a large configuration", "swollen weights", "text"]
)
def test_a_damaged_keras_file_is_one_line(tmp_path, how, monkeypatch):
    path = tmp_path / "mine.keras"
    keras.Sequential([keras.Input((3, 4, 2)), keras.layers.Flatten(), keras.layers.Dense(3)]).save(path)
    content = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    if how in ("empty", "cut off", "text"):
        path.write_bytes({"empty": b"", "cut off": content[:-100], "text": b"no model"}[how])
    else:
        large = {"no configuration": {"config.json": b"{}"}, "a large configuration": {"config.json": b" " * 3_000_000}}
        parts |= large.get(how, {"model.weights.h5": bytes(3_000_000)})
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, part in parts.items():
                archive.writestr(name, part)
    monkeypatch.setenv("ADVKERAS_MAX_BYTES", "2MB")
    with pytest.raises(InvalidInputError, match="mine.keras") as error:
        load_keras_file(path)
    assert len(str(error.value).splitlines()) == 1


def test_a_detector_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    def full(self, path, *_, **__):
        Path(path).write_bytes(b"PK half of it")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    class Network:
        save = full

        def get_layer(self, name):
            return None

    path = tmp_path / "detector.keras"
    with pytest.raises(InvalidInputError, match=r"cannot write .*detector.keras: .*No space left on device"):
        BoundaryDetector(Network()).save(path)
    # One that says nothing of the disk.
    monkeypatch.setattr(Network, "save", lambda self, path: Path(path).write_bytes(b"PK half of it"))
    with pytest.raises(InvalidInputError, match="cannot write"):
        BoundaryDetector(Network()).save(path)
    assert list(tmp_path.iterdir()) == []
    path.write_bytes(b"no detector")
    with pytest.raises(InvalidInputError, match="detector.keras"):
        BoundaryDetector.load(path)


def test_a_full_disk_is_one_line_whatever_library_finds_it(tmp_path):
    errors = (
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        RuntimeError(
            "Unable to flush file's cached information (file write failed: errno = 28, error message = 'No space')"
        ),
        ValueError("wrapped: No space left on device"),
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
    )
    for error in errors:
        with (
            pytest.raises(InvalidInputError, match="cannot write to the folder .*: No space left on device"),
            room_in(tmp_path),
        ):
            raise error
    with pytest.raises(ValueError, match="something else"), room_in(tmp_path):
        raise ValueError("something else")
