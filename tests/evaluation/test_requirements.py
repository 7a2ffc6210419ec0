"""Requirements on an evaluation: met, not met, and what too few images cannot say."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from advkeras import records
from advkeras.errors import InvalidInputError, RequirementError
from advkeras.evaluation.requirements import Requirement, hold
from advkeras.evaluation.results import Evaluation, ModelResult, RegionSettings, Row, WorstCase
from advkeras.proportion import Proportion
from advkeras.provenance import Provenance

from ..commands import error_of, run

REPOSITORY = Path(__file__).parents[2]


def evaluation(benign: int, worst: int | None, of: int = 100, **more: object) -> Evaluation:
    rows = [
        Row(attack="benign", title="Benign", config={}, region=Proportion(of - 4, of), point=Proportion(benign, of))
    ]
    left = None
    if worst is not None:
        found = Proportion(worst, of)
        rows.append(
            Row(attack="pgd", title="PGD", config={}, region=found, point=Proportion(of // 2, of), within=found)
        )
        left = WorstCase(epsilon=0.3, within=found, success=found, distortion=None)
    model = ModelResult(name="mine", source="mine.keras", checksum="0", rows=tuple(rows), worst=left)
    given = Evaluation(
        dataset="mine",
        dataset_title="mine",
        bounds=(0.0, 1.0),
        data_source="made up",
        examples=of,
        protocol="quick",
        seed=0,
        region=RegionSettings(0.3, 100),
        models=(model,),
        provenance=Provenance(command="", versions={}, device="", seconds=1.0, finished=""),
    )
    return replace(given, **more)


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("benign>=0.9", "met"),
        ("benign >= 90%", "met"),
        ("benign>=0.999", "not met"),
        ("benign>=0.98", "cannot be said"),
        ("worst-case>=0.3", "met"),
        ("worst-case>=0.4", "cannot be said"),
        ("worst-case>=0.6", "not met"),
        ("worst-case<=0.6", "met"),
        ("worst-case<=0.2", "not met"),
        ("pgd>=0.3", "met"),
        ("region>=0.85", "met"),
        ("region<=0.85", "not met"),
    ],
)
def test_the_interval_decides(text, verdict):
    each = Requirement.parse(text)
    (model,) = evaluation(benign=96, worst=44).models
    assert each.verdict(each.of(model)) == verdict


def test_what_is_met_is_said_and_what_is_not_ends_it():
    run = evaluation(benign=96, worst=44)
    met = Requirement.parse("benign>=0.9")
    assert hold(run, [met]) == ["mine: benign>=0.9 is met: 96 of 100, 95% interval 90.2% to 98.4%"]
    others = [Requirement.parse(text) for text in ("worst-case>=0.6", "benign>=0.98")]
    with pytest.raises(RequirementError) as caught:
        hold(run, [met, *others])
    assert caught.value.exit_code == 3
    assert str(caught.value) == (
        "mine: worst-case>=0.6 is not met: 44 of 100, 95% interval 34.7% to 53.8%; mine: whether benign>=0.98 cannot "
        "be said: 96 of 100, 95% interval 90.2% to 98.4%; more --examples would tell"
    )


def test_only_the_models_that_are_meant_are_held_against_requirements():
    run = evaluation(benign=96, worst=44)
    earlier = replace(evaluation(benign=10, worst=0).models[0], name="last week's")
    both = replace(run, models=(*run.models, earlier))
    met = Requirement.parse("benign>=0.9")
    assert len(hold(both, [met], ["mine"])) == 1
    with pytest.raises(RequirementError, match="last week's: benign>=0.9 is not met"):
        hold(both, [met])


def test_more_images_decide():
    each = Requirement.parse("worst-case>=0.4")
    assert [each.verdict(Proportion(44 * times, 100 * times)) for times in (1, 10)] == ["cannot be said", "met"]


def test_an_unfinished_run_says_nothing():
    with pytest.raises(RequirementError, match="12 units of the run are left: nothing can be said yet"):
        hold(evaluation(96, 44, units_left=12), [Requirement.parse("benign>=0.9")])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("worst-case", "a requirement is like worst-case>=0.4 or benign>=98%. Received: requirement='worst-case'"),
        ("benign>0.9", "a requirement is like"),
        ("benign>=1.2", r"must lie in \[0, 1\], or in 0...100%. Received: requirement='benign>=1.2'"),
        ("benign>=1e", "must lie in"),
        ("benign>=-0.5", "must lie in"),
        ("benign>=nan", "a requirement is like"),
        ("", "a requirement is like"),
    ],
)
def test_what_is_no_requirement_is_refused(text, message):
    with pytest.raises(InvalidInputError, match=message):
        Requirement.parse(text)


def test_what_was_not_measured_is_named():
    (model,) = evaluation(benign=96, worst=None).models
    with pytest.raises(InvalidInputError, match=r"unknown accuracy in --require 'worst-case': .*known are"):
        Requirement.parse("worst-case>=0.4").of(model)


def test_a_pipeline_is_told_by_the_exit_code(tmp_path):
    path = tmp_path / "results.json"
    path.write_bytes(records.as_json(evaluation(benign=96, worst=44)))
    assert "benign>=0.9 is met" in run("report", path, "--require", "benign>=0.9").stderr
    assert "is not met" in error_of("report", path, "--require", "worst-case>=60%", code=3)
    assert "cannot be said" in error_of("report", path, "--require", "worst-case>=40%", code=3)
    assert "did you mean 'pgd'?" in error_of("report", path, "--require", "pdg>=0.1")
    script = f"{sys.executable} cli.py report {path} --require 'worst-case>=0.6' && echo shipped || echo stays: $?"
    shown = subprocess.run(script, check=False, shell=True, cwd=REPOSITORY, capture_output=True, text=True)
    assert shown.stdout.endswith("stays: 3\n")


def test_a_requirement_on_what_is_not_run_is_refused_before_the_work():
    command = ("evaluate", "--model", "mnist-natural", "--attack", "fgsm", "--require", "pgd>=0.3")
    assert "unknown accuracy in --require 'pgd'" in error_of(*command)
