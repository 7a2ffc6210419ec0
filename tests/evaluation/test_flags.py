"""What raises a flag, and what does not."""

import json
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from advkeras.attacks import (
    APGD,
    FAB,
    FGSM,
    PGD,
    AttackResult,
    AutoAttack,
    HopSkipJump,
    OptBrittle,
    OptMargin,
    OptRegion,
    OptStrong,
    Square,
    TargetedAPGD,
)
from advkeras.datasets import MNIST, LabelledImages
from advkeras.evaluation import signs
from advkeras.evaluation.flags import ADVICE, Flag, in_order, raised
from advkeras.evaluation.protocol import Protocol
from advkeras.evaluation.results import Convergence, read
from advkeras.evaluation.runner import evaluate
from advkeras.models import Classifier
from advkeras.proportion import Proportion
from advkeras.reporting.tables import caption, markdown_tables, rich_tables

from ..commands import of_the_zoo, run
from ..conftest import SHAPE
from .test_run_folder import CLASSIFIER, SPEC

AGAIN = {"setting": "pgd.iterations=80", "images": 8, "seconds": 1.0}


def names(flags):
    return [flag.name for flag in flags]


def test_images_that_fill_little_of_the_bounds_raise_a_flag():
    assert signs.of_pixels((0.0, 1.0), (0.1, 0.7)) == []
    (flag,) = signs.of_pixels((0.0, 1.0), (0.0, 1 / 255))
    assert flag.line == "the images' pixels lie in [0, 0.00392], and the bounds are [0, 1]"
    assert (flag.name, flag.model, flag.images) == ("narrow-pixels", "", None)


def test_an_epsilon_of_another_unit_raises_a_flag():
    for epsilon in (0.0, 0.0011, 0.3, 0.99):
        assert signs.of_epsilon((0.0, 1.0), epsilon) == signs.of_epsilon((-3.0, 3.0), 6 * epsilon) == []
    told = [signs.of_epsilon(*each)[0].line for each in (((0.0, 255.0), 0.03), ((0.0, 1.0), 8.0))]
    assert told == [
        "epsilon 0.03 is less than 0.1% of the pixels' range, [0, 255]",
        "epsilon 8 is all of the pixels' range, [0, 1]",
    ]
    attacks = (PGD(epsilon=8.0), PGD(epsilon=8.0, norm="l2"), FGSM(epsilon=8.0), OptBrittle())
    assert names(signs.of_study((), attacks, (0.0, 1.0), np.array([0.0, 1.0]))) == ["epsilon-unit"]


def test_an_accuracy_near_to_chance_raises_a_flag():
    assert signs.of_benign("m", Proportion(28, 100), 10) == []
    assert signs.of_benign("m", Proportion(0, 0), 10) == []
    (flag,) = signs.of_benign("m", Proportion(27, 100), 10)
    assert flag.images == Proportion(27, 100)
    assert names(signs.of_benign("m", Proportion(59, 100), 2)) == ["low-benign-accuracy"]


def test_images_are_too_few_where_the_interval_is_wide():
    assert signs.of_interval("m", Proportion(50, 100), "accuracy") == []
    (flag,) = signs.of_interval("m", Proportion(10, 20), "accuracy")
    assert flag.line == "of m accuracy is known to lie between 30% and 70% only, from 20 images"


def attacked(**changed):
    nothing = dict.fromkeys(signs.SEEN, np.zeros(4, int)) | dict.fromkeys(signs.SEEN[-3:], np.zeros(4, bool))
    facts = {"model": "m", "attack": "pgd", "title": "PGD", "within": True}
    known = {"attacked": np.arange(4) < 3, "success": np.arange(4) < 1}
    return signs.Attacked(**{**nothing, **facts, **known, **changed})


def test_gradients_that_say_nothing_are_told_image_by_image():
    assert signs.of_attack(attacked()) == []
    zero, nonfinite = signs.of_attack(attacked(zero=np.array([40, 0, 2, 9]), nonfinite=np.array([0, 1, 0, 0])))
    assert zero.line == "of the gradients that PGD took of m 42 were zero everywhere, on 2 of 3 images"
    assert (zero.name, zero.attack, zero.images) == ("zero-gradients", "pgd", Proportion(2, 3))
    assert (nonfinite.name, nonfinite.images) == ("nonfinite-gradients", Proportion(1, 3))


def test_what_a_trace_says_is_told_image_by_image():
    rising, back = np.linspace(-1, 0, 20), [-1.0, 0.5, *[-1.0] * 18]
    trace = {
        "trace_margins": np.array([[-1.0] * 20, *[rising] * 6, *[back] * 2, [1.0] * 20]),
        "trace_stride": np.ones(10, np.int32),
        "trace_steps": np.full(10, 20, np.int32),
        "trace_queries": np.array([5] + [0] * 9, np.int32),
        "trace_begun": np.zeros(10, np.int32),
        "trace_best": np.array([17] + [3] * 9, np.int32),
    }
    arrays = {"attacked": np.arange(10) < 9, "success": np.arange(10) < 1}
    arrays |= {"zero_gradients": np.zeros(10, int), "nonfinite_gradients": np.zeros(10, int)}
    known = {"model": "m", "attack": "pgd", "title": "PGD"}
    found = signs.of_attack(signs.Attacked(**known, within=True, **signs.seen_in({**arrays, **trace})))
    assert [(flag.name, flag.images) for flag in found] == [
        ("silent-success", Proportion(2, 9)),
        ("incomplete-optimisation", Proportion(6, 8)),
        ("queries-beat-gradients", Proportion(1, 9)),
    ]
    few = {name: values[1:3] for name, values in {**arrays, **trace}.items()}
    assert signs.of_attack(signs.Attacked(**known, within=True, **signs.seen_in(few))) == []
    far = signs.of_attack(signs.Attacked(**known, within=False, **signs.seen_in({**arrays, **trace})))
    assert "incomplete-optimisation" not in names(far)
    assert signs.of_attack(signs.Attacked(**known, within=True, **signs.seen_in(arrays))) == []


def test_more_work_that_finds_more_raises_a_flag():
    same = Convergence(success=3, success_again=3, distortion=1.0, distortion_again=0.97, **AGAIN)
    more = replace(same, success_again=4)
    nearer = replace(same, distortion_again=0.9)
    assert signs.of_convergence("m", "pgd", "PGD", None) == signs.of_convergence("m", "pgd", "PGD", same) == []
    told = [signs.of_convergence("m", "pgd", "PGD", each)[0].line for each in (more, nearer)]
    assert told == [
        "with twice the work (--set pgd.iterations=80) PGD on m fools 4 instead of 3 of 8 images",
        "with twice the work (--set pgd.iterations=80) PGD on m ends 10% nearer on 8 images",
    ]


def test_queries_that_find_more_than_a_five_hundredth_raise_a_flag():
    assert signs.of_queries("m", Proportion(2, 1000)) == []
    assert names(signs.of_queries("m", Proportion(3, 1000))) == ["queries-beat-gradients"]
    assert names(signs.of_queries("m", Proportion(1, 100))) == ["queries-beat-gradients"]


def test_attacks_say_how_far_they_may_go_and_how_many_classes_they_need():
    attacks = FGSM(epsilon=0.3), OptBrittle(), OptStrong(), OptRegion(radius=0.3), FAB(), HopSkipJump()
    free = {type(each): each.unconstrained for each in attacks}
    assert free == {FGSM: False, OptBrittle: True, OptStrong: False, OptRegion: False, FAB: True, HopSkipJump: False}
    assert not OptMargin(member_rms=0.1).unconstrained
    assert OptMargin(member_rms=0.1, ensemble_size=1).unconstrained
    needed = [APGD(epsilon=0.3), APGD(epsilon=0.3, loss="dlr"), TargetedAPGD(epsilon=0.3), AutoAttack(epsilon=0.3)]
    assert [each.least_classes for each in needed] == [2, 3, 4, 4]


def test_a_loss_that_needs_more_classes_than_there_are_raises_a_flag(half_space):
    two, _ = half_space()
    found = signs.of_use(two, [FGSM(epsilon=0.1), APGD(epsilon=0.1, loss="dlr"), TargetedAPGD(epsilon=0.1)])
    assert [(flag.name, flag.attack) for flag in found] == [("few-classes", "apgd"), ("few-classes", "apgd-t")]
    assert "needs 3 classes, and linear has 2" in found[0].line


def test_flags_of_a_kind_stand_together_in_the_order_of_the_catalogue():
    flags = [raised("silent-success", "a"), raised("narrow-pixels", "b"), Flag(name="of-tomorrow", line="c")]
    assert names(in_order([*flags[2:], *flags[:2]])) == ["narrow-pixels", "silent-success", "of-tomorrow"]
    assert all(advice.endswith(".") for advice in ADVICE.values())


@pytest.fixture(scope="module")
def data():
    images = np.random.default_rng(0).uniform(0.2, 0.8, (20, *SHAPE)).astype(np.float32)
    return LabelledImages(images, CLASSIFIER.predict(images), "made-up images", "test")


def flags_of(classifier, data, folder, *attacks, **options):
    """Those that a small evaluation raises, by the name of the flag, without that of few images."""
    asked = replace(
        Protocol.build(SPEC, attacks=[each.name for each in attacks], epsilon=0.3), attacks=attacks, region_samples=2
    )
    labelled = replace(data, labels=classifier.predict(data.images))
    found = evaluate([classifier], labelled, SPEC, asked, folder, **{"convergence": False, **options})
    assert read(folder) == found
    return {flag.name: flag for flag in found.flags if flag.name != "few-images"}


def made(function, name="made-up"):
    return Classifier(function, bounds=(0.0, 1.0), input_shape=SHAPE, name=name)


def steps(images):
    """Images whose pixels have ten values, with the gradient of what rounds."""
    return tf.round(9.0 * images) / 9.0


def thermometer(images):
    """The mean of a pixel's ten bits, each of which says whether it is above a level (Buckman et al., ICLR 2018)."""
    return tf.reduce_mean(tf.cast(images[..., None] > tf.range(10.0) / 10.0, tf.float32), axis=-1)


def test_a_linear_classifier_raises_none(data, tmp_path):
    assert flags_of(CLASSIFIER, data, tmp_path, FGSM(epsilon=0.05), OptBrittle(), Square(epsilon=0.05)) == {}


def test_quantised_pixels_raise_the_flags_of_what_is_flat(data, tmp_path):
    """Rounding has no gradient in TensorFlow; a sum of steps has one, which is zero."""
    rounded = made(lambda images: CLASSIFIER(steps(images)), "rounded")
    assert list(flags_of(rounded, data, tmp_path / "none", Square(epsilon=0.3, queries=200))) == ["no-gradients"]
    coded = made(lambda images: CLASSIFIER(thermometer(images)), "thermometer")
    assert list(flags_of(coded, data, tmp_path / "coded", Square(epsilon=0.3, queries=200))) == ["no-gradients"]
    stepped = made(lambda images: CLASSIFIER(steps(images) + 0.0 * images), "stepped")
    found = flags_of(stepped, data, tmp_path / "zero", FGSM(epsilon=0.3), OptBrittle(), Square(epsilon=0.3))
    assert list(found) == ["zero-gradients", "queries-beat-gradients"]
    assert found["zero-gradients"].images == Proportion(20, 20)
    assert found["queries-beat-gradients"].images.count > 0


def test_flags_stand_in_tables_captions_and_markdown(data, tmp_path):
    rounded = made(lambda images: CLASSIFIER(steps(images) + 0.0 * images), "stepped")
    flags_of(rounded, data, tmp_path, FGSM(epsilon=0.3))
    found = read(tmp_path)
    (flag,) = (each for each in found.flags if each.name == "zero-gradients")
    assert rich_tables(found)[-1].title == "Flags"
    assert f"Flag zero-gradients: {flag.line}. {flag.advice}" in caption(found)
    text = markdown_tables(found)
    assert "| zero-gradients | stepped | fgsm | 20 of 20 |" in text
    assert f"- zero-gradients: {flag.line}. " in text
    assert "Flag" not in markdown_tables(replace(found, flags=()))


def test_logits_that_float32_rounds_raise_a_flag(data, tmp_path):
    sure = made(lambda images: 1e4 * CLASSIFIER(images), "sure")
    found = flags_of(sure, data, tmp_path, FGSM(epsilon=0.05))
    assert list(found) == ["saturated-outputs"]
    assert found["saturated-outputs"].images == Proportion(8, 8)


def random_where(chosen):
    """Logits with noise on the images that a function chooses."""

    def logits(images):
        exact = CLASSIFIER(images)
        noise = tf.random.normal(tf.shape(exact), stddev=3.0)
        return exact + tf.where(chosen(images)[:, None], noise, 0.0)

    return logits


def test_random_answers_raise_a_flag_wherever_they_are(data, tmp_path):
    always = made(random_where(lambda images: tf.ones_like(images[:, 0, 0, 0], tf.bool)), "always")
    assert always.reading.random > 0
    found = flags_of(always, data, tmp_path / "always", PGD(epsilon=0.05, iterations=30))
    assert {"random-outputs", "unstable-predictions", "silent-success"} <= set(found)
    # The images that a classifier is tried on when it is loaded have brighter pixels.
    seldom = made(random_where(lambda images: tf.reduce_max(images, axis=[1, 2, 3]) < 0.85), "seldom")
    assert seldom.reading.random == 0
    found = flags_of(seldom, data, tmp_path / "seldom", FGSM(epsilon=0.05))
    assert found["random-outputs"].images == Proportion(8, 8)


def test_shattered_gradients_raise_a_flag(data, tmp_path):
    shattered = made(lambda images: CLASSIFIER(images + 0.3 * tf.sin(500.0 * images)), "shattered")
    found = flags_of(shattered, data, tmp_path, PGD(epsilon=0.05))
    assert "unstable-predictions" in found


def test_a_model_that_no_attack_fools_raises_a_flag(data, tmp_path):
    """Attacks that stay within epsilon say nothing of that; one that need not is tried beside them, on a few images."""
    constant = made(lambda images: 0.0 * CLASSIFIER(images) + tf.constant([3.0, -1.0, 0.0]), "constant")
    found = flags_of(constant, data, tmp_path / "constant", FGSM(epsilon=0.05))
    assert list(found) == ["zero-gradients", "unconstrained-below-100"]
    assert found["unconstrained-below-100"].images == Proportion(4, 4)


def test_steps_that_are_too_short_raise_a_flag(data, tmp_path):
    found = flags_of(CLASSIFIER, data, tmp_path, PGD(epsilon=0.3, step=1e-4, iterations=25, random_start=False))
    flag = found["incomplete-optimisation"]
    assert (flag.attack, flag.images) == ("pgd", Proportion(20, 20))


def test_examples_of_another_model_raise_a_flag_where_they_fool(data, tmp_path):
    """No gradient leads anywhere in the one, and the other has the same classes without the steps."""
    stepped = made(lambda images: CLASSIFIER(steps(images) + 0.0 * images), "stepped")
    asked = replace(Protocol.build(SPEC, epsilon=0.3), attacks=(FGSM(epsilon=0.3),), region_samples=2)
    found = evaluate([CLASSIFIER, stepped], data, SPEC, asked, tmp_path, convergence=False, slice_size=12)
    flags = {(flag.name, flag.model): flag for flag in found.flags}
    assert ("transfer-beats-attacks", "linear") not in flags
    flag = flags["transfer-beats-attacks", "stepped"]
    benign, linear = found.models[1].rows[0], found.models[0].rows[1]
    assert flag.images.of == 20
    assert flag.images.count == pytest.approx(min(benign.point.count, linear.success.count), abs=1)


@pytest.mark.slow
def test_the_zoo_raises_none(natural, sample, tmp_path):
    models = [natural, of_the_zoo("mnist-pgd")]
    chosen = ("fgsm", "pgd", "apgd", "optlinf", "optbrittle", "square")
    found = evaluate(models, sample.first(16), MNIST, Protocol.build(MNIST, attacks=chosen), tmp_path)
    assert {flag.name for flag in found.flags} <= {"few-images"}


def test_traces_of_slices_stand_in_one_file(data, tmp_path):
    """The last slice has nothing to attack, and so no trace."""
    wrong = np.arange(20) >= 16
    labelled = replace(data, labels=np.where(wrong, (data.labels + 1) % 3, data.labels).astype(np.int32))
    attack = Square(epsilon=0.3, queries=30)
    asked = replace(Protocol.build(SPEC, epsilon=0.3), attacks=(attack,), region_samples=2)
    evaluate([CLASSIFIER], labelled, SPEC, asked, tmp_path, convergence=False, slice_size=8)
    trace = AttackResult.read(tmp_path / "linear" / "square.npz").trace
    alone = attack(CLASSIFIER, data.images[:16], data.labels[:16]).trace
    assert trace.steps.tolist() == [*alone.steps.tolist(), 0, 0, 0, 0]
    assert trace.best.tolist() == [*alone.best.tolist(), -1, -1, -1, -1]
    np.testing.assert_allclose(trace.margins[:16, : alone.margins.shape[1]], alone.margins, atol=1e-4)
    assert np.isnan(trace.margins[16:]).all()


def test_commands_tell_flags(tmp_path):
    """Labels that have nothing to do with the images, whose pixels fill a third of the range."""
    keras.utils.set_random_seed(0)
    layers = [keras.Input((4, 5, 1)), keras.layers.Flatten(), keras.layers.Dense(4)]
    keras.Sequential(layers).save(tmp_path / "mine.keras")
    images = np.random.default_rng(0).uniform(0.3, 0.6, (40, 4, 5, 1)).astype(np.float32)
    np.savez(tmp_path / "data.npz", images=images, labels=np.arange(40) % 4)
    given = ("--dataset", tmp_path / "data.npz", "--model", tmp_path / "mine.keras", "--bounds", 0, 1)
    attack = run("attack", "fgsm", *given, "--output", tmp_path / "found.npz", "--json")
    told = json.loads(attack.stdout)["flags"]
    assert [flag["name"] for flag in told] == ["narrow-pixels", "low-benign-accuracy"]
    assert attack.stderr.count("Flag ") == 2
    chosen = ("--attack", "fgsm", "--examples", 4, "--directions", 10, "--output", tmp_path / "run")
    boundary = run("boundary", *given, *chosen)
    assert "Flag narrow-pixels: the images' pixels lie in" in boundary.stderr
    report = run("report", tmp_path / "run").stdout
    assert "narrow-pixels" in report
    assert "Give the bounds of the model's pixels" in " ".join(report.split())
    assert "narrow-pixels" in run("report", "--markdown", tmp_path / "run").stdout


def test_the_guide_has_a_line_on_each_flag():
    table, _, _ = (Path(__file__).parents[2] / "docs" / "flags.md").read_text().partition("\n## Where")
    assert [line.split("`")[1] for line in table.splitlines() if line.startswith("| `")] == list(ADVICE)
