"""Command lines that make no sense: one line each, before any work."""

from types import SimpleNamespace

import pytest

import advkeras
from advkeras.cli.subjects import _tell_apart

from ..commands import error_of, run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("evaluate", "--exampels", 3), "No such option: --exampels"),
        (("evaluate", "--examples", "x"), "--examples"),
        (("evaluate", "--bounds", 0), "'--bounds' requires 2 arguments"),
        (("evaluate", "--bounds", "0,255", "--json"), "--bounds takes 2 values, --bounds LOW HIGH"),
        (("evaluate", "--model"), "'--model' requires an argument"),
        (("attack",), "Missing argument 'ATTACK' (see advkeras attack --help)"),
        (("attack", "fgsm", "pgd"), "unexpected extra argument"),
        (("evaluat",), "No such command 'evaluat'"),
        (("datasets", "nope"), "(see advkeras datasets --help)"),
        (("--nope",), "No such option: --nope (see advkeras --help)"),
        (("evaluate", "--load", "mine.py"), "--load stands before the command's name"),
        (("attack", "fgsm", "--set", "epsilon=" + "[" * 100_000), "epsilon must be a number. Received: epsilon='[[["),
        (("evaluate", "--memory", "much"), "memory is a size like 2GB or 800MB. Received: much"),
    ],
)
def test_wrong_usage_is_one_line(arguments, message):
    assert message in error_of(*arguments)


def test_models_of_one_name_are_called_by_their_files():
    models = [SimpleNamespace(name=name) for name in ("mine", "mine", "other")]
    _tell_apart(models, ["mine.keras", "folder/mine.h5", "other.keras"])
    assert [model.name for model in models] == ["mine.keras", "mine.h5", "other"]


@pytest.mark.parametrize("name", ["picturs/", "here/picturs", "mine.npy2"])
def test_a_place_that_is_not_there_is_called_so(name):
    assert f"there is no file or folder {name}, nor has" in error_of("attack", "fgsm", "--dataset", name)


def test_help_and_version_are_printed():
    assert run("--version").stdout == f"advkeras {advkeras.__version__}\n"
    assert "COMMAND" in run("--help").stdout
    assert "--memory" in run("evaluate", "--help").stdout
    assert "Usage" in run(code=2).output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("evaluate", "--epsilon", "inf"), "--epsilon must be finite. Received: --epsilon=inf"),
        (("evaluate", "--radius", "nan"), "--radius must be finite. Received: --radius=nan"),
        (("attack", "pgd", "--epsilon", "inf"), "epsilon must be finite"),
        (("attack", "optstrong", "--set", "confidence=Infinity"), "confidence must be finite"),
        (("attack", "optmimic", "--set", "reach=Infinity"), "reach must be finite"),
        (("boundary", "--reach", "inf"), "reach must be finite"),
        (("export", "mnist-natural", "--radius", "inf", "--output", "served"), "radius must be finite"),
    ],
)
def test_what_is_infinite_is_refused_before_the_work(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in error_of(*arguments)
    assert not list(tmp_path.iterdir())
