"""Comparing two models image by image: known counts, what cannot be compared, and the gate on what has changed."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import tensorflow as tf

from advkeras import records
from advkeras.datasets import LabelledImages
from advkeras.errors import InvalidInputError, RequirementError
from advkeras.evaluation.comparison import Comparison, compare, hold_changes
from advkeras.evaluation.curve import CurveProtocol, measure_curves
from advkeras.evaluation.protocol import Protocol
from advkeras.evaluation.requirements import Requirement
from advkeras.evaluation.runner import evaluate
from advkeras.models import Classifier
from advkeras.proportion import PairedDifference, Proportion
from advkeras.reporting.comparison_tables import comparison_caption, comparison_markdown, comparison_tables
from advkeras.runs.shard import shard

from ..commands import error_of, run
from ..conftest import SHAPE
from .test_run_folder import CLASSIFIER, SPEC

REPOSITORY = Path(__file__).parents[2]
COUNT = 20
# Images that the newer model takes for the next class; the true class of the last of them is that one.
MARKED, GAINED = (2, 5, 7, 9), 9
CHANGE = PairedDifference(both=16, lost=3, gained=1, neither=0)


def _newer(images):
    logits = 2 * CLASSIFIER(images)  # another checksum, the same classes
    return tf.where(images[:, :1, 0, 0] > 0.9, tf.roll(logits, 1, axis=1), logits)


OLD = CLASSIFIER
NEW = Classifier(_newer, bounds=(0, 1), input_shape=SHAPE, name="newer")


@pytest.fixture(scope="module")
def data() -> LabelledImages:
    images = np.random.default_rng(0).uniform(0.2, 0.8, (COUNT, *SHAPE)).astype(np.float32)
    images[MARKED, 0, 0, 0] = 0.95
    labels = CLASSIFIER.predict(images)
    labels[GAINED] = (labels[GAINED] + 1) % 3
    return LabelledImages(images, labels, "made-up images", "test")


def evaluated(folder, models, data, *attacks, **options) -> str:
    """A run in which attacks change nothing: epsilon and radius are 0, so that all counts are those of the models."""
    asked = {
        "epsilon": 0.0,
        "radius": 0.0,
        **{name: options.pop(name) for name in ("epsilon", "seed") if name in options},
    }
    protocol = Protocol.build(SPEC, attacks=attacks or ("fgsm",), **asked)
    evaluate(models, data, SPEC, replace(protocol, region_samples=2), folder, convergence=False, **options)
    return str(folder)


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory) -> tuple[str, str]:
    """A run of each model, and the folders."""
    folder = tmp_path_factory.mktemp("runs")
    return evaluated(folder / "old", [OLD], data), evaluated(folder / "new", [NEW], data)


def differences(comparison: Comparison) -> dict[str, PairedDifference]:
    (pair,) = comparison.pairs
    return {change.what: change.difference for change in pair.changes}


def test_a_model_that_is_worse_on_known_images_gives_known_counts(runs):
    comparison = compare(*runs)
    (pair,) = comparison.pairs
    assert (pair.before, pair.after, pair.same, pair.attacks) == ("linear", "newer", False, ("FGSM",))
    assert differences(comparison) == dict.fromkeys(("benign", "region", "fgsm", "worst-case"), CHANGE)
    assert (CHANGE.before, CHANGE.after) == (Proportion(19, 20), Proportion(17, 20))
    back = differences(compare(*reversed(runs)))
    assert back["benign"] == PairedDifference(both=16, lost=1, gained=3, neither=0)
    assert (comparison.units_left, comparison.remarks) == (0, ())


def test_identical_runs_have_not_changed(runs):
    comparison = compare(runs[0], runs[0])
    same = PairedDifference(both=19, lost=0, gained=0, neither=1)
    assert set(differences(comparison).values()) == {same}
    assert (same.rate, same.p) == (0.0, 1.0)
    assert comparison.pairs[0].same
    assert "The same model twice, by its checksum: linear." in comparison_caption(comparison)


def test_how_images_are_cut_into_slices_makes_no_difference(runs, data, tmp_path):
    other = evaluated(tmp_path / "sliced", [NEW], data, slice_size=6)
    assert differences(compare(runs[0], other)) == differences(compare(*runs))


def test_other_images_are_refused_in_one_line(runs, data, tmp_path):
    images = data.images.copy()
    images[3] = 0.5
    other = evaluated(tmp_path / "images", [NEW], replace(data, images=images))
    message = f"the runs are of other images, from the one at place 3 on: .* Received: {runs[0]} and {other}"
    with pytest.raises(InvalidInputError, match=message):
        compare(runs[0], other)
    labels = data.labels.copy()
    labels[19] = (labels[19] + 1) % 3
    other = evaluated(tmp_path / "labels", [NEW], replace(data, labels=labels))
    with pytest.raises(InvalidInputError, match="from the one at place 19 on"):
        compare(runs[0], other)
    fewer = evaluated(tmp_path / "fewer", [NEW], data.first(10))
    assert "the runs have another number of images" in error_of("compare", runs[0], fewer)
    assert error_of("compare", runs[0], fewer).endswith("Received: 20 and 10")


def test_runs_that_were_asked_another_question_are_refused(runs, data, tmp_path):
    other = evaluated(tmp_path, [NEW], data, epsilon=0.1)
    with pytest.raises(InvalidInputError, match=r"another epsilon, and cannot be compared: .* Received: 0.0 and 0.1"):
        compare(runs[0], other)


def test_an_unfinished_run_says_so_and_passes_no_gate(runs, data, tmp_path):
    old = evaluated(tmp_path / "old", [OLD], data, slice_size=5)
    part = evaluated(tmp_path / "part", [NEW], data, slice_size=5, compute=shard("1/3"))
    comparison = compare(old, part)
    assert comparison.units_left > 0
    assert comparison_caption(comparison).startswith(f"Unfinished: {comparison.units_left} units are left")
    # Of the slices that the share has done: some of the images, and as they are when all are done.
    found = differences(comparison)["benign"]
    assert 0 < found.of < COUNT
    done = np.concatenate([np.arange(first, first + 5) for first in (0, 15)])
    assert (found.of, found.lost) == (len(done), sum(place in done for place in MARKED if place != GAINED))
    with pytest.raises(RequirementError, match="units of the run are left: nothing can be said yet"):
        hold_changes(comparison, [Requirement.parse("benign>=-1", of_change=True)])
    with pytest.raises(InvalidInputError, match="part is unfinished and cut into other slices"):
        compare(runs[0], part)


def test_attacks_that_differ_are_left_out_and_said(data, runs, tmp_path):
    few = {"square": {"queries": 2}}
    protocol = Protocol.build(SPEC, attacks=("fgsm", "square"), parameters=few, epsilon=0.0, radius=0.0, seed=1)
    evaluate([NEW], data, SPEC, replace(protocol, region_samples=2), tmp_path, convergence=False)
    comparison = compare(runs[0], str(tmp_path))
    assert differences(comparison) == {"benign": CHANGE, "region": CHANGE}
    assert comparison.remarks == (
        "FGSM was run with another seed, and is left out",
        "Square was run on one of the models alone, and is left out",
    )
    assert "all together: no attack." in comparison_caption(comparison)
    assert "Note: FGSM was run with another seed, and is left out." in comparison_caption(comparison)
    with pytest.raises(
        InvalidInputError, match="unknown accuracy in --require 'worst-case': .*known are benign, region"
    ):
        hold_changes(comparison, [Requirement.parse("worst-case>=0", of_change=True)])


def test_two_models_of_one_run_and_models_by_name(data, runs, tmp_path):
    both = evaluated(tmp_path, [OLD, NEW], data)
    assert differences(compare(both))["worst-case"] == CHANGE
    assert differences(compare(both, models=["newer=linear"]))["benign"].lost == 1
    assert [pair.before for pair in compare(both, both).pairs] == ["linear", "newer"]
    assert [pair.after for pair in compare(both, runs[1]).pairs] == ["newer"]
    with pytest.raises(InvalidInputError, match="models are paired as OLD=NEW. Received: linear"):
        compare(both, models=["linear"])
    with pytest.raises(InvalidInputError, match="unknown model of .*'linar': did you mean 'linear'"):
        compare(both, models=["linar=newer"])
    with pytest.raises(InvalidInputError, match="which models are to be compared.*--models OLD=NEW: .* has linear"):
        compare(runs[0])


def test_what_holds_no_evaluation_is_refused(tmp_path):
    with pytest.raises(InvalidInputError, match="holds no plan of the results of an evaluation: give the --output"):
        compare(str(tmp_path))
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(InvalidInputError, match="give the --output of advkeras evaluate, with its units"):
        compare(str(tmp_path / "results.json"))


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("worst-case>=-0.4", "met"),
        ("worst-case >= -10%", "cannot be said"),
        ("worst-case>=0", "cannot be said"),
        ("worst-case>=20%", "not met"),
        ("benign<=15%", "met"),
    ],
)
def test_the_interval_of_the_difference_decides(text, verdict):
    low, high = CHANGE.interval()
    assert -0.4 < low < -0.1 < 0 < high < 0.15
    assert Requirement.parse(text, of_change=True).verdict(CHANGE) == verdict


@pytest.mark.parametrize("text", ["worst-case>=-1.2", "benign>=200%", "benign>-0.1", "benign>=nan"])
def test_what_is_no_requirement_on_a_change_is_refused(text):
    with pytest.raises(InvalidInputError, match=r"worst-case>=-0.02|must lie in \[-1, 1\], or in -100...100%"):
        Requirement.parse(text, of_change=True)
    with pytest.raises(InvalidInputError, match=r"must lie in \[0, 1\]"):
        Requirement.parse("worst-case>=-0.02")


def test_the_command_prints_tables_and_its_exit_code_is_the_verdict(runs):
    shown = run("compare", *runs).stdout
    assert "from linear (A) to newer (B)" in " ".join(shown.split())
    low, high = (100 * end for end in CHANGE.interval())
    row = f"95 | 85 | -10.0 [{low:+.1f}, {high:+.1f}] | 1 | 3 | 0.62"
    markdown = run("compare", *runs, "--markdown").stdout
    assert f"| Benign | {row} |" in markdown
    assert f"| FGSM | {row} |" in markdown
    assert markdown.count("**") == 2 + 2 * 7
    assert f"A of {runs[0]}, B of {runs[1]}: the same 20 images, made-up images." in markdown
    met = run("compare", *runs, "--require", "worst-case>=-40%", "--json")
    assert "linear to newer: worst-case>=-0.4 is met: 17 of 20 instead of 19, 95% interval" in met.stderr
    data = json.loads(met.stdout)
    jsonschema.validate(data, records.schema(Comparison))
    assert data["pairs"][0]["changes"][0]["difference"]["p"] == pytest.approx(0.625)
    failed = run("compare", *runs, "--require", "benign>=20%", "--require", "benign>=-10%", code=3).stderr
    assert "benign>=0.2 is not met" in failed
    assert "whether benign>=-0.1 cannot be said" in failed
    assert "did you mean 'benign'" in run("compare", *runs, "--require", "bening>=0", code=2).stderr


def test_tables_of_several_pairs(data, tmp_path):
    both = evaluated(tmp_path, [OLD, NEW], data)
    comparison = compare(both, both)
    assert len(comparison_tables(comparison)) == 2
    assert comparison_markdown(comparison).count("| **All together** |") == 2


def test_neither_comparing_nor_putting_a_curve_together_needs_tensorflow(runs, data, tmp_path):
    protocol = CurveProtocol.build(SPEC, norm="l2", attack="hopskipjump", parameters={"hopskipjump": {"queries": 20}})
    measure_curves([OLD], data, SPEC, protocol, tmp_path)
    (tmp_path / "curve.json").unlink()
    script = (
        "import sys; from advkeras.evaluation.comparison import compare; from advkeras.reporting import documents, "
        f"comparison_tables; compare({runs[0]!r}, {runs[1]!r}); documents.read_documents({str(tmp_path)!r}); "
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, check=False).returncode == 0
    assert (tmp_path / "curve.json").exists()
