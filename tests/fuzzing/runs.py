"""A run's folder of all studies whose author could write all its digests and checksums, made without a model."""

import contextlib
import json
import random
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from advkeras import records
from advkeras.errors import AdvkerasError
from advkeras.evaluation.boundary_results import BoundaryReport, PlannedBoundaries, PlannedKind
from advkeras.evaluation.comparison import compare
from advkeras.evaluation.curve_fold import PlannedCheck, PlannedCurves, PlannedModelCurve
from advkeras.evaluation.curve_results import CurveReport
from advkeras.evaluation.detection_results import DetectionReport, PlannedDetection
from advkeras.evaluation.planned import PlannedEvaluation, PlannedModel, PlannedRow
from advkeras.evaluation.results import RegionSettings
from advkeras.provenance import UNKNOWN
from advkeras.reporting import documents
from advkeras.runs.plan import SCHEMA_VERSION, Plan, PlannedUnit
from advkeras.runs.status import status
from advkeras.runs.store import Store
from advkeras.runs.unit import Result, canonical, digest_of

from .files import packed
from .mutations import STRANGE, of_json

# Images, and directions around each.
COUNT, WAYS = 4, 5


def unit(store: Store, arrays: dict[str, Any], facts: dict[str, Any], name: str) -> str:
    """Puts a unit's result into a run; its digest."""
    identity = canonical({"made": name})
    digest, result = digest_of(identity), Result(arrays, facts)
    told = {"facts.json": json.dumps(facts), "identity.json": identity, "sha256": result.checksum}
    (Path(store.folder) / "units").mkdir(parents=True, exist_ok=True)
    content = packed(**arrays, **{key: np.array(text) for key, text in told.items()})
    (Path(store.folder) / "units" / f"{digest}.npz").write_bytes(content)
    return digest


def results_of_units() -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """What the units of a small run give, by a name."""
    draw = np.random.default_rng(0)
    rows = {
        "adversarials": draw.random((COUNT, 2, 2, 1), np.float32),
        **{name: np.ones(COUNT, bool) for name in ("success", "attacked")},
        **{name: draw.random(COUNT, np.float32) for name in ("distortion", "linf")},
        **{name: np.arange(COUNT, dtype=np.int32) % 3 for name in ("predictions", "benign_predictions", "labels")},
        **{name: np.zeros(COUNT, np.int32) for name in ("zero_gradients", "nonfinite_gradients")},
    }
    work = {"forward_count": 9, "gradient_count": 9, "seconds": 1.0}
    walks = {
        "rows": np.arange(COUNT),
        "distances": draw.random((COUNT, WAYS), np.float32),
        "adjacent": np.ones((COUNT, WAYS), np.int32),
        "classes": np.zeros(COUNT, np.int32),
    }
    again = {name: np.ones(2, bool) for name in ("success", "success_again")}
    again |= {name: np.ones(2, np.float32) for name in ("distance", "distance_again")}
    traced = {
        "trace_margins": draw.uniform(-1, 1, (COUNT, 30)).astype(np.float32),
        "trace_stride": np.ones(COUNT, np.int32),
        **{name: np.full(COUNT, 30, np.int32) for name in ("trace_steps", "trace_queries")},
        **{name: np.zeros(COUNT, np.int32) for name in ("trace_begun", "trace_best")},
    }
    found: dict[str, Any] = {}
    for kind in ("benign", "fgsm"):
        found[f"examples {kind}"] = (rows if kind == "benign" else {**rows, **traced}, work)
        found[f"votes {kind}"] = ({"classes": np.zeros(COUNT, np.int32)}, {"seconds": 1.0})
        found[f"walks {kind}"] = (walks, {"forward_count": 9, "seconds": 1.0})
        found[f"agreement {kind}"] = ({"agreement": np.linspace(0, 1, COUNT, dtype=np.float32)}, {})
        found[f"scores {kind}"] = ({"scores": np.linspace(0, 1, COUNT, dtype=np.float32)}, {})
    found["recheck fgsm"] = (again, {"seconds": 1.0})
    asked = {name: np.ones(2, bool) for name in ("right", "differs", "saturated")}
    found["answers"] = ({**asked, "change": np.ones(2, np.float32)}, {})
    found["unconstrained"] = ({name: np.ones(2, bool) for name in ("success", "attacked")}, {})
    found["active fgsm"] = ({name: np.ones(2, bool) for name in ("success", "usable")}, {})
    found["transfer"] = ({"fooled": np.ones(COUNT, bool)}, {})
    return found


def digest(name: str) -> str:
    """Of a unit of the small run."""
    return digest_of(canonical({"made": name}))


def abouts() -> dict[str, Any]:
    """What the studies of the small run were asked for."""
    search = {"directions": WAYS, "step": 0.1, "reach": 1.0, "stride": 1}
    kinds = tuple(
        PlannedKind(kind=kind, title=title, examples=(digest(f"examples {kind}"),), walks=(digest(f"walks {kind}"),))
        for kind, title in (("benign", "Benign"), ("fgsm", "FGSM"))
    )
    report = {
        "dataset": "made-up", "dataset_title": "Made up", "data_source": "nowhere", "examples": COUNT, "search": search,
        "attacks": {"FGSM": {"epsilon": 0.1}},
    }  # fmt: skip
    boundaries = BoundaryReport(bounds=(0.0, 1.0), checksums={"model": "1"}, region_radius=0.1, models={}, **report)
    detection = DetectionReport(
        model="model",
        checksum="1",
        training={"steps": 1},
        agreement=RegionSettings(0.1, 5),
        rows=(),
        distortion={},
        **report,
    )
    rows = tuple(
        PlannedRow(
            attack=kind, title=title, config={}, norm=norm, minimises=norm is not None, paper=None,
            examples=(digest(f"examples {kind}"),), votes=(digest(f"votes {kind}"),),
            rechecks=(digest("recheck fgsm"),) if norm else (), active=(digest("active fgsm"),) if norm else (),
            more_work="fgsm.steps=2" if norm else None,
        )
        for kind, title, norm in (("benign", "Benign", None), ("fgsm", "FGSM", "linf"))
    )  # fmt: skip
    curve = CurveReport(
        bounds=(0.0, 1.0), epsilon=0.1, norm="linf", search="FGSM", search_config={}, check="FGSM", check_configs=({},),
        at=(0.1,), seed=0, models=(), **{key: report[key] for key in report if key not in ("search", "attacks")},
    )  # fmt: skip
    of_fgsm = (digest("examples fgsm"),)
    return {
        "evaluation": PlannedEvaluation(
            dataset="made-up", dataset_title="Made up", bounds=(0.0, 1.0), num_classes=3, data_source="nowhere",
            examples=COUNT, images="1", pixels=(0.0, 1.0), protocol="quick", seed=0, epsilon=0.1,
            region=RegionSettings(0.1, 5), version="0",
            models=(
                PlannedModel(
                    name="model", source="", checksum="1", logits="as returned", rows=rows,
                    answers=(digest("answers"),), unconstrained=(digest("unconstrained"),),
                    transfers=(digest("transfer"),), features="logits",
                ),
            ),
        ),
        "curve": PlannedCurves(
            report=curve, attack="fgsm", num_classes=3, pixels=4, images="1", version="0",
            models=(
                PlannedModelCurve(
                    name="model", source="", checksum="1", benign=(digest("examples benign"),),
                    search=of_fgsm, checks=(PlannedCheck(epsilon=0.1, config={}, units=of_fgsm),),
                ),
            ),
        ),
        "boundaries": PlannedBoundaries(
            report=boundaries, images="1", num_classes=3, starts=(0,), models={"model": kinds}, version="0"
        ),
        "detection": PlannedDetection(
            report=detection, num_classes=3, starts=(0,), first_of_test=2, kinds=kinds,
            trained=("fgsm",), tested=("fgsm",),
            agreements={kind: (digest(f"agreement {kind}"),) for kind in ("benign", "fgsm")},
            scores={"fgsm": {kind: digest(f"scores {kind}") for kind in ("benign", "fgsm")}},
        ),
    }  # fmt: skip


@cache
def run_seeds() -> list[bytes]:
    """For each study its plan, and what is to be changed of one of its units."""
    seeds = []
    for study, about in abouts().items():
        plan = Plan(
            study=study,
            about=records.plain(about),
            units=tuple(PlannedUnit(digest(name), name) for name in results_of_units()),
            provenance=UNKNOWN,
            asked="2026-01-01",
        )
        seeds.append(json.dumps({"plan": records.plain(plan), "unit": "", "array": "", "as": 0}).encode())
    return seeds


def of_run(content: bytes, others: list[bytes], draw: random.Random) -> bytes:
    """Changes the plan, or an array or the facts of a unit."""
    if draw.random() < 0.6:
        data = json.loads(content)
        for _ in range(5):
            with contextlib.suppress(ValueError):
                data["plan"] = json.loads(of_json(json.dumps(data["plan"]).encode(), others, draw))
                break
        return json.dumps(data).encode()
    data = json.loads(content)
    name, (arrays, facts) = draw.choice(list(results_of_units().items()))
    return json.dumps(
        {**data, "unit": name, "array": draw.choice([*arrays, *facts]), "as": draw.randrange(12)}
    ).encode()


def changed(arrays: dict[str, Any], facts: dict[str, Any], name: str, how: int) -> tuple[dict[str, Any], Any]:
    """A unit's result with something else in the place of an array or a fact."""
    if name in facts:
        return arrays, {**facts, name: STRANGE[how]} if how else []
    whole = arrays[name]
    others: tuple[Any, ...] = (
        *(whole[:-1], whole[:0], whole[None], whole.ravel()[0], whole.astype(str), whole.astype(float)),
        *(
            whole.astype(np.int64) + 2**40,
            whole.astype(np.int32) - 7,
            whole * np.nan,
            None,
            np.array([b"x"]),
            whole > 0,
        ),
    )
    return {**arrays, name: others[how]} if others[how] is not None else {
        k: v for k, v in arrays.items() if k != name
    }, facts


@cache
def whole_run(folder: Path) -> Store:
    """A run's folder with all units, which is made once."""
    store = Store(folder / "run")
    for name, (arrays, facts) in results_of_units().items():
        unit(store, arrays, facts, name)
    return store


def read_run(content: bytes, folder: Path) -> object:
    """Puts together what is in a run's folder, and says how far it is."""
    data = json.loads(content)
    whole = whole_run(folder)
    for left in Path(whole.folder).iterdir():
        if left.name != "units":
            shutil.rmtree(left) if left.is_dir() else left.unlink()
    found = results_of_units()
    if data["unit"]:
        unit(whole, *changed(*found[data["unit"]], data["array"], data["as"]), data["unit"])
    try:
        plan = records.of_plain(Plan, data["plan"], what="a plan")
        plan = replace(plan, schema_version=SCHEMA_VERSION)
        path = Path(whole.folder) / "plans" / f"{plan.digest}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(records.as_json(plan))
    except ValueError as error:
        raise AdvkerasError(str(error)) from None
    try:
        status(whole)
        with contextlib.suppress(AdvkerasError):
            compare(str(whole.folder), models=["model=model"])
        return documents.read_documents(whole.folder)
    finally:
        left = {path.name for path in folder.iterdir()}
        for name, (arrays, facts) in found.items():
            if name == data["unit"] or not (Path(whole.folder) / "units" / f"{digest(name)}.npz").exists():
                unit(whole, arrays, facts, name)
        if left != {"run"}:
            raise AssertionError(f"written outside the run: {left}")
