"""The decision boundaries of a study put together: rows as boundaries.json holds them; nothing needs TensorFlow."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import computed_field

from advkeras.arrays import FloatArray, IntArray
from advkeras.boundary.found import Boundaries
from advkeras.boundary.purity import purity
from advkeras.errors import require
from advkeras.evaluation.example_files import facts_of, name_for, write_examples
from advkeras.evaluation.example_flags import of_kinds
from advkeras.evaluation.flags import Flag, in_order
from advkeras.evaluation.results import BENIGN
from advkeras.evaluation.unit_results import LABELS, PIXELS, WALKS, joined, result_of
from advkeras.files import arrays_as_bytes, safe_name
from advkeras.provenance import UNKNOWN, Provenance
from advkeras.record_types import Bounds, Classes, Count, Digest, Finite, Length, Search, Share
from advkeras.runs.store import Store
from advkeras.runs.study import Identity, Study
from advkeras.runs.unit import Find, Result, canonical

SCHEMA_VERSION = 1
FILE_NAME = "boundaries.json"


@dataclass(frozen=True, kw_only=True)
class BoundaryRow:
    """What the boundaries around images of one kind have in common.

    Attributes:
        kind: ``"benign"`` or the attack's name.
        title: as tables call it.
        images: number of images.
        median_distance: over images and directions, RMS in pixel units; None where most directions meet no boundary.
        unmet: share of the directions that meet no boundary.
        purity: mean purities of the top 1, 2, ... adjacent classes, over the images around which a boundary was met.
        forward_count: single images sent forward.
        seconds: of the search.
    """

    kind: str
    title: str
    images: Count
    median_distance: Length | None
    unmet: Share
    purity: tuple[Finite, ...]
    forward_count: Count
    seconds: Length


@dataclass(frozen=True, kw_only=True)
class BoundaryReport:
    """The boundaries of one or several models, as boundaries.json holds them.

    Attributes:
        dataset: name.
        dataset_title: as tables call it.
        data_source: where the images come from.
        examples: number of images that were attacked.
        bounds: lowest and highest pixel value.
        search: parameters of the search for boundaries.
        attacks: for each attack's title, its hyperparameters.
        checksums: for each model's name, the checksum of its files.
        usages: for each model's name, what was said of how it is used, and its file does not say.
        region_radius: of region classification, in pixel units.
        models: for each model's name, its rows.
        flags: what may be wrong with what was studied; none for most.
        provenance: what it was made with.
        units_left: units of an unfinished run that have no result; rows are of the images done so far.
        plan: digest of the plan that the results are of.
        schema_version: of this structure.
    """

    dataset: str
    dataset_title: str
    data_source: str
    examples: Count
    bounds: Bounds
    search: Search
    attacks: dict[str, dict[str, Any]]
    checksums: dict[str, str]
    region_radius: Length
    models: dict[str, tuple[BoundaryRow, ...]]
    flags: tuple[Flag, ...] = ()
    provenance: Provenance = UNKNOWN
    units_left: Count = 0
    plan: str = ""
    usages: dict[str, dict[str, Any]] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    @computed_field  # type: ignore[prop-decorator]
    @property
    def region_distance(self) -> float:
        """Expected RMS of a point of region classification's hypercube."""
        return self.region_radius / float(np.sqrt(3))


@dataclass(frozen=True, kw_only=True)
class PlannedKind:
    """Images of one kind around one model; each list has a unit's digest for each slice.

    Attributes:
        kind: ``"benign"`` or the attack's name.
        title: as tables call it.
        examples: the units of the images.
        walks: the units of the search for boundaries around them.
        within: whether the attack stays within a distance, instead of making one small.
    """

    kind: str
    title: str
    examples: tuple[Digest, ...]
    walks: tuple[Digest, ...]
    within: bool = False

    def __post_init__(self) -> None:
        require(len(self.examples) == len(self.walks), "a slice has examples and walks", kind=self.title)

    @property
    def units(self) -> tuple[str, ...]:
        """All its units."""
        return (*self.examples, *self.walks)


def require_slices(kinds: Sequence[PlannedKind], starts: Sequence[int], **where: str) -> None:
    """Makes sure that the first of some kinds of images are benign ones, and that all have the same slices.

    Args:
        kinds: of images.
        starts: for each slice, how many images come before it.
        where: for the message.

    Raises:
        InvalidInputError: if not.
    """
    require(bool(kinds) and kinds[0].kind == BENIGN, "the first images must be benign ones", **where)
    require({len(kind.walks) for kind in kinds} == {len(starts)}, "all images must have the same slices", **where)


@dataclass(frozen=True, kw_only=True)
class PlannedBoundaries:
    """What a study of boundaries was asked for.

    Attributes:
        report: the results, without rows; its flags are those that are raised before anything is measured.
        images: checksum of all images, and of how they are cut into slices.
        num_classes: of the data set.
        starts: for each slice, how many images come before it.
        models: for each model's name, the kinds of images; benign ones first.
        version: of advkeras.
    """

    report: BoundaryReport
    images: str
    num_classes: Classes
    starts: tuple[Count, ...]
    models: dict[str, tuple[PlannedKind, ...]]
    version: str

    def __post_init__(self) -> None:
        for name, kinds in self.models.items():
            require_slices(kinds, self.starts, model=name)
            told = name in self.report.checksums and all(
                kind.kind == BENIGN or kind.title in self.report.attacks for kind in kinds
            )
            require(told, "the report must tell each model's checksum and each attack's hyperparameters", model=name)

    @property
    def question(self) -> str:
        """What rows must have in common to stand in one table."""
        report = self.report
        asked = (report.dataset, report.bounds, self.images, report.search, report.region_radius, self.version)
        return canonical(list(asked))


@dataclass(frozen=True, kw_only=True)
class MeasuredBoundaries:
    """The boundaries around images of one kind: benign ones, or an attack's examples.

    Attributes:
        kind: ``"benign"`` or the attack's name.
        title: as tables and figures call it.
        images: (N, H, W, C) float32: the images that are classified correctly, or the successful examples.
        labels: (N,) int32, their true classes.
        indices: (N,) int32, which of the data's images they come from.
        distortion: (N,) float32, RMS of what the attack changed, in pixel units.
        found: around them.
    """

    kind: str
    title: str
    images: FloatArray
    labels: IntArray
    indices: IntArray
    distortion: FloatArray
    found: Boundaries

    def __len__(self) -> int:
        return len(self.labels)

    def where(self, chosen: npt.NDArray[np.bool_]) -> "MeasuredBoundaries":
        """Those for which a mask (N,) is true."""
        return replace(
            self,
            images=self.images[chosen],
            labels=self.labels[chosen],
            indices=self.indices[chosen],
            distortion=self.distortion[chosen],
            found=self.found.where(chosen),
        )


Measured = dict[str, list[MeasuredBoundaries]]


@dataclass(frozen=True)
class BoundaryStudyResults:
    """The report, and for each model's name the boundaries of each kind."""

    report: BoundaryReport
    measured: Measured


class BoundaryStudy(Study[PlannedBoundaries, BoundaryStudyResults]):
    """Decision boundaries around benign images and adversarial examples."""

    name, what = "boundaries", "boundaries"
    asked = PlannedBoundaries
    file_name, report, schema_version = FILE_NAME, BoundaryReport, SCHEMA_VERSION

    def together(self, plans: Sequence[PlannedBoundaries], there: set[str]) -> PlannedBoundaries:
        """The last plan, and the kinds of images of those before it that are done and answer the same question."""
        last = plans[-1]
        models, attacks = dict(last.models), dict(last.report.attacks)
        checksums, usages = dict(last.report.checksums), dict(last.report.usages)
        for plan in reversed(plans[:-1]):
            for name, kinds in plan.models.items() if plan.question == last.question else ():
                digest, usage = plan.report.checksums[name], plan.report.usages.get(name, {})
                if name not in checksums:
                    checksums[name], usages[name] = digest, usage
                if (checksums[name], usages.get(name, {})) != (digest, usage):
                    continue
                has = {kind.kind for kind in models.get(name, ())}
                more = tuple(kind for kind in kinds if kind.kind not in has and there.issuperset(kind.units))
                models[name] = (*models.get(name, ()), *more)
                attacks |= {kind.title: plan.report.attacks[kind.title] for kind in more if kind.kind != BENIGN}
        report = replace(last.report, attacks=attacks, checksums=checksums, usages=usages)
        return replace(last, models={name: kinds for name, kinds in models.items() if kinds}, report=report)

    def identities(self, asked: PlannedBoundaries) -> dict[str, Identity]:
        """The checksum of each model, and how it is used."""
        report = asked.report
        return {name: (digest, report.usages.get(name, {})) for name, digest in report.checksums.items()}

    def fold(self, asked: PlannedBoundaries, find: Find, provenance: Provenance) -> BoundaryStudyResults:
        """Rows of the slices that are done; kinds of which none is are left out."""
        measured: Measured = {}
        for name, kinds in asked.models.items():
            around = (measured_around(kind, kinds[0], asked.starts, find) for kind in kinds)
            measured[name] = [each for each in around if each is not None]
        rows = {name: tuple(row_of(entry, asked.num_classes) for entry in found) for name, found in measured.items()}
        flags = list(asked.report.flags)
        for name, kinds in asked.models.items():
            flags += of_kinds(name, kinds, asked.num_classes, find)
        report = replace(asked.report, models=rows, flags=in_order(flags), provenance=provenance)
        return BoundaryStudyResults(report, measured)

    def report_of(self, found: BoundaryStudyResults) -> BoundaryReport:
        """The report."""
        return found.report

    def with_facts(self, found: BoundaryStudyResults, **facts: Any) -> BoundaryStudyResults:
        """Results whose report says more of the run."""
        return replace(found, report=replace(found.report, **facts))

    def write_files(self, asked: PlannedBoundaries, found: BoundaryStudyResults, store: Store) -> BoundaryStudyResults:
        """MODEL/KIND.npz, the images, and MODEL/KIND-boundaries.npz, the boundaries around them."""
        for name, kinds in asked.models.items():
            entries = {entry.kind: entry for entry in found.measured[name]}
            for kind in kinds:
                require(kind.kind in entries, "the plan does not name all its units", model=name, images=kind.title)
                entry = entries[kind.kind]
                facts = {"model": name, "attack": kind.kind, "config": found.report.attacks.get(kind.title, {})}
                place = f"{safe_name(name)}/{safe_name(kind.kind)}"
                write_examples(store, place, kind.examples, kinds[0].examples, facts)
                write_boundaries(store, f"{place}-boundaries", kind.walks, entry)
        return found


BOUNDARIES = BoundaryStudy()


def write_boundaries(store: Store, name: str, walks: Sequence[str], measured: MeasuredBoundaries) -> None:
    """A file of the boundaries around images of one kind.

    Args:
        store: of the run.
        name: of the file, without its ending; one that is there, and of the same units, is left as it is.
        walks: digests of the units.
        measured: what they found.

    Raises:
        InvalidInputError: if it cannot be written.
    """
    file, written = name_for(store, name, walks)
    if written:
        return
    found = measured.found
    arrays = {each: getattr(measured, each) for each in ("images", "labels", "indices", "distortion")}
    arrays |= {each: getattr(found, each) for each in ("distances", "adjacent", "classes")}
    facts = facts_of({"forward_count": found.forward_count, "seconds": round(found.seconds, 3)}, walks)
    store.write(file, arrays_as_bytes({**arrays, "facts": facts}))


def measured_around(
    kind: PlannedKind, benign: PlannedKind, starts: Sequence[int], find: Find
) -> MeasuredBoundaries | None:
    """The boundaries around images of one kind, of the slices that are done; None where there is none.

    Args:
        kind: of images.
        benign: the benign ones, which know the true classes.
        starts: for each slice, how many images come before it.
        find: units' results.
    """
    parts: list[tuple[int, Result, Result, Result]] = []
    for start, of_walks, of_examples, of_benign in zip(starts, kind.walks, kind.examples, benign.examples, strict=True):
        labels = result_of(find, of_benign, LABELS)
        if labels is None:
            continue
        examples = result_of(find, of_examples, PIXELS, rows=len(labels.arrays["labels"]))
        walks = result_of(find, of_walks, WALKS)
        if examples is not None and walks is not None:
            rows = walks.arrays["rows"]
            require(
                not rows.size or bool(rows.min() >= 0 and rows.max() < len(labels.arrays["labels"])),
                "boundaries must be around images of the slice",
                kind=kind.title,
            )
            parts.append((start, walks, examples, labels))
    if not parts:
        return None

    def all_of(of: Any) -> Any:
        return joined([of(*part) for part in parts])

    return MeasuredBoundaries(
        kind=kind.kind,
        title=kind.title,
        images=all_of(lambda _, walks, examples, __: examples.arrays["adversarials"][walks.arrays["rows"]]),
        labels=all_of(lambda _, walks, __, benign: benign.arrays["labels"][walks.arrays["rows"]]),
        indices=all_of(lambda start, walks, *_: start + walks.arrays["rows"]),
        distortion=all_of(lambda _, walks, examples, __: examples.arrays["distortion"][walks.arrays["rows"]]),
        found=boundaries_of([walks for _, walks, _, _ in parts]),
    )


def boundaries_of(results: Sequence[Result]) -> Boundaries:
    """The boundaries that units have found, together."""
    names = ("distances", "adjacent", "classes")
    distances, adjacent, classes = (joined([result.arrays[name] for result in results]) for name in names)
    forwards, seconds = (sum(result.facts[name] for result in results) for name in ("forward_count", "seconds"))
    return Boundaries(distances, adjacent, classes, forwards, seconds)


def row_of(measured: MeasuredBoundaries, num_classes: int) -> BoundaryRow:
    """What measured boundaries have in common."""
    found = measured.found
    median = float(np.median(found.distances)) if len(found.classes) else float("inf")
    purities = purity(found.adjacent, num_classes)
    met = found.met.any(axis=1)
    return BoundaryRow(
        kind=measured.kind,
        title=measured.title,
        images=len(found.classes),
        median_distance=median if np.isfinite(median) else None,
        unmet=float(1 - found.met.mean()) if found.met.size else 0.0,
        purity=tuple(float(value) for value in purities[met].mean(axis=0)) if met.any() else (),
        forward_count=found.forward_count,
        seconds=round(found.seconds, 3),
    )


def read_report(path: str | os.PathLike[str]) -> BoundaryReport:
    """Reads boundaries.json, or the one in a folder.

    Raises:
        InvalidInputError: if there is none, it is damaged, or another version of advkeras wrote it.
    """
    report: BoundaryReport = BOUNDARIES.read(path)
    return report
