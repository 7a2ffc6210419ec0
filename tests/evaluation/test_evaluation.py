"""Running an evaluation, its results as data, and going on after a stop."""

import json
import shutil
from dataclasses import replace
from importlib import resources

import jsonschema
import keras
import numpy as np
import pytest
import tensorflow as tf

from advkeras.attacks import FGSM, HopSkipJump, OptBrittle
from advkeras.datasets import MNIST
from advkeras.errors import InvalidInputError
from advkeras.evaluation import paper
from advkeras.evaluation.convergence import check_convergence
from advkeras.evaluation.crafting import checksum, units
from advkeras.evaluation.doubts import doubts
from advkeras.evaluation.examples import Examples
from advkeras.evaluation.protocol import TABLE_ATTACKS, Protocol
from advkeras.evaluation.results import Convergence, read
from advkeras.evaluation.runner import evaluate
from advkeras.evaluation.worst_case import accuracy_within, worst_case
from advkeras.models import Classifier
from advkeras.models.classifier import NO_CLASS

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
        examples = Examples.read(tmp_path / row.examples_file)
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
    schema = json.loads((resources.files("advkeras.evaluation") / "results.schema.json").read_text())
    data = json.loads((tmp_path / "results.json").read_text())
    jsonschema.validate(data, schema)
    del data["models"][0]["rows"][0]["point"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, schema)


def test_a_second_run_does_only_what_is_missing_and_gives_the_same_figures(
    evaluation, natural, sample, tmp_path, monkeypatch
):
    (tmp_path / "mnist-natural" / "pgd.npz").unlink()
    monkeypatch.setattr(FGSM, "run", lambda *_: pytest.fail("FGSM was run again"))
    again = evaluate([natural], sample.first(12), MNIST, Protocol.build(MNIST, attacks=FAST), tmp_path)
    for before, after in zip(evaluation.models[0].rows, again.models[0].rows, strict=True):
        assert (before.region, before.point, before.success) == (after.region, after.point, after.success)
        assert before.distortion == after.distortion


@pytest.mark.parametrize("change", ["seed", "epsilon", "images", "damage"])
def test_what_was_made_otherwise_is_made_again(evaluation, natural, sample, tmp_path, change):
    path = tmp_path / "mnist-natural" / "fgsm.npz"
    data = sample.first(12)
    options = {"attacks": ("fgsm",)}
    if change in ("seed", "epsilon"):
        options[change] = {"seed": 1, "epsilon": 0.2}[change]
    elif change == "images":
        data = sample.where(np.arange(1000) >= 988)
    else:
        path.write_bytes(path.read_bytes()[:-1000])
    evaluate([natural], data, MNIST, Protocol.build(MNIST, **options), tmp_path)
    facts = Examples.read(path).facts["identity"]
    assert facts["config"]["seed"] == (1 if change == "seed" else 0)
    assert facts["config"]["epsilon"] == (0.2 if change == "epsilon" else 0.3)
    np.testing.assert_array_equal(Examples.read(path).images, data.images)


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
        (lambda: Examples.read(tmp_path / "text"), "no .npz file with the arrays"),
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


def test_a_model_that_is_fed_the_wrong_pixels_is_doubted(evaluation, natural, sample, tmp_path):
    assert evaluation.doubts == ()
    misfed = Classifier(
        lambda images: natural(1.0 - images), bounds=(0.0, 1.0), input_shape=(28, 28, 1), name="negative"
    )
    evaluate([misfed], sample.first(40), MNIST, Protocol.build(MNIST, attacks=["fgsm"]), tmp_path / "other")
    (line,) = read(tmp_path / "other").doubts
    assert line.startswith("negative classifies ")
    assert "chance alone 10%: does it take pixels in [0, 1] (--bounds)" in line


def test_images_that_fill_little_of_the_bounds_are_doubted(evaluation):
    known = {"bounds": evaluation.bounds, "num_classes": 10}
    assert doubts(evaluation.models, pixels=(0.1, 0.7), **known) == ()
    (line,) = doubts(evaluation.models, pixels=(0.0, 1 / 255), **known)
    assert line.startswith("the images' pixels lie in [0, 0.00392], and the bounds are [0, 1]")


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
        evaluate([classifier], labelled, known, protocol, tmp_path, convergence=False)
        found.append(Examples.read(tmp_path / "m" / "fgsm.npz").adversarials.max())
    assert found[0] > 1
    assert found[1] <= 1


def test_a_row_whose_attack_had_not_ended_is_marked(natural, sample, tmp_path):
    data = sample.first(40)
    hasty = Protocol.build(
        MNIST, attacks=["pgd", "optbrittle"], parameters={"optbrittle": {"gradients": 4}}, epsilon=0.1
    )
    hasty = replace(hasty, region_samples=10)
    rows = evaluate([natural], data, MNIST, hasty, tmp_path).models[0].rows
    assert rows[1].convergence.converged
    assert rows[1].convergence.distortion is None
    again = rows[2].convergence
    assert not again.converged
    assert again.setting == "optbrittle.gradients=8"
    assert again.images == 2
    assert again.distortion_again < 0.95 * again.distortion
    assert read(tmp_path).models[0].rows[2].convergence == again
    alone = Protocol.build(MNIST, attacks=["optbrittle"], parameters={"optbrittle": {"gradients": 4}})
    alone = replace(alone, region_samples=10)
    unchecked = evaluate([natural], data, MNIST, alone, tmp_path / "unchecked", convergence=False).models[0].rows
    assert [row.convergence for row in unchecked] == [None] * 2
    assert unchecked[1].distortion == rows[2].distortion


def test_more_successes_are_not_converged_either():
    figures = {
        "setting": "pgd.iterations=80",
        "images": 8,
        "distortion": None,
        "distortion_again": None,
        "seconds": 1.0,
    }
    assert Convergence(success=3, success_again=3, **figures).converged
    assert not Convergence(success=3, success_again=4, **figures).converged


def test_the_worst_case_is_made_image_by_image():
    """Five images: wrong already; fooled within epsilon by either attack; by none within it; not at all."""
    images = np.zeros((5, 2, 2, 1), np.float32)
    labels = np.array([1, 0, 0, 0, 0], np.int32)

    def examples(changes, fooled):
        changes, fooled = np.array(changes, np.float32), np.array(fooled)
        return Examples(
            images=images,
            adversarials=images + changes[:, None, None, None],
            labels=labels,
            predictions=np.where(fooled, 1 - labels, 0).astype(np.int32),
            benign_predictions=np.zeros(5, np.int32),
            success=fooled,
            attacked=labels == 0,
            distortion=np.abs(changes),
            facts={},
        )

    fixed = examples([0.0, 0.1, 0.1, 0.1, 0.1], [False, True, False, False, False])
    least = examples([0.0, 0.3, 0.05, 0.2, 0.0], [False, True, True, True, False])
    found = worst_case([(FGSM(epsilon=0.1), fixed), (OptBrittle(), least)], epsilon=0.1, bounds=(0.0, 1.0))
    assert (found.within.count, found.within.of) == (2, 5)
    assert (found.success.count, found.success.of) == (3, 4)
    assert found.distortion.mean == pytest.approx(np.mean([0.3, 0.05, 0.2]))
    assert worst_case([], epsilon=0.1, bounds=(0.0, 1.0)) is None
    unclassified = replace(fixed, predictions=np.full(5, NO_CLASS, np.int32))
    assert worst_case([(FGSM(epsilon=0.1), unclassified)], epsilon=0.1, bounds=(0.0, 1.0)).within.count == 4
    assert accuracy_within(unclassified, 0.1, (0.0, 1.0)).count == 4


def test_hopskipjump_is_checked_in_the_company_in_which_it_ran(natural, sample, monkeypatch):
    """Its starts are the other images: alone it would begin farther away, and would not come as near."""
    data, attack = sample.first(40), HopSkipJump(queries=30)
    result = attack(natural, data.images, data.labels)
    starts = []
    given = HopSkipJump._given_starts
    monkeypatch.setattr(
        HopSkipJump,
        "_given_starts",
        lambda self, classifier: starts.append(given(self, classifier)) or starts[-1],
    )
    again = check_convergence(attack, natural, data, Examples.of(data, result, {}))
    assert again.setting == "hopskipjump.queries=60"
    np.testing.assert_array_equal(starts[0], data.images[result.attacked])


def test_what_an_attack_is_given_besides_its_parameters_makes_other_examples(natural, sample, tmp_path):
    data, attack = sample.first(2), HopSkipJump(queries=20)
    identities = [
        units(natural, [each], tmp_path)[1]._identity(data)
        for each in (attack, attack.starting_at(data.images), attack.starting_at(data.images[:1]))
    ]
    assert identities[0] != identities[1] != identities[2] != identities[0]


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
            Examples.read(folder / "mnist-natural" / f"{name}.npz") for folder in (tmp_path, tmp_path / "part")
        )
        np.testing.assert_allclose(few.adversarials, whole.adversarials[6:], atol=1e-5)
