"""Security curves: exact on a linear model, shared with evaluate, at any epsilons, as a table, CSV and figure."""

import csv
import json
from contextlib import contextmanager
from dataclasses import replace

import jsonschema
import keras
import numpy as np
import pytest
import tensorflow as tf
from rich.console import Console

from advkeras import records
from advkeras.attacks import AttackResult
from advkeras.datasets import CIFAR10, MNIST, LabelledImages, registry
from advkeras.errors import InvalidInputError
from advkeras.evaluation.curve import CurveProtocol, measure_curves, usual_epsilons
from advkeras.evaluation.curve_results import Curve, CurvePoint, CurveReport, as_csv, read
from advkeras.evaluation.flags import raised
from advkeras.evaluation.protocol import Protocol
from advkeras.evaluation.runner import evaluate
from advkeras.models import Classifier
from advkeras.proportion import Proportion
from advkeras.reporting.curve_figure import curve_figure
from advkeras.reporting.curve_tables import curve_caption, curve_markdown, curve_tables
from advkeras.reporting.documents import read_documents
from advkeras.runs.shard import shard
from advkeras.runs.store import Store

from ..commands import error_of, run
from ..conftest import SHAPE
from .test_run_folder import Counting

BOUNDS = (-1.0, 3.0)
SPEC = registry.own("made-up", bounds=BOUNDS, shape=SHAPE, class_names=("ant", "bee"))
FEW = {name: {"gradients": 40} for name in ("optlinf", "optbrittle")}
WRONG = 3


@pytest.fixture
def linear(half_space):
    return half_space(bounds=BOUNDS)


@pytest.fixture
def data(linear, grey_images) -> LabelledImages:
    images = grey_images(count=12, bounds=BOUNDS)
    labels = linear[0].predict(images)
    labels[WRONG] = 1 - labels[WRONG]
    return LabelledImages(images, labels, "made-up images", "test")


def least_distances(images, normal, norm: str) -> np.ndarray:
    """Of a hyperplane through mid-grey, by the dual norm of its normal; no bound is in the way."""
    reach = np.abs((images - np.mean(BOUNDS)).reshape(len(images), -1) @ normal)
    known = reach / (np.abs(normal).sum() if norm == "linf" else np.linalg.norm(normal))
    known[WRONG] = 0.0
    return known


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_curve_of_a_linear_model_is_that_of_its_exact_distances(linear, data, tmp_path, norm):
    classifier, normal = linear
    known = least_distances(data.images, normal, norm)
    middle = float(np.median(known))
    protocol = CurveProtocol.build(
        SPEC, norm=norm, at=(0.5 * middle, 1.5 * middle), check="pgd", parameters={f"opt{_opt(norm)}": FEW["optlinf"]}
    )
    report = measure_curves([classifier], data, SPEC, protocol, tmp_path)
    (curve,) = report.models
    np.testing.assert_allclose(curve.distances, known, rtol=0.01)
    assert curve.distances[WRONG] == 0.0
    assert (curve.unfound, curve.benign) == (0, Proportion(11, 12))
    assert curve.median == sorted(curve.distances)[5]
    for epsilon in np.linspace(0, 1.2 * known.max(), 50):
        if np.abs(known - epsilon).min() > 0.01 * known.max():
            assert curve.accuracy(epsilon).count == (known > epsilon).sum()
    # On a linear model the fixed-norm attack is exact, too.
    for point in curve.points:
        assert point.check == point.right == Proportion(int((known > point.epsilon).sum()), 12)
    assert report.largest_gap[1].gap == 0
    assert "PGD leaves as many at every epsilon" in curve_caption(report)
    assert read(tmp_path) == report
    found = AttackResult.read(tmp_path / "linear" / f"opt{_opt(norm)}.npz")
    np.testing.assert_array_equal(found.images, data.images)


def _opt(norm: str) -> str:
    return "linf" if norm == "linf" else "brittle"


def test_evaluate_and_curve_compute_nothing_twice_and_agree(linear, data, tmp_path):
    (classifier, normal), watch = linear, Counting()
    common = {"parameters": {"optlinf": FEW["optlinf"]}, "seed": 5}
    epsilon = 1.1 * float(np.median(least_distances(data.images, normal, "linf")))
    asked = replace(Protocol.build(SPEC, attacks=("optlinf", "pgd"), epsilon=epsilon, **common), region_samples=2)
    evaluation = evaluate([classifier], data, SPEC, asked, tmp_path, convergence=False)
    protocol = CurveProtocol.build(SPEC, at=(epsilon,), check="pgd", **common)
    report = measure_curves([classifier], data, SPEC, protocol, tmp_path, watch=watch)
    assert watch.titles == []
    _, optlinf, pgd = evaluation.models[0].rows
    (point,) = report.models[0].points
    assert (point.right, point.check) == (optlinf.within, pgd.within)
    assert 0 < point.right.count < 11
    assert [type(document.results).__name__ for document in read_documents(tmp_path)] == ["Evaluation", "CurveReport"]


def measured(classifier, data, folder, *at, **options):
    """A curve by few gradients, and what was computed for it."""
    watch = Counting()
    protocol = CurveProtocol.build(
        SPEC, at=at, parameters={"optlinf": FEW["optlinf"]}, check=options.pop("check", None)
    )
    return measure_curves([classifier], data, SPEC, protocol, folder, watch=watch, **options), watch.titles


def test_another_grid_of_epsilons_computes_nothing_anew(linear, data, tmp_path):
    first, titles = measured(linear[0], data, tmp_path, 0.1)
    assert titles == ["linear: Benign", "linear: OptLinf"]
    other, titles = measured(linear[0], data, tmp_path, 0.01, 0.05, 0.02)
    assert titles == []
    assert other.at == (0.01, 0.02, 0.05)
    assert [point.epsilon for point in other.models[0].points] == [0.01, 0.02, 0.05]
    assert other.models[0].distances == first.models[0].distances
    assert read(tmp_path) == other
    _, titles = measured(linear[0], data, tmp_path, 0.01, 0.05, check="fgsm")
    assert titles == ["linear: FGSM within 0.01", "linear: FGSM within 0.05"]


def test_curves_that_answer_the_same_question_stand_in_one_figure(linear, data, tmp_path):
    measured(linear[0], data, tmp_path, 0.01, 0.05, check="fgsm")
    other = Classifier(linear[0], bounds=BOUNDS, input_shape=SHAPE, name="other")
    both, titles = measured(other, data, tmp_path, 0.05, 0.1, check="fgsm")
    # Its logits are those of the first one, and so are the examples.
    assert titles == ["other: FGSM within 0.1"]
    assert [curve.name for curve in both.models] == ["other", "linear"]
    assert both.models[0].distances == both.models[1].distances
    # What was checked for the first one at an epsilon that is still asked for is kept; nothing is known of the other.
    assert [point.check is None for point in both.models[1].points] == [False, True]
    alone, _ = measured(other, data.first(6), tmp_path, 0.05)
    assert [curve.name for curve in alone.models] == ["other"]


def test_an_unfinished_run_has_the_curve_of_what_is_done(linear, data, tmp_path):
    class Stopping(Counting):
        @contextmanager
        def working(self, unit):
            if len(self.titles) == 5:
                raise KeyboardInterrupt
            with super().working(unit) as progress:
                yield progress

    protocol = CurveProtocol.build(SPEC, at=(0.05,), parameters={"optlinf": FEW["optlinf"]})
    with pytest.raises(KeyboardInterrupt):
        measure_curves([linear[0]], data, SPEC, protocol, tmp_path, slice_size=4, watch=Stopping())
    (document,) = read_documents(tmp_path)
    (curve,) = document.results.models
    assert document.caption.startswith("Unfinished: 1 unit is left; rows are of what is done. 12 images")
    np.testing.assert_allclose(curve.distances, least_distances(data.images, linear[1], "linf")[:8], rtol=0.01)
    assert not (tmp_path / "curve.json").exists()
    left = measure_curves([linear[0]], data, SPEC, protocol, tmp_path, slice_size=4, compute=shard("2/3"))
    assert left.units_left == 1
    whole = measure_curves([linear[0]], data, SPEC, protocol, tmp_path, slice_size=4)
    assert (whole.units_left, len(whole.models[0].distances)) == (0, 12)
    assert whole.models[0].distances[:8] == curve.distances


# An image that is wrong as it is, two at one distance, one that nothing was found for.
MADE_UP = Curve(
    name="made, up",
    source="",
    checksum="",
    distances=(0.2, None, 0.0, 0.1, 0.2),
    points=(
        CurvePoint(epsilon=0.15, right=Proportion(3, 5), check=Proportion(2, 5)),
        CurvePoint(epsilon=0.3, right=Proportion(1, 5), check=Proportion(1, 5)),
    ),
)


def made_up_report(**changed) -> CurveReport:
    asked = {"norm": "linf", "search": "OptLinf", "search_config": {}, "check": "PGD", "check_configs": ({}, {})}
    known = {"dataset": "x", "dataset_title": "X", "data_source": "nowhere", "examples": 5, "bounds": (0.0, 1.0)}
    report = CurveReport(**known, **asked, epsilon=0.3, at=(0.15, 0.3), seed=0, models=(MADE_UP,))
    return replace(report, **changed)


def test_a_curve_says_what_is_left_at_every_epsilon():
    assert MADE_UP.benign == Proportion(4, 5)
    assert [MADE_UP.accuracy(epsilon).count for epsilon in (0.0, 0.09, 0.1, 0.19, 0.2, 5.0)] == [4, 4, 3, 3, 1, 1]
    assert MADE_UP.steps() == [(0.0, Proportion(4, 5)), (0.1, Proportion(3, 5)), (0.2, Proportion(1, 5))]
    assert MADE_UP.unfound == 1
    assert MADE_UP.median == 0.2
    assert replace(MADE_UP, distances=(None, None, 0.1)).median is None
    assert replace(MADE_UP, distances=(None, 0.1)).median == 0.1
    assert replace(MADE_UP, distances=()).median is None
    assert replace(MADE_UP, distances=(0.4,)).steps() == [(0.0, Proportion(1, 1)), (0.4, Proportion(0, 1))]


def test_the_largest_gap_to_the_check_is_said_and_where():
    assert [point.gap for point in MADE_UP.points] == [pytest.approx(-0.2), 0.0]
    assert "The largest gap to PGD: 20 points on made, up at 0.15, where PGD leaves fewer." in curve_caption(
        made_up_report()
    )
    without = replace(MADE_UP, points=tuple(replace(point, check=None) for point in MADE_UP.points))
    assert made_up_report(models=(without,)).largest_gap is None
    # Of an unfinished run the two may be of other images.
    assert CurvePoint(epsilon=0.1, right=Proportion(3, 5), check=Proportion(2, 4)).gap is None


def test_the_csv_file_holds_each_step(tmp_path):
    rows = list(csv.DictReader(as_csv(made_up_report()).splitlines()))
    curve = [row for row in rows if row["attack"] == "OptLinf"]
    assert {row["model"] for row in rows} == {"made, up"}
    for epsilon in (0.0, 0.05, 0.1, 0.15, 0.2, 9.0):
        left = MADE_UP.accuracy(epsilon)
        last = [row for row in curve if float(row["epsilon"]) <= epsilon][-1]
        assert (int(last["right"]), int(last["images"]), float(last["accuracy"])) == (left.count, left.of, left.rate)
        assert (float(last["low"]), float(last["high"])) == left.interval()
    assert [(row["epsilon"], row["right"]) for row in rows if row["attack"] == "PGD"] == [("0.15", "2"), ("0.3", "1")]


def test_the_record_fits_its_schema_and_survives_the_disk(tmp_path):
    report = made_up_report()
    Store(tmp_path).write("curve.json", records.as_json(report))
    assert read(tmp_path) == report
    data = json.loads((tmp_path / "curve.json").read_text())
    jsonschema.validate(data, records.schema(CurveReport))
    assert (data["models"][0]["median"], data["models"][0]["unfound"]) == (0.2, 1)
    data["models"][0]["distances"][0] = -1
    (tmp_path / "curve.json").write_text(json.dumps(data))
    with pytest.raises(InvalidInputError, match="does not hold security curves: models.0.distances.0"):
        read(tmp_path)


def test_tables_fit_a_terminal_however_many_models_there_are():
    names = ("one", "a-model-with-a-long-name", "three", "four", "five")
    report = made_up_report(
        models=tuple(replace(MADE_UP, name=name) for name in names), flags=(raised("narrow-pixels", "so it is"),)
    )
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    for table in curve_tables(report):
        console.print(table)
    text = console.export_text()
    assert "…" not in text
    assert all(name in text for name in names)
    markdown = curve_markdown(made_up_report())
    assert "| Epsilon | made, up | PGD |" in markdown
    assert "| 0 (benign) | 80 [38, 96] | - |" in markdown
    assert "| 0.15 | 60 [23, 88] | 40 [12, 77] |" in markdown
    assert "| Median epsilon | 0.2 | - |" in markdown
    assert "| None found | 1 | - |" in markdown
    assert "Flag narrow-pixels: so it is." in curve_caption(report)
    assert curve_tables(made_up_report(models=())) == []


def test_gradients_that_say_nothing_are_doubted(data, tmp_path):
    def logits(images):
        corner = images[:, 0, 0, 0]
        other = tf.where(corner > 2.99, np.nan, 3 + 0 * corner)
        return tf.stack([tf.reduce_sum(tf.nn.relu(images - 9), axis=(1, 2, 3)), other], axis=1)

    # Flat where images are: no gradient says how the class could be changed. One image is not classified at all.
    flat = Classifier(logits, bounds=BOUNDS, input_shape=SHAPE, name="flat")
    images = replace(data, labels=np.ones(len(data), np.int32))
    images.images[5, 0, 0, 0] = 3.0
    protocol = CurveProtocol.build(SPEC, parameters={"optlinf": {"gradients": 5}})
    report = measure_curves([flat], images, SPEC, protocol, tmp_path)
    assert report.models[0].unfound == 11
    assert report.models[0].accuracy(100.0) == report.models[0].benign == Proportion(11, 12)
    assert report.models[0].median is None
    flags = {flag.name: flag for flag in report.flags}
    assert flags["zero-gradients"].line.startswith("of the gradients that OptLinf took of flat 55 were zero everywhere")
    assert flags["zero-gradients"].images == Proportion(11, 11)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_figure_is_drawn(tmp_path, norm):
    never = replace(MADE_UP, name="never", distances=(None,) * 5, points=())
    pictures = curve_figure(made_up_report(norm=norm, models=(MADE_UP, never)), tmp_path / "curve")
    assert [path.name for path in pictures] == ["curve.png", "curve.svg"]
    drawn = (tmp_path / "curve.svg").read_text()
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    # Text is drawn as outlines; matplotlib leaves it beside them as comments.
    assert "<!-- made, up -->" in drawn
    assert "<!-- made, up, PGD -->" in drawn
    assert ("<!-- X's epsilon, 0.3 -->" in drawn) == (norm == "linf")


def test_usual_epsilons_are_around_those_of_the_data_set():
    assert usual_epsilons(MNIST, "linf") == (0.0375, 0.075, 0.15, 0.3, 0.45)
    assert usual_epsilons(CIFAR10, "linf") == (1, 2, 4, 8, 12)
    assert usual_epsilons(MNIST, "l2")[3] == 2.1
    assert SPEC.epsilon in usual_epsilons(SPEC, "linf")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"norm": "l1"}, "norm must be 'l2' or 'linf'. Received: norm='l1'"),
        ({"at": (0.1, -0.1)}, "at must be positive. Received: at=-0.1"),
        ({"check": "optbrittle"}, "a check is made by an attack that stays within an epsilon. Received: optbrittle"),
        ({"attack": "pgd"}, "a curve is made by an attack that looks for the least distance. Received: pgd"),
        ({"attack": "optbrittle"}, r"OptBrittle has another norm than the curve \(linf\). Received: norm='l2'"),
        ({"norm": "l2", "check": "fgsm"}, r"FGSM has another norm than the curve \(l2\)"),
        ({"check": "pdg"}, "did you mean 'pgd'"),
        ({"parameters": {"pgd": {}}}, "parameters of pgd, which is not run: it runs optlinf"),
        ({"check": "pgd", "parameters": {"pgd": {"epsilon": 1}}}, "the epsilons of a check are those of --at"),
    ],
)
def test_what_makes_no_curve_is_refused(asked, message):
    with pytest.raises(InvalidInputError, match=message):
        CurveProtocol.build(SPEC, **asked)


def test_attacks_with_a_choice_take_the_norm_of_the_curve():
    protocol = CurveProtocol.build(SPEC, norm="l2", attack="fab", check="apgd")
    assert protocol.search.norm == "l2"
    assert {check.norm for check in protocol.checks} == {"l2"}
    assert tuple(check.epsilon for check in protocol.checks) == protocol.at == usual_epsilons(SPEC, "l2")


def test_the_command_prints_a_table_and_writes_figure_csv_and_json(tmp_path):
    generator = np.random.default_rng(0)
    images = generator.uniform(0.4, 0.6, (6, 4, 4, 1)).astype(np.float32)
    labels = (images.mean(axis=(1, 2, 3)) > 0.5).astype(int)
    np.savez(tmp_path / "mine.npz", images=images, labels=labels)
    network = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
    network.layers[-1].set_weights([np.array([[0.0, 20.0]]), np.array([0.0, -10.0])])
    network.save(tmp_path / "mine.keras")
    common = ("curve", "--model", tmp_path / "mine.keras", "--dataset", tmp_path / "mine.npz", "--bounds", 0, 1)
    small = ("--set", "optlinf.gradients=10", "--at", "0.01", "--at", "0.3", "--output", tmp_path / "run")
    report = json.loads(run(*common, *small, "--json").stdout)
    # The mean of the pixels is what counts, so each has to change by as much as it.
    known = np.abs(images.mean(axis=(1, 2, 3)) - 0.5)
    np.testing.assert_allclose(report["models"][0]["distances"], known, rtol=0.05, atol=1e-4)
    assert [point["right"]["count"] for point in report["models"][0]["points"]] == [int((known > 0.01).sum()), 0]
    written = {path.name for path in (tmp_path / "run").iterdir() if path.is_file()}
    assert written == {"curve.json", "curve.csv", "curve.png", "curve.svg"}
    shown = run(*common, *small)
    assert "mine: OptLinf: already there" in shown.stderr
    assert "mine: accuracy against epsilon, L-inf" in " ".join(shown.stdout.split())
    assert run("report", tmp_path / "run").stdout.splitlines()[:8] == shown.stdout.splitlines()[:8]
    assert "curve: " in run("status", tmp_path / "run").stdout
    assert "--at must be positive. Received: --at=-0.1" in error_of("curve", "--at", "-0.1")
