"""A run's folder that somebody else has made: units, plans and notes that lie, with all their digests right."""

import json
import os
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from advkeras import records
from advkeras.datasets import LabelledImages
from advkeras.errors import InvalidInputError
from advkeras.evaluation.slices import slices_of
from advkeras.reporting.documents import read_documents
from advkeras.runs.plan import Plan, keep
from advkeras.runs.status import status
from advkeras.runs.store import Store
from advkeras.runs.unit import Result

from ..commands import error_of, run
from ..fuzzing.runs import digest, results_of_units, run_seeds, unit, whole_run
from .sums import Sum


@pytest.fixture
def store(tmp_path) -> Store:
    """A whole run of all studies."""
    made = whole_run(tmp_path)
    for seed in run_seeds():
        keep(records.of_plain(Plan, json.loads(seed)["plan"], what="a plan"), made)
    return made


def test_a_whole_run_is_put_together(store):
    assert len(read_documents(store.folder)) == 4
    assert [found.left for found in status(store)] == [0, 0, 0, 0]
    assert (store.folder / "model" / "fgsm.npz").exists()
    assert json.loads((store.folder / "results.json").read_text())["units_left"] == 0


CHANGES = {
    "an array is missing": ("examples fgsm", {"linf": None}, {}, "no array linf"),
    "facts are missing": ("examples fgsm", {}, {"seconds": None}, "no number seconds"),
    "a count is none": ("walks fgsm", {}, {"forward_count": 1.5}, "no number forward_count"),
    "seconds are endless": ("votes benign", {}, {"seconds": 1e300}, "no number seconds"),
    "rows are missing": ("examples fgsm", {"success": np.ones(3, bool)}, {}, "arrays of 3 and 4 rows"),
    "votes are of other images": ("votes fgsm", {"classes": np.zeros(3, np.int32)}, {}, "arrays of 3 and 4 rows"),
    "classes are text": ("votes fgsm", {"classes": np.array(["a"] * 4)}, {}, "classes of shape"),
    "labels are floats": ("examples benign", {"labels": np.zeros(4)}, {}, "labels of shape"),
    "rows lie elsewhere": ("walks fgsm", {"rows": np.arange(4) + 9}, {}, "around images of the slice"),
    "scores are too few": ("scores fgsm", {"scores": np.zeros(2, np.float32)}, {}, "arrays of 2 and 4 rows"),
    "pictures are flat": ("examples fgsm", {"adversarials": np.zeros((4, 4), np.float32)}, {}, "adversarials of shape"),
    "a recheck has other rows": ("recheck fgsm", {"success": np.ones(3, bool)}, {}, "arrays of 2 and 3 rows"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_result_that_is_not_what_such_units_give_is_named(store, change):
    name, arrays, facts, message = CHANGES[change]
    whole = results_of_units()[name]
    changed = [
        {key: value for key, value in {**before, **other}.items() if value is not None}
        for before, other in zip(whole, (arrays, facts), strict=True)
    ]
    unit(store, *changed, name)
    with pytest.raises(InvalidInputError, match=message) as error:
        read_documents(store.folder)
    assert len(str(error.value).splitlines()) == 1
    assert (store.folder / "units" / f"{digest(name)}.npz").exists()


def test_a_plan_that_does_not_name_all_its_units_is_refused(tmp_path):
    store = whole_run(tmp_path)
    plans = [records.of_plain(Plan, json.loads(seed)["plan"], what="a plan") for seed in run_seeds()]
    gone = digest("walks fgsm")
    (store.folder / "units" / f"{gone}.npz").unlink()
    for plan in plans:
        keep(replace(plan, units=tuple(unit for unit in plan.units if unit.digest != gone)), store)
    with pytest.raises(InvalidInputError, match="the plan does not name all its units. Received: model='model'"):
        read_documents(store.folder)


def test_a_result_that_unpacks_to_too_much_is_not_read_and_stays(store, monkeypatch):
    monkeypatch.setenv("ADVKERAS_MAX_BYTES", "1kB")
    assert "the limit is 1.02 kB: set ADVKERAS_MAX_BYTES" in error_of("report", store.folder)
    monkeypatch.delenv("ADVKERAS_MAX_BYTES")
    arrays, facts = results_of_units()["examples fgsm"]
    whole = unit(store, {**arrays, "adversarials": np.zeros((4, 100, 100, 1), np.float32)}, facts, "examples fgsm")
    content = (store.folder / "units" / f"{whole}.npz").read_bytes()
    monkeypatch.setenv("ADVKERAS_MAX_BYTES", str(len(content)))
    with pytest.raises(InvalidInputError, match="the result of unit .* takes 16. kB; the limit is"):
        store.result(whole)
    assert (store.folder / "units" / f"{whole}.npz").read_bytes() == content


def test_what_would_not_be_read_again_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setenv("ADVKERAS_MAX_BYTES", "10kB")
    store, made = Store(tmp_path), Sum(number=1, notes=tmp_path)
    with pytest.raises(InvalidInputError, match="the result of sum of 1 .smaller slices have smaller ones. takes"):
        store.put(made, Result({"a": np.zeros(9_999)}, {}))
    images = np.zeros((9, 20, 20, 1), np.float32)
    data = LabelledImages(images, np.zeros(9, np.int32), "made up", "test")
    assert len(slices_of(data, 3)) == 3
    with pytest.raises(InvalidInputError, match="what is kept of a slice of 9 images takes 28.8 kB"):
        slices_of(data, 9)
    plan = records.of_plain(Plan, json.loads(run_seeds()[0])["plan"], what="a plan")
    with pytest.raises(InvalidInputError, match=r"the plan of 1,500 units \(larger slices make fewer\) takes"):
        keep(replace(plan, units=plan.units * 100), store)
    assert store.digests() == set()


def test_notes_and_plans_that_are_none_are_passed_over(store):
    (store.folder / "failures").mkdir()
    (store.folder / "failures" / digest("scores fgsm")).write_bytes(b"\xff\x1b[2J" * 10_000)
    (store.folder / "failures" / "folder").mkdir()
    (store.folder / "units" / f"{digest('scores fgsm')}.npz").unlink()
    (store.folder / "units" / "..npz").write_bytes(b"")
    for number, content in enumerate((b"", b"\xff", b"[" * 9_999, b"null", b'{"schema_version": []}')):
        (store.folder / "plans" / f"{number}.json").write_bytes(content)
    said = run("status", store.folder).stdout
    assert "\x1b" not in said
    assert "scores fgsm failed: " in said
    assert len(said) < 5_000


@pytest.mark.parametrize("name", ["claims/alone", "claims", "claims/unit"])
def test_a_link_in_a_run_empties_and_makes_no_file_elsewhere(store, tmp_path, name):
    """As a run of somebody else's may have it: to report on it takes a lock."""
    kept = tmp_path / "kept"
    kept.mkdir()
    for file in ("alone", "unit"):
        (kept / file).write_bytes(b"mine")
    place = store.folder / name
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(kept if name == "claims" else kept / place.name)
    with suppress(InvalidInputError):
        read_documents(store.folder)
    with suppress(InvalidInputError), store.claim(SimpleNamespace(digest="unit")):
        pass
    assert {file.name: file.read_bytes() for file in kept.iterdir()} == {"alone": b"mine", "unit": b"mine"}


@pytest.mark.parametrize(
    "name", ["results.json", "plans/x.json", "failures/x", f"units/{'0' * 64}.npz", "claims/alone"]
)
def test_nobody_is_waited_for_behind_a_pipe_in_a_run(store, name):
    place = store.folder / name
    place.parent.mkdir(exist_ok=True)
    os.mkfifo(place)
    assert read_documents(store.folder)
    assert {found.left for found in status(store)} == {0}
    assert store.result("0" * 64) is None
