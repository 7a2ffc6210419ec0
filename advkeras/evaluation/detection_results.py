"""What detectors of adversarial examples are worth, as detection.json holds it; nothing needs TensorFlow."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import mannwhitneyu

from advkeras.arrays import FloatArray
from advkeras.boundary.threshold import balanced_threshold
from advkeras.errors import require
from advkeras.evaluation.boundary_results import (
    MeasuredBoundaries,
    PlannedKind,
    measured_around,
    require_slices,
    write_boundaries,
)
from advkeras.evaluation.example_files import write_examples
from advkeras.evaluation.example_flags import of_kinds
from advkeras.evaluation.flags import Flag, in_order
from advkeras.evaluation.results import BENIGN, RegionSettings
from advkeras.evaluation.unit_results import AGREEMENT as AGREEING
from advkeras.evaluation.unit_results import SCORES, WALKS, result_of
from advkeras.files import safe_name
from advkeras.proportion import Proportion
from advkeras.provenance import UNKNOWN, Provenance
from advkeras.record_types import Classes, Count, Digest, Length, Search, Share
from advkeras.runs.store import Store
from advkeras.runs.study import Study
from advkeras.runs.unit import Find

SCHEMA_VERSION = 1
FILE_NAME = "detection.json"
BOUNDARIES, AGREEMENT = "boundaries", "agreement"


@dataclass(frozen=True, kw_only=True)
class DetectionRow:
    """One detector.

    Attributes:
        detector: ``"boundaries"``, the network of :class:`BoundaryDetector`; or ``"agreement"``, the share of a
            region's points that have the image's own class, held against the training images' balanced threshold.
        trained_on: title of the attack whose examples it was trained on.
        false_positives: benign images of the test part that it takes for adversarial.
        false_negatives: for each attack's title, examples of the test part that it takes for benign.
        auc: for each attack's title, the area under the ROC curve; None without examples.
    """

    detector: str
    trained_on: str
    false_positives: Proportion
    false_negatives: dict[str, Proportion]
    auc: dict[str, Share | None]


@dataclass(frozen=True, kw_only=True)
class DetectionReport:
    """What detectors of adversarial examples on one model are worth, as detection.json holds it.

    Attributes:
        dataset: name.
        dataset_title: as tables call it.
        data_source: where the images come from.
        model: name.
        examples: images that were attacked; the first four fifths are the training part, the rest the test part.
        search: parameters of the search for boundaries.
        attacks: for each attack's title, its hyperparameters.
        checksum: of the model's files.
        training: steps, batch size and seed of the detectors' training.
        agreement: radius and number of points of the region whose agreement is the simpler detector's score.
        rows: one for each detector; none, as long as units are left.
        distortion: for each attack's title, mean RMS of its successful examples in the test part; None without any.
        flags: what may be wrong with what was studied; none for most.
        provenance: what it was made with.
        units_left: units of an unfinished run that have no result.
        plan: digest of the plan that the results are of.
        schema_version: of this structure.
    """

    dataset: str
    dataset_title: str
    data_source: str
    model: str
    examples: Count
    search: Search
    attacks: dict[str, dict[str, Any]]
    checksum: str
    training: dict[str, int]
    agreement: RegionSettings
    rows: tuple[DetectionRow, ...]
    distortion: dict[str, Length | None]
    flags: tuple[Flag, ...] = ()
    provenance: Provenance = UNKNOWN
    units_left: Count = 0
    plan: str = ""
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, kw_only=True)
class PlannedDetection:
    """What a study of detectors was asked for.

    Attributes:
        report: the results, without rows; its flags are those that are raised before anything is measured.
        num_classes: of the data set.
        starts: for each slice, how many images come before it.
        first_of_test: the first image of the test part.
        kinds: of images; benign ones first.
        agreements: for each kind, the units of the region's agreement around its images; None for a slice whose are
            not needed.
        trained: names of the attacks that detectors are trained on.
        tested: names of the attacks that they are tested on.
        scores: for each attack that a detector is trained on, and each kind of images, the unit of its scores.
    """

    report: DetectionReport
    num_classes: Classes
    starts: tuple[Count, ...]
    first_of_test: Count
    kinds: tuple[PlannedKind, ...]
    agreements: dict[str, tuple[Digest | None, ...]]
    trained: tuple[str, ...]
    tested: tuple[str, ...]
    scores: dict[str, dict[str, Digest]]

    def __post_init__(self) -> None:
        model = self.report.model
        require_slices(self.kinds, self.starts, model=model)
        known = {kind.kind for kind in self.kinds}
        whole = known.issuperset((*self.trained, *self.tested)) and all(
            len(self.agreements.get(kind, ())) == len(self.starts) for kind in known
        )
        require(whole, "all images must have their region's agreement", model=model)
        for name in self.trained:
            scored = set(self.scores.get(name, ()))
            require(scored.issuperset((BENIGN, *self.tested)), "all images must have scores", model=model, trained=name)

    def around(self, kind: PlannedKind, find: Find) -> MeasuredBoundaries | None:
        """The boundaries around images of a kind; None as long as a slice is missing."""
        if any(find(digest) is None for digest in kind.walks):
            return None
        return measured_around(kind, self.kinds[0], self.starts, find)


class DetectionStudy(Study[PlannedDetection, DetectionReport]):
    """Detectors of adversarial examples, trained on some attacks and tested on others."""

    name, what = "detection", "detectors"
    asked = PlannedDetection
    file_name, report, schema_version = FILE_NAME, DetectionReport, SCHEMA_VERSION

    def fold(self, asked: PlannedDetection, find: Find, provenance: Provenance) -> DetectionReport:
        """The rows, once all units are done."""
        flags = in_order([*asked.report.flags, *of_kinds(asked.report.model, asked.kinds, asked.num_classes, find)])
        begun = replace(asked.report, flags=flags, provenance=provenance)
        parts = {kind.kind: _part(asked, kind, find) for kind in asked.kinds}
        found = {name: part for name, part in parts.items() if part is not None}
        if len(found) < len(parts):
            return begun
        titles = {kind.kind: kind.title for kind in asked.kinds}
        test = [BENIGN, *asked.tested]
        require(
            bool(found[BENIGN].in_test.any()),
            "the test part has no benign images that are classified correctly",
            images=asked.report.examples,
        )
        rows = []
        for name in asked.trained:
            scores = {kind: found[kind].scores[name][found[kind].in_test] for kind in test}
            agreements = {kind: found[kind].agreements[found[kind].in_test] for kind in test}
            training = [found[kind].agreements[~found[kind].in_test] for kind in (BENIGN, name)]
            require(all(map(len, training)), "the training part has no images of a kind", trained_on=titles[name])
            threshold = balanced_threshold(*training)
            tested = {kind: titles[kind] for kind in asked.tested}
            rows += [
                _row(BOUNDARIES, titles[name], tested, scores, threshold=0.5),
                _row(AGREEMENT, titles[name], tested, agreements, threshold=threshold),
            ]
        distortion = {titles[kind]: _mean(found[kind].distortion[found[kind].in_test]) for kind in asked.tested}
        return replace(begun, rows=tuple(rows), distortion=distortion)

    def write_files(self, asked: PlannedDetection, found: DetectionReport, store: Store) -> DetectionReport:
        """MODEL/KIND.npz, the images, and MODEL/KIND-boundaries.npz, the boundaries around them."""
        for kind in asked.kinds:
            measured = asked.around(kind, store.result)
            if measured is not None:
                facts = {"model": found.model, "attack": kind.kind, "config": found.attacks.get(kind.title, {})}
                place = f"{safe_name(found.model)}/{safe_name(kind.kind)}"
                write_examples(store, place, kind.examples, asked.kinds[0].examples, facts)
                write_boundaries(store, f"{place}-boundaries", kind.walks, measured)
        return found


DETECTION = DetectionStudy()


@dataclass(frozen=True, kw_only=True)
class _Part:
    """What is known of the images of one kind."""

    in_test: Any  # (N,) bool
    distortion: FloatArray
    agreements: FloatArray  # NaN where they are not needed
    scores: Mapping[str, FloatArray]


def _part(asked: PlannedDetection, kind: PlannedKind, find: Find) -> _Part | None:
    measured = asked.around(kind, find)
    if measured is None:
        return None
    scores = {
        name: result_of(find, of_kind[kind.kind], SCORES, rows=len(measured))
        for name, of_kind in asked.scores.items()
        if kind.kind in of_kind
    }
    agreements = []
    for digest, walks in zip(asked.agreements[kind.kind], kind.walks, strict=True):
        of_slice = result_of(find, walks, WALKS)
        if of_slice is None:
            return None
        rows = len(of_slice.arrays["rows"])
        found = result_of(find, digest, AGREEING, rows=rows) if digest else None
        if digest and found is None:
            return None
        agreements.append(found.arrays["agreement"] if found else np.full(rows, np.nan, np.float32))
    if None in scores.values():
        return None
    return _Part(
        in_test=measured.indices >= asked.first_of_test,
        distortion=measured.distortion,
        agreements=np.concatenate(agreements),
        scores={name: found.arrays["scores"] for name, found in scores.items() if found is not None},
    )


def _row(
    detector: str, trained_on: str, tested: Mapping[str, str], scores: Mapping[str, FloatArray], *, threshold: float
) -> DetectionRow:
    benign = scores[BENIGN]
    return DetectionRow(
        detector=detector,
        trained_on=trained_on,
        false_positives=Proportion(int((benign > threshold).sum()), len(benign)),
        false_negatives={
            title: Proportion(int((scores[kind] <= threshold).sum()), len(scores[kind]))
            for kind, title in tested.items()
        },
        auc={title: _area(scores[kind], benign) for kind, title in tested.items()},
    )


def _area(adversarial: FloatArray, benign: FloatArray) -> float | None:
    """The area under the ROC curve; None without examples."""
    if not len(adversarial):
        return None
    return float(mannwhitneyu(adversarial, benign).statistic / (len(adversarial) * len(benign)))


def _mean(values: Sequence[float] | FloatArray) -> float | None:
    return float(np.mean(values)) if len(values) else None


def read_detection(path: str | os.PathLike[str]) -> DetectionReport:
    """Reads detection.json, or the one in a folder.

    Raises:
        InvalidInputError: if there is none, it is damaged, or another version of advkeras wrote it.
    """
    report: DetectionReport = DETECTION.read(path)
    return report
