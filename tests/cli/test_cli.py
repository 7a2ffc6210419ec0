"""The command line: what a user types, and what comes back."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from advkeras.attacks import AttackResult
from advkeras.models import ModelCard

from ..commands import error_of, run

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def multi_label_model(tmp_path) -> Path:
    model = keras.Sequential(
        [keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10, activation="sigmoid")]
    )
    model.export(str(tmp_path / "multi-label"), verbose=False)
    return tmp_path / "multi-label"


def test_evaluate_prints_both_tables_and_writes_the_results(tmp_path):
    arguments = ("evaluate", "--dataset", "mnist", "--model", "mnist-natural", "--attack", "fgsm", "--examples", 10)
    result = run(*arguments, "--output", tmp_path / "out")
    assert "MNIST, mnist-natural: success and average distortion" in result.stdout
    assert "MNIST, mnist-natural: region and point accuracy" in result.stdout
    assert "the first 1,000 MNIST test images" in result.stderr
    assert result.stdout.strip().splitlines()[-1].startswith("1 attack, 1 model and 10 images in ")
    assert {path.name for path in (tmp_path / "out" / "mnist-natural").iterdir()} == {"benign.npz", "fgsm.npz"}
    again = run(*arguments, "--output", tmp_path / "out")
    assert "mnist-natural: FGSM: already there" in again.stderr
    report = run("report", tmp_path / "out").stdout
    assert report.splitlines()[:6] == result.stdout.splitlines()[:6]
    assert "| FGSM |" in run("report", tmp_path / "out", "--markdown").stdout
    more = run(*arguments[:-3], "pgd", *arguments[-2:], "--output", tmp_path / "out")
    assert "mnist-natural: Benign: already there" in more.stderr
    assert [line.split()[0] for line in more.stdout.splitlines()[3:5]] == ["PGD", "FGSM"]


def test_evaluate_prints_json(tmp_path):
    result = run(
        "evaluate", "--model", "mnist-natural", "--attack", "fgsm", "--examples", 5, "--json", "--output", tmp_path
    )
    assert json.loads(result.stdout)["models"][0]["rows"][1]["attack"] == "fgsm"


def test_attack_saves_examples_and_a_picture(tmp_path):
    result = run(
        *("attack", "pgd", "--model", "mnist-natural", "--examples", 6, "--set", "iterations=10"),
        *("--set", "step=0.05", "--output", tmp_path / "found.npz"),
    )
    assert "6 of 6 succeeded" in result.stdout
    found = AttackResult.read(tmp_path / "found.npz")
    assert found.success.all()
    assert found.facts["config"]["iterations"] == 10
    assert (tmp_path / "found.png").read_bytes().startswith(b"\x89PNG")


def test_attack_takes_targets_and_the_users_own_images(tmp_path, sample):
    np.savez(tmp_path / "mine.npz", images=sample.images[:8], labels=sample.labels[:8])
    result = run(
        *("attack", "optbrittle", "--model", "mnist-natural", "--dataset", tmp_path / "mine.npz", "--target", 3),
        *("--json", "--output", tmp_path / "found.npz"),
    )
    data = json.loads(result.stdout)
    found = AttackResult.read(tmp_path / "found.npz")
    assert not (found.labels == 3).any()
    assert (found.predictions[found.success] == 3).all()
    assert data["success"]["count"] == found.success.sum() > 0


def test_hopskipjump_starts_at_the_images_of_the_target(tmp_path):
    result = run(
        *("attack", "hopskipjump", "--model", "mnist-pgd", "--target", 4, "--examples", 20, "--set", "queries=40"),
        *("--json", "--output", tmp_path / "found.npz"),
    )
    data = json.loads(result.stdout)
    assert data["success"]["count"] == data["success"]["of"] > 10
    assert data["config"]["queries"] == 40


def test_the_cache_may_be_named_before_or_after_prepare(tmp_path):
    for folder in ("before", "after"):
        path = tmp_path / folder / "mnist" / "3.0.1"
        path.mkdir(parents=True)
        (path / "dataset_info.json").write_text("{}")
    assert "already prepared" in run("datasets", "--data-dir", tmp_path / "before", "prepare", "mnist").stdout
    assert "already prepared" in run("datasets", "prepare", "mnist", "--data-dir", tmp_path / "after").stdout


def test_a_model_with_other_classes_is_refused_before_it_is_attacked(tmp_path):
    model = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(12)])
    model.save(tmp_path / "twelve.keras")
    assert "does not fit mnist" in error_of("attack", "fgsm", "--model", tmp_path / "twelve.keras")


def test_datasets_and_models_are_listed(no_prepared_data):
    assert "sample" in run("datasets").stdout
    assert json.loads(run("datasets", "--json").stdout)[0]["images"] == 1_000
    listed = run("models").stdout
    assert all(word in listed for word in ("mnist-natural", "mnist-pgd", "99.36%", "3,274,634", "intact"))
    names = [card["name"] for card in json.loads(run("models", "--json").stdout)]
    assert names == ["cifar10-natural", "cifar10-pgd", "mnist-natural", "mnist-pgd"]


def test_report_writes_into_a_document(tmp_path):
    run("evaluate", "--model", "mnist-natural", "--attack", "fgsm", "--examples", 2, "--output", tmp_path)
    document = tmp_path / "doc.md"
    document.write_text("<!-- results -->\n<!-- /results -->\n")
    run("report", tmp_path, "--into", document)
    assert "| FGSM |" in document.read_text()


def test_bad_input_is_one_line_and_exit_code_2(tmp_path, sample, multi_label_model):
    np.savez(tmp_path / "bright.npz", images=sample.images[:4] * 255, labels=sample.labels[:4])
    keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]).save(
        tmp_path / "plain.keras"
    )
    (tmp_path / "file").write_text("")
    raw = tmp_path / "raw"
    raw.mkdir()
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (raw / f"{name}-ubyte").write_bytes(b"\x00\x00\x08\x03 corrupt")
    damaged = tmp_path / "damaged"
    (damaged / "mnist" / "3.0.1").mkdir(parents=True)
    (damaged / "mnist" / "3.0.1" / "dataset_info.json").write_text("{}")
    cases = {
        "unknown data set 'mnits': did you mean 'mnist'": ("evaluate", "--dataset", "mnits"),
        "unknown model 'mnist-naturel': did you mean 'mnist-natural'": ("evaluate", "--model", "mnist-naturel"),
        "unknown attack 'fgms': did you mean 'fgsm'": ("evaluate", "--attack", "fgms"),
        "--epsilon must not be negative. Received: --epsilon=-0.3": ("evaluate", "--epsilon", "-0.3"),
        "unknown protocol 'slow'": ("evaluate", "--protocol", "slow"),
        "ends with 10 independent sigmoids": ("evaluate", "--model", multi_label_model),
        "cannot write to the folder": ("evaluate", "--output", tmp_path / "file" / "out"),
        "unknown data set 'mnits': did you mean 'mnist'? known are mnist, cifar10 and": (
            "datasets",
            "prepare",
            "mnits",
        ),
        "is not the original file": ("datasets", "prepare", "mnist", "--from", raw),
        "there is no such file or folder": ("datasets", "prepare", "mnist", "--from", tmp_path / "nowhere"),
        "the bounds are [0, 1], but pixels of the file": (
            *("attack", "fgsm", "--dataset", tmp_path / "bright.npz", "--output", tmp_path / "x.npz"),
        ),
        "has no model card that says its pixels' bounds: give --bounds LOW HIGH": (
            *("evaluate", "--dataset", tmp_path / "bright.npz", "--model", tmp_path / "plain.keras"),
        ),
        "the zoo has no model of": ("evaluate", "--dataset", tmp_path / "bright.npz", "--bounds", 0, 255),
        "radius must not be negative": ("evaluate", "--radius", "-1"),
        "unknown attack 'foo'": ("attack", "foo"),
        "unknown parameter of pgd 'stepp': did you mean 'step'": ("attack", "pgd", "--set", "stepp=1"),
        "--set takes NAME=VALUE": ("attack", "pgd", "--set", "step"),
        "iterations must be a whole number": ("attack", "pgd", "--set", "iterations=many"),
        "targets must lie in 0...9": ("attack", "fgsm", "--target", 10, "--output", tmp_path / "x.npz"),
        "examples asked for": ("evaluate", "--examples", 5_000),
        "unknown defense 'magic'": ("train", "--defense", "magic", "--output", tmp_path / "x"),
        "the train split of mnist is not in": ("train", "--output", tmp_path / "x"),
        "cannot read": ("report", tmp_path / "nowhere"),
        "unknown model '[/red]'": ("attack", "fgsm", "--model", "[/red]"),
        "ends with .npz, .npy, .h5, .hdf5, .csv": ("attack", "fgsm", "--dataset", tmp_path / "file"),
        "must be a file that ends with .npz": ("attack", "fgsm", "--output", tmp_path / "x.txt"),
        "is damaged": ("evaluate", "--data-dir", damaged),
        "optimizer must be 'adam' or 'sgd'. Received: optimizer='lion'": (
            "train",
            "--optimizer",
            "lion",
            "--output",
            tmp_path / "x",
        ),
        "patience needs held out images": ("train", "--patience", 2, "--output", tmp_path / "x"),
        "unknown strategy 'all'": ("train", "--strategy", "all", "--output", tmp_path / "x"),
        "needs the environment variable TF_CONFIG": ("train", "--strategy", "multiworker", "--output", tmp_path / "x"),
        "--seed must lie in [0, 4294967296)": ("train", "--seed", -1, "--output", tmp_path / "x"),
    }
    for message, arguments in cases.items():
        assert message in error_of(*arguments), arguments
    assert not list(tmp_path.glob("x*"))


def test_boundary_prints_a_table_and_draws_the_figures(tmp_path):
    arguments = ("boundary", "--model", "mnist-natural", "--attack", "optbrittle", "--directions", 20, "--examples", 3)
    report = json.loads(run(*arguments, "--json", "--output", tmp_path).stdout)
    names = {"distances", "purity", "mnist-natural-instance"}
    assert {path.stem for path in tmp_path.glob("*.png")} == {path.stem for path in tmp_path.glob("*.svg")} == names
    assert [row["images"] for row in report["models"]["mnist-natural"]] == [3, 3]
    assert report["region_distance"] == pytest.approx(0.3 / 3**0.5)
    table = run("report", tmp_path / "boundaries.json").stdout
    assert "MNIST, mnist-natural: boundaries along 20 directions" in " ".join(table.split())
    for message, wrong in (
        ("directions with their negatives must be an even number", ("--directions", 3)),
        ("--directions must be at least 1. Received: --directions=0", ("--directions", 0)),
        ("instance must lie in 0...2. Received: instance=3", ("--instance", 3, "--examples", 3)),
    ):
        assert message in error_of("boundary", "--model", "mnist-natural", *wrong, "--output", tmp_path)


def test_detect_trains_tests_and_keeps_a_detector(tmp_path):
    arguments = ("detect", "--train-attack", "optbrittle", "--test-attack", "optbrittle, fgsm", "--directions", 40)
    result = run(*arguments, "--reach", 0.1, "--examples", 15, "--steps", 20, "--output", tmp_path)
    assert "MNIST, mnist-natural: detection by boundaries" in " ".join(result.stdout.split())
    assert (tmp_path / "mnist-natural" / "detector-optbrittle.keras").is_file()
    report = json.loads((tmp_path / "detection.json").read_text())
    assert [row["detector"] for row in report["rows"]] == ["boundaries", "agreement"]
    assert set(report["rows"][0]["false_negatives"]) == {"OptBrittle", "FGSM"}


@pytest.fixture
def own(tmp_path) -> tuple[Path, Path]:
    """A data set and a model that nobody knows: 3 classes, 20x24 images in [-1, 1]."""
    generator = np.random.default_rng(0)
    labels = np.arange(240) % 3
    images = generator.uniform(-0.3, 0.3, (240, 20, 24, 3)).astype(np.float32)
    images[np.arange(240), :, :, labels] += 0.5
    np.savez(tmp_path / "shades.npz", images=images, labels=labels)
    return tmp_path / "shades.npz", tmp_path


def test_the_users_own_data_and_model_need_no_special_case(own, small):
    """What a first-time user does: train, evaluate, attack; then the same with a .keras file."""
    data, folder = own
    common = ("--dataset", data, "--bounds", -1, 1, "--classes", "red,green,blue")
    run("train", *common, "--defense", "pgd", "--epochs", 6, "--batch-size", 24, "--output", folder / "shades")
    card = ModelCard.read(folder / "shades" / "1")
    assert (card.bounds, card.class_names, card.input_shape) == ((-1, 1), ("red", "green", "blue"), (20, 24, 3))
    assert card.recipe["epsilon"] == pytest.approx(8 / 127.5)
    assert card.accuracies["benign"]["rate"] > 0.8
    result = run(
        *("evaluate", "--dataset", data, "--model", folder / "shades", "--attack", "fgsm"),
        *("--examples", 12, "--output", folder / "of-shades"),
    )
    assert "shades, shades: success and average distortion" in " ".join(result.stdout.split())

    network = keras.Sequential([keras.Input((20, 24, 3)), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)])
    network.layers[-1].set_weights([20 * np.eye(3, dtype=np.float32), np.zeros(3, np.float32)])
    network.save(folder / "mine.keras")
    known = ("--dataset", data, "--model", folder / "mine.keras", "--bounds", -1, 1)
    chosen = ("--attack", "optbrittle,optmargin,optregion", "--examples", 6, "--no-convergence-check")
    result = run("evaluate", *known, *chosen, "--output", folder / "of-mine")
    assert "in pixels of [-1, 1]" in " ".join(result.stdout.split())
    rows = json.loads((folder / "of-mine" / "results.json").read_text())["models"][0]["rows"]
    by_attack = {row["attack"]: row for row in rows}
    assert [row["convergence"] for row in rows] == [None] * 4
    assert by_attack["benign"]["point"]["count"] == 6
    assert by_attack["optbrittle"]["success"]["count"] == 6
    assert by_attack["optregion"]["region"]["count"] == 0
    assert by_attack["optbrittle"]["distortion"]["mean"] < by_attack["optmargin"]["distortion"]["mean"]
    run("attack", "pgd", *known, "--output", folder / "found.npz")
    assert AttackResult.read(folder / "found.npz").facts["config"]["epsilon"] == pytest.approx(8 / 127.5)


def test_a_missing_network_is_one_line_and_exit_code_1(monkeypatch):
    import urllib.error
    import urllib.request

    def unreachable(*_, **__):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    assert "cannot be downloaded (no route to host)" in error_of("datasets", "prepare", "mnist", code=1)


@pytest.mark.parametrize(
    "arguments",
    [
        ["-c", "import advkeras"],
        ["-m", "advkeras", "--help"],
        ["cli.py", "--help"],
        ["cli.py", "report", "docs/results/mnist.json"],
    ],
)
def test_tensorflow_is_not_imported_before_it_is_needed(arguments):
    result = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert "advkeras" in imported
    assert not imported & {"tensorflow", "keras", "tensorflow_datasets"}


def test_errors_are_one_line_without_a_traceback_or_log_lines():
    result = subprocess.run(
        [sys.executable, "cli.py", "evaluate", "--attack", "fgms"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr.strip().splitlines() == [
        "Error: unknown attack 'fgms': did you mean 'fgsm'? known are fgsm, pgd, optlinf, optbrittle, optmargin, "
        "optstrong, optregion, optmimic, square, hopskipjump, apgd, apgd-t, fab, autoattack, quick"
    ]
