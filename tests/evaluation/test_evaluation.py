"""Running an evaluation, its results as data, and going on after a stop."""

import json
import shutil
from dataclasses import replace

import jsonschema
import keras
import numpy as np
import pytest
import tensorflow as tf

from advkeras import records
from advkeras.arrays import NO_CLASS, no_progress
from advkeras.attacks import FGSM, AttackResult, HopSkipJump
from advkeras.datasets import MNIST
from advkeras.errors import InvalidInputError
from advkeras.evaluation import paper
from advkeras.evaluation.fold import EVALUATION
from advkeras.evaluation.planned import PlannedEvaluation, PlannedModel, PlannedRow
from advkeras.evaluation.protocol import TABLE_ATTACKS, Protocol
from advkeras.evaluation.results import Evaluation, RegionSettings, read
from advkeras.evaluation.runner import evaluate
from advkeras.evaluation.slices import slices_of
from advkeras.evaluation.units import Examples, Recheck, checksum
from advkeras.models import Classifier
from advkeras.provenance import UNKNOWN
from advkeras.runs.plan import kept
from advkeras.runs.store import Store
from advkeras.runs.unit import Result

FAST = ("fgsm", "pgd")


@pytest.fixture(scope="module")
def evaluated(natural, sample, tmp_path_factory):
    """An evaluation and its folder; tests get copies."""
    folder = tmp_path_factory.mktemp("evaluated")
    return evaluate([natural], sample.first(12), MNIST, Protocol.build(MNIST, attacks=FAST), folder), folder


@pytest.fixture
def evaluation(evaluated, tmp_path):
    """The evaluation, whose folder is the test's own."""
    evaluation, folder = evaluated
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    return evaluation


def test_rows_hold_what_the_examples_on_disk_say(evaluation, natural, sample, tmp_path):
    (model,) = evaluation.models
    assert [row.attack for row in model.rows] == ["benign", *FAST]
    for row in model.rows:
        examples = AttackResult.read(tmp_path / row.examples_file)
        np.testing.assert_array_equal(examples.images, sample.images[:12])
        np.testing.assert_array_equal(natural.predict(examples.adversarials), examples.predictions)
        assert row.point.count == (examples.predictions == sample.labels[:12]).sum()
        assert row.point.of == row.region.of == 12
        if row.attack == "benign":
            assert row.success is None
            assert row.distortion is None
        else:
            assert row.success.count == examples.success.sum()
            assert row.success.of == (natural.predict(sample.images[:12]) == sample.labels[:12]).sum()
            assert row.distortion.mean == pytest.approx(examples.distortion[examples.success].mean())
            assert row.distortion.low <= row.distortion.mean <= row.distortion.high
            assert row.paper == paper.rows_for("mnist", "none").get(row.attack)
    assert (model.rows[1].gradient_count, model.rows[2].gradient_count) == (12, 12 * 40)
    assert model.rows[1].within == model.rows[1].point
    assert model.worst.within.count == 0


def test_results_survive_the_disk_and_fit_their_schema(evaluation, tmp_path):
    assert read(tmp_path) == evaluation
    assert read(tmp_path / "results.json") == evaluation
    schema = records.schema(Evaluation)
    data = json.loads((tmp_path / "results.json").read_text())
    jsonschema.validate(data, schema)
    del data["models"][0]["rows"][0]["point"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, schema)


def test_a_second_run_does_only_what_is_missing_and_gives_the_same_figures(
    evaluation, natural, sample, tmp_path, monkeypatch
):
    (tmp_path / "mnist-natural" / "pgd.npz").unlink()
    store = Store(tmp_path)
    (plan,) = kept(store)
    for unit in plan.units:
        if unit.title == "mnist-natural: PGD":
            (tmp_path / "units" / f"{unit.digest}.npz").unlink()
    monkeypatch.setattr(FGSM, "run", lambda *_: pytest.fail("FGSM was run again"))
    again = evaluate([natural], sample.first(12), MNIST, Protocol.build(MNIST, attacks=FAST), tmp_path)
    for before, after in zip(evaluation.models[0].rows, again.models[0].rows, strict=True):
        assert (before.region, before.point, before.success) == (after.region, after.point, after.success)
        assert before.distortion == after.distortion


@pytest.mark.parametrize("change", ["seed", "epsilon", "images"])
def test_what_is_made_otherwise_replaces_nothing(evaluation, natural, sample, tmp_path, change):
    before = (tmp_path / "mnist-natural" / "fgsm.npz").read_bytes()
    data = sample.first(12)
    options = {"attacks": ("fgsm",)}
    if change in ("seed", "epsilon"):
        options[change] = {"seed": 1, "epsilon": 0.2}[change]
    else:
        data = sample.where(np.arange(1000) >= 988)
    other = evaluate([natural], data, MNIST, Protocol.build(MNIST, **options), tmp_path)
    (row,) = (row for row in other.models[0].rows if row.attack == "fgsm")
    assert row.examples_file == "mnist-natural/fgsm-2.npz"
    found = AttackResult.read(tmp_path / row.examples_file)
    assert found.facts["config"]["seed"] == (1 if change == "seed" else 0)
    assert found.facts["config"]["epsilon"] == (0.2 if change == "epsilon" else 0.3)
    np.testing.assert_array_equal(found.images, data.images)
    assert (tmp_path / "mnist-natural" / "fgsm.npz").read_bytes() == before
    assert read(tmp_path) == other


def test_damaged_results_are_made_again(evaluation, natural, sample, tmp_path):
    for path in (tmp_path / "units").iterdir():
        path.write_bytes(path.read_bytes()[:-100])
    (tmp_path / "mnist-natural" / "fgsm.npz").write_bytes(b"PK")
    again = evaluate([natural], sample.first(12), MNIST, Protocol.build(MNIST, attacks=FAST), tmp_path)
    assert figures(again) == figures(evaluation)
    assert AttackResult.read(tmp_path / "mnist-natural" / "fgsm.npz").success.any()


def figures(evaluation):
    """What an evaluation says, times aside."""
    still = {"seconds": 0.0, "region_seconds": 0.0}
    return [
        replace(row, **still, convergence=row.convergence and replace(row.convergence, seconds=0.0))
        for model in evaluation.models
        for row in model.rows
    ]


def test_results_do_not_depend_on_what_else_is_run(evaluation, natural, sample, tmp_path):
    alone = evaluate([natural], sample.first(12), MNIST, Protocol.build(MNIST, attacks=("pgd",)), tmp_path / "alone")
    assert alone.models[0].rows[1].region == evaluation.models[0].rows[2].region
    assert alone.models[0].rows[1].distortion == evaluation.models[0].rows[2].distortion


def test_what_does_not_fit_is_refused(natural, sample, tmp_path, half_space):
    protocol = Protocol.build(MNIST, attacks=FAST)
    data = sample.first(2)
    (tmp_path / "file").write_text("")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "results.json").write_text('{"schema_version": 99}')
    (tmp_path / "text").write_text("{}")
    for call, message in (
        (lambda: evaluate([half_space()[0]], data, MNIST, protocol, tmp_path), "linear does not fit mnist"),
        (lambda: evaluate([natural, natural], data, MNIST, protocol, tmp_path), "different names"),
        (lambda: evaluate([natural], data, MNIST, protocol, tmp_path / "file"), "cannot write"),
        (lambda: Protocol.build(MNIST, mode="slow"), "unknown protocol 'slow'"),
        (lambda: Protocol.build(MNIST, attacks=["optmargn"]), "did you mean 'optmargin'"),
        (lambda: Protocol.build(MNIST, epsilon=-1), "epsilon=-1"),
        (lambda: read(tmp_path / "nowhere"), "cannot read"),
        (lambda: read(tmp_path / "other"), "schema version 99"),
        (lambda: read(tmp_path / "text"), "does not hold the results"),
        (lambda: AttackResult.read(tmp_path / "text"), "no readable .npz file"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            call()


def test_the_paper_protocol_runs_the_full_search():
    quick, full = Protocol.build(MNIST), Protocol.build(MNIST, mode="paper")
    assert [attack.name for attack in quick.attacks] == list(TABLE_ATTACKS)
    searches = [attack for attack in full.attacks if attack.name in ("optbrittle", "optmargin", "optstrong")]
    assert [(s.kind, s.weight_steps, s.iterations, s.patience) for s in (attack.search for attack in searches)] == [
        ("penalty", 4, 1000, None)
    ] * 3
    assert (full.attacks[1].step, full.attacks[1].iterations, full.attacks[1].loss) == (0.01, 40, "cross_entropy")


def test_a_model_without_a_card_has_no_paper_beside_it(natural, sample, tmp_path):
    bare = Classifier(natural, bounds=(0, 1), input_shape=MNIST.shape, name="bare")
    evaluation = evaluate([bare], sample.first(4), MNIST, Protocol.build(MNIST, attacks=("fgsm",)), tmp_path)
    assert [row.paper for row in evaluation.models[0].rows] == [None, None]
    assert evaluation.models[0].checksum.startswith("answers:")


def test_another_epsilon_has_no_paper_beside_it_and_pgd_still_crosses_its_ball(natural, sample, tmp_path):
    protocol = Protocol.build(MNIST, attacks=("fgsm", "pgd"), epsilon=0.6)
    assert protocol.attacks[1].step_length == pytest.approx(2.5 * 0.6 / 40)
    evaluation = evaluate([natural], sample.first(4), MNIST, protocol, tmp_path)
    assert [row.paper is None for row in evaluation.models[0].rows] == [False, True, True]


def test_a_single_example_has_no_interval(natural, sample, tmp_path):
    evaluation = evaluate([natural], sample.first(1), MNIST, Protocol.build(MNIST, attacks=("pgd",)), tmp_path)
    assert evaluation.models[0].rows[1].distortion.low is None
    assert read(tmp_path) == evaluation


def test_a_model_that_is_fed_the_wrong_pixels_raises_a_flag(evaluation, natural, sample, tmp_path):
    assert [flag.name for flag in evaluation.flags] == ["few-images"]
    misfed = Classifier(
        lambda images: natural(1.0 - images), bounds=(0.0, 1.0), input_shape=(28, 28, 1), name="negative"
    )
    evaluate([misfed], sample.first(40), MNIST, Protocol.build(MNIST, attacks=["fgsm"]), tmp_path / "other")
    (flag,) = read(tmp_path / "other").flags
    assert (flag.name, flag.model) == ("low-benign-accuracy", "negative")
    assert flag.images.of == 40
    assert "and chance alone 10%" in flag.line
    assert "--bounds" in flag.advice


def test_the_paper_stands_beside_its_own_settings_only(natural, sample, tmp_path):
    for run, (bounds, radius, known) in enumerate((((0.0, 1.0), None, True), ((0.0, 1.0), 0.2, False))):
        spec = MNIST.with_bounds(bounds)
        protocol = Protocol.build(spec, attacks=["fgsm"], radius=radius)
        found = evaluate([natural], sample.first(4), spec, protocol, tmp_path / str(run))
        assert (found.models[0].rows[0].paper is not None) == known


def test_other_bounds_make_other_examples(sample, tmp_path):
    """The pixels of these files are within either bounds, but not the examples that are found in the wider ones."""
    spec = replace(MNIST, bounds=(0.0, 2.0))
    weights = np.random.default_rng(0).standard_normal((784, 10)).astype(np.float32)
    data = sample.first(4)
    found = []
    for known in (spec, MNIST):
        classifier = Classifier(
            lambda images: tf.reshape(images, (-1, 784)) @ weights,
            bounds=known.bounds,
            input_shape=(28, 28, 1),
            name="m",
        )
        labelled = replace(data, labels=classifier.predict(data.images))
        protocol = Protocol.build(known, attacks=["fgsm"], epsilon=0.9)
        evaluation = evaluate([classifier], labelled, known, protocol, tmp_path, convergence=False)
        file = evaluation.models[0].rows[1].examples_file
        found.append(AttackResult.read(tmp_path / file).adversarials.max())
    assert found[0] > 1
    assert found[1] <= 1


def test_the_worst_case_is_made_image_by_image():
    """Five images: wrong already; fooled within epsilon by either attack; by none within it; not at all."""
    labels = np.array([1, 0, 0, 0, 0], np.int32)

    def row(name, norm, minimises=False):
        return PlannedRow(
            **{"attack": name, "title": name, "config": {}, "norm": norm, "minimises": minimises, "paper": None},
            **{"examples": (f"{name} examples",), "votes": ("votes",)},
        )

    def examples(changes, fooled):
        distances = np.array(changes, np.float32)
        return Result(
            {
                "labels": labels,
                "predictions": np.where(fooled, 1 - labels, 0).astype(np.int32),
                "benign_predictions": np.zeros(5, np.int32),
                "success": np.array(fooled),
                "attacked": labels == 0,
                "distortion": distances,
                "linf": distances,
                "zero_gradients": np.zeros(5, np.int32),
                "nonfinite_gradients": np.zeros(5, np.int32),
            },
            {"forward_count": 5, "gradient_count": 0, "seconds": 0.0},
        )

    store = {
        "votes": Result({"classes": labels}, {"seconds": 0.0}),
        "benign examples": examples([0.0] * 5, [False] * 5),
        "fixed examples": examples([0.0, 0.1, 0.1, 0.1, 0.1], [False, True, False, False, False]),
        "least examples": examples([0.0, 0.3, 0.05, 0.2, 0.0], [False, True, True, True, False]),
    }
    rows = (row("benign", None), row("fixed", "linf"), row("least", "l2", minimises=True))

    def folded(rows, changed):
        model = PlannedModel(name="m", source="", checksum="", logits="", rows=rows)
        asked = PlannedEvaluation(
            **{"dataset": "d", "dataset_title": "d", "bounds": (0.0, 1.0), "num_classes": 2, "data_source": ""},
            **{"examples": 5, "images": "", "pixels": (0.0, 1.0), "protocol": "quick", "seed": 0, "epsilon": 0.1},
            **{"region": RegionSettings(0.3, 1), "models": (model,)},
            version="",
        )
        return EVALUATION.fold(asked, {**store, **changed}.get, UNKNOWN).models[0]

    found = folded(rows, {}).worst
    assert (found.within.count, found.within.of) == (2, 5)
    assert (found.success.count, found.success.of) == (3, 4)
    assert found.distortion.mean == pytest.approx(np.mean([0.3, 0.05, 0.2]))
    assert folded(rows[:1], {}).worst is None
    fixed = store["fixed examples"]
    unclassified = {"fixed examples": replace(fixed, arrays={**fixed.arrays, "predictions": np.full(5, NO_CLASS)})}
    model = folded(rows[:2], unclassified)
    assert model.worst.within.count == 4
    assert model.rows[1].within.count == 4


def test_hopskipjump_starts_from_the_same_images_whatever_the_slice(natural, sample, tmp_path):
    data, protocol = sample.first(12), Protocol.build(MNIST, attacks=("hopskipjump",))
    protocol = replace(protocol, attacks=(HopSkipJump(queries=40),), region_samples=4)
    found = [
        evaluate([natural], data, MNIST, protocol, tmp_path / str(size), slice_size=size, convergence=False)
        for size in (12, 5)
    ]
    whole, parts = (
        AttackResult.read(tmp_path / size / "mnist-natural" / "hopskipjump.npz").adversarials for size in ("12", "5")
    )
    np.testing.assert_allclose(parts, whole, atol=1e-5)
    assert [row.distortion for row in found[0].models[0].rows] == [row.distortion for row in found[1].models[0].rows]


def test_a_recheck_takes_some_of_the_attacked_images_of_its_slice(natural, sample):
    data = sample.first(20)
    wrong = np.arange(20) < 10
    data = replace(data, labels=np.where(wrong, (data.labels + 1) % 10, data.labels).astype(np.int32))
    (part,) = slices_of(data, 20)
    examples = Examples.planned(natural, "natural", part, FGSM(epsilon=0.3))
    result = examples.compute([], no_progress)
    recheck = Recheck(examples=examples, count=3, follows=(examples,), **examples.asked)
    again = recheck.compute([result], no_progress)
    np.testing.assert_array_equal(again.arrays["success"], result.arrays["success"][[10, 14, 19]])
    np.testing.assert_allclose(again.arrays["distance"], again.arrays["distance_again"])
    nothing = replace(result, arrays={**result.arrays, "attacked": np.zeros(20, bool)})
    assert len(recheck.compute([nothing], no_progress).arrays["success"]) == 0


def test_what_an_attack_is_given_besides_its_parameters_makes_other_examples(natural, sample):
    (part,), attack = slices_of(sample.first(2), 2), HopSkipJump(queries=20)
    given = (
        attack,
        attack.starting_at(part.data.images),
        attack.starting_at(part.data.images[:1]),
        attack.among(part.data.images),
    )
    assert len({Examples.planned(natural, "natural", part, each).digest for each in given}) == 4


def test_a_keras_model_that_was_trained_further_is_another_one(tmp_path):
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
    model.save(tmp_path / "model.keras")
    classifier = Classifier.load(tmp_path / "model.keras", bounds=(0.0, 1.0))
    before = checksum(classifier)
    assert before == checksum(Classifier.load(tmp_path / "model.keras", bounds=(0.0, 1.0)))
    classifier.model.layers[-1].bias.assign([1.0, 2.0, 3.0])
    assert checksum(classifier) != before


def test_parameters_of_attacks_that_are_not_run_are_refused():
    with pytest.raises(InvalidInputError, match="parameters of pgd, which is not run"):
        Protocol.build(MNIST, attacks=["fgsm"], parameters={"pgd": {"iterations": 3}})


def test_a_slice_is_evaluated_as_it_is_among_others(evaluation, natural, sample, tmp_path):
    part = sample.where((np.arange(1000) >= 6) & (np.arange(1000) < 12))
    evaluate([natural], part, MNIST, Protocol.build(MNIST, attacks=FAST), tmp_path / "part")
    for name in FAST:
        whole, few = (
            AttackResult.read(folder / "mnist-natural" / f"{name}.npz") for folder in (tmp_path, tmp_path / "part")
        )
        np.testing.assert_allclose(few.adversarials, whole.adversarials[6:], atol=1e-5)
