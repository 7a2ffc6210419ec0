"""Security curves put together from the examples of units; nothing is computed, and nothing needs TensorFlow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from advkeras.arrays import BoolArray, FloatArray, slack
from advkeras.errors import require
from advkeras.evaluation.curve_results import (
    CSV_NAME,
    FILE_NAME,
    SCHEMA_VERSION,
    WHAT,
    Curve,
    CurvePoint,
    CurveReport,
    as_csv,
)
from advkeras.evaluation.example_files import write_examples
from advkeras.evaluation.example_flags import of_kinds
from advkeras.evaluation.flags import Flag, in_order
from advkeras.evaluation.results import BENIGN
from advkeras.evaluation.unit_results import EXAMPLES, LABELS, result_of
from advkeras.files import safe_name
from advkeras.proportion import Proportion
from advkeras.provenance import Provenance
from advkeras.record_types import Classes, Digest, Length, Positive
from advkeras.runs.store import Store
from advkeras.runs.study import Identity, Study
from advkeras.runs.unit import Find, Result, canonical
from advkeras.searches.problem import fooled_by


@dataclass(frozen=True, kw_only=True)
class PlannedCheck:
    """A fixed-norm attack at one epsilon.

    Attributes:
        epsilon: in pixel units.
        config: the attack's hyperparameters.
        units: of its examples, slice by slice.
    """

    epsilon: Length
    config: dict[str, Any]
    units: tuple[Digest, ...]


@dataclass(frozen=True, kw_only=True)
class PlannedModelCurve:
    """A model of a study of curves; each list has a unit's digest for each slice of images.

    Attributes:
        name: of the model.
        source: what it was loaded from, as given.
        checksum: of its files, or of its answers.
        flags: what is to be known of it before anything is measured; none for most.
        benign: the units of the benign images, which know the true classes.
        search: the units of the examples at the least distances.
        checks: at epsilons that were asked for.
        usage: what was said of how the model is used, and its file does not say: preprocessing and the like.
    """

    name: str
    source: str
    checksum: str
    benign: tuple[Digest, ...]
    search: tuple[Digest, ...]
    checks: tuple[PlannedCheck, ...] = ()
    flags: tuple[Flag, ...] = ()
    usage: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        slices = {len(self.benign), len(self.search), *(len(check.units) for check in self.checks)}
        require(len(slices) == 1, "all rows must have the same slices", model=self.name)

    @property
    def answers_as(self) -> Identity:
        """What two models have in common that answer alike."""
        return self.checksum, self.usage

    @property
    def curve_units(self) -> tuple[str, ...]:
        """Those that the curve is made of."""
        return (*self.benign, *self.search)


@dataclass(frozen=True, kw_only=True)
class PlannedCurves:
    """What a study of security curves was asked for.

    Attributes:
        report: the results, without models; its flags are of the images.
        attack: name of the attack that looks for the least distances.
        num_classes: of the data set.
        pixels: values of an image.
        images: checksum of all images, and of how they are cut into slices.
        models: whose curves.
        version: of advkeras.
    """

    report: CurveReport
    attack: str
    num_classes: Classes
    pixels: Positive
    images: str
    models: tuple[PlannedModelCurve, ...]
    version: str

    @property
    def question(self) -> str:
        """What curves must have in common to stand in one figure."""
        report = self.report
        asked = (report.dataset, report.bounds, self.images, report.norm, report.search_config, self.version)
        return canonical([*asked, self.attack])


class CurveStudy(Study[PlannedCurves, CurveReport]):
    """Accuracy against epsilon, from the least distance of each image."""

    name, what = "curve", WHAT
    asked = PlannedCurves
    file_name, report, schema_version = FILE_NAME, CurveReport, SCHEMA_VERSION

    def together(self, plans: Sequence[PlannedCurves], there: set[str]) -> PlannedCurves:
        """The last plan, and the models of those before it whose curves are done and answer the same question."""
        last = plans[-1]
        models = {model.name: model for model in last.models}
        checks = {canonical(config) for config in last.report.check_configs}
        for plan in reversed(plans[:-1]):
            for model in plan.models if plan.question == last.question else ():
                if model.name not in models and there.issuperset(model.curve_units):
                    same = tuple(each for each in model.checks if canonical(each.config) in checks)
                    models[model.name] = replace(model, checks=same)
        return replace(last, models=tuple(models.values()))

    def identities(self, asked: PlannedCurves) -> dict[str, Identity]:
        """The checksum of each model, and how it is used."""
        return {model.name: model.answers_as for model in asked.models}

    def fold(self, asked: PlannedCurves, find: Find, provenance: Provenance) -> CurveReport:
        """Curves over the slices that are done; models of which none is are left out."""
        models = tuple(found for model in asked.models if (found := _curve(model, asked, find)) is not None)
        return replace(
            asked.report,
            models=models,
            flags=in_order(
                [*asked.report.flags, *(flag for model in asked.models for flag in _flags(model, asked, find))]
            ),
            provenance=provenance,
        )

    def write_files(self, asked: PlannedCurves, found: CurveReport, store: Store) -> CurveReport:
        """curve.csv, and MODEL/ATTACK.npz: what the search returned."""
        for model in asked.models:
            facts = {"model": model.name, "attack": asked.attack, "config": found.search_config}
            place = f"{safe_name(model.name)}/{safe_name(asked.attack)}"
            write_examples(store, place, model.search, model.benign, facts)
        store.write(CSV_NAME, as_csv(found).encode())
        return found


CURVE = CurveStudy()


@dataclass(frozen=True, kw_only=True)
class _Slice:
    """What is known of each image of a slice, (N,) each: whether it is right as it is, and its least distance."""

    labels: npt.NDArray[Any]
    right: BoolArray
    least: FloatArray
    zero_gradients: int
    nonfinite_gradients: int
    facts: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """Benign images, or the search's examples, as flags look at them."""

    kind: str
    title: str
    examples: Sequence[str]
    within: bool = False


def _flags(model: PlannedModelCurve, asked: PlannedCurves, find: Find) -> list[Flag]:
    kinds = (
        _Kind(kind=BENIGN, title="Benign", examples=model.benign),
        _Kind(kind=asked.attack, title=asked.report.search, examples=model.search),
    )
    return [*model.flags, *of_kinds(model.name, kinds, asked.num_classes, find)]


def _curve(model: PlannedModelCurve, asked: PlannedCurves, find: Find) -> Curve | None:
    slices = {
        number: found
        for number, digests in enumerate(zip(model.benign, model.search, strict=True))
        if (found := _slice(*digests, asked, find)) is not None
    }
    if not slices:
        return None
    done = slices.values()
    curve = Curve(
        name=model.name,
        source=model.source,
        checksum=model.checksum,
        # As short as their float32 can be told.
        distances=tuple(float(str(each)) if np.isfinite(each) else None for part in done for each in part.least),
        points=(),
        zero_gradients=sum(part.zero_gradients for part in done),
        nonfinite_gradients=sum(part.nonfinite_gradients for part in done),
        gradient_count=sum(part.facts["gradient_count"] for part in done),
        seconds=round(sum(part.facts["seconds"] for part in done), 3),
    )
    checks = {each.epsilon: each for each in model.checks}
    points = tuple(
        CurvePoint(
            epsilon=epsilon,
            right=curve.accuracy(epsilon + slack(asked.report.bounds)),
            check=_left(checks[epsilon], slices, asked, find) if epsilon in checks else None,
        )
        for epsilon in asked.report.at
    )
    return replace(curve, points=points)


def _slice(benign: str, search: str, asked: PlannedCurves, find: Find) -> _Slice | None:
    known = result_of(find, benign, EXAMPLES, LABELS)
    found = result_of(find, search, EXAMPLES, rows=len(known.arrays["labels"])) if known is not None else None
    if known is None or found is None:
        return None
    labels = known.arrays["labels"]
    right = np.asarray(found.arrays["benign_predictions"] == labels)
    least = np.where(_fooled(found, labels), _distances(found, asked), np.inf)
    return _Slice(
        labels=labels,
        right=right,
        least=np.where(right, least, 0.0).astype(np.float32),
        zero_gradients=int(found.arrays["zero_gradients"].sum()),
        nonfinite_gradients=int(found.arrays["nonfinite_gradients"].sum()),
        facts=found.facts,
    )


def _left(check: PlannedCheck, slices: dict[int, _Slice], asked: PlannedCurves, find: Find) -> Proportion | None:
    """What a fixed-norm attack leaves of the slices that it has done; None as long as there is none."""
    right = []
    for number, part in slices.items():
        found = result_of(find, check.units[number], EXAMPLES, rows=len(part.labels))
        if found is not None:
            near = _distances(found, asked) <= check.epsilon + slack(asked.report.bounds)
            right.append(part.right & ~(near & _fooled(found, part.labels)))
    every = np.concatenate(right) if right else None
    return None if every is None else Proportion(int(every.sum()), len(every))


def _fooled(found: Result, labels: npt.NDArray[Any]) -> BoolArray:
    return fooled_by(found.arrays["predictions"], labels, targeted=False)


def _distances(found: Result, asked: PlannedCurves) -> npt.NDArray[np.float64]:
    """In the curve's norm: (N,), in pixel units."""
    if asked.report.norm == "linf":
        return np.asarray(found.arrays["linf"], np.float64)
    return np.asarray(found.arrays["distortion"], np.float64) * float(np.sqrt(asked.pixels))
