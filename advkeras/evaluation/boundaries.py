"""Decision boundaries around benign images and around what attacks make of them: measured, kept on disk, summed up."""

import json
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from advkeras import provenance
from advkeras.arrays import FloatArray, IntArray, Progress
from advkeras.attacks.base import Attack
from advkeras.boundary import Boundaries, BoundarySearch, purity
from advkeras.datasets import DatasetSpec, LabelledImages
from advkeras.errors import InvalidInputError
from advkeras.evaluation.boundary_results import BoundaryReport, BoundaryRow
from advkeras.evaluation.crafting import Unit, Watch, units
from advkeras.evaluation.examples import Examples
from advkeras.evaluation.fit import check_all_fit
from advkeras.files import read_arrays, require_writable_folder, write_arrays
from advkeras.models import Classifier

_ARRAYS = ("images", "labels", "indices", "distortion")
_FOUND = ("distances", "adjacent", "classes")


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


def measure_boundaries(
    classifiers: Sequence[Classifier],
    data: LabelledImages,
    spec: DatasetSpec,
    attacks: Sequence[Attack],
    search: BoundarySearch,
    output: Path,
    *,
    watch: Watch | None = None,
) -> tuple[BoundaryReport, dict[str, list[MeasuredBoundaries]]]:
    """Crafts adversarial examples and looks for the boundaries around them and around the benign images.

    Args:
        classifiers: whose boundaries.
        data: images and true classes.
        spec: the data set.
        attacks: what makes adversarial examples.
        search: for the boundaries.
        output: folder for boundaries.json and, below it, a folder of .npz files for each model. What is already there,
            made the same way, is not made again.
        watch: gives a progress callback for each model and kind of images.

    Returns:
        The report, and for each model's name the boundaries of each kind.

    Raises:
        InvalidInputError: if the folder cannot be written, two models or two attacks have the same name, or a model or
            the search does not fit the images.
    """
    start = time.perf_counter()
    require_writable_folder(output)
    check_all_fit(classifiers, spec)
    planned = {classifier.name: units(classifier, attacks, output) for classifier in classifiers}
    for classifier in classifiers:
        search.directions_for(classifier)  # says so, if there are too many
    measured = {
        name: [boundaries_of(unit, data, search, watch=watch) for unit in parts] for name, parts in planned.items()
    }
    report = BoundaryReport(
        dataset=spec.name,
        dataset_title=spec.title,
        data_source=data.source,
        examples=len(data),
        bounds=spec.bounds,
        search=search.get_config(),
        attacks={attack.title: attack.get_config() for attack in attacks},
        checksums={name: parts[0].checksum for name, parts in planned.items()},
        region_radius=spec.region_radius,
        models={
            name: tuple(row_of(entry, spec.num_classes) for entry in entries) for name, entries in measured.items()
        },
        provenance=provenance.of_run(time.perf_counter() - start),
    )
    report.write(output)
    return report, measured


def boundaries_of(
    unit: Unit, data: LabelledImages, search: BoundarySearch, *, watch: Watch | None = None
) -> MeasuredBoundaries:
    """The boundaries around a unit's images; read, if they are on disk and were found the same way."""
    examples = unit.on_disk(data)
    path = unit.path.with_name(f"{unit.path.stem}-boundaries.npz")
    known = _read(path, unit, search, examples) if examples is not None else None
    with watch(unit.classifier.name, unit.title, known is not None) if watch else nullcontext() as progress:
        if known is not None:
            return known
        examples = examples or unit.craft(data, progress)
        return _search(path, unit, search, examples, progress)


def _search(
    path: Path, unit: Unit, search: BoundarySearch, examples: Examples, progress: Progress | None
) -> MeasuredBoundaries:
    chosen = examples.success if unit.attack else examples.predictions == examples.labels
    images = examples.adversarials[chosen]
    found = search(unit.classifier, images, progress=progress) if len(images) else _nothing(search)
    measured = MeasuredBoundaries(
        kind=unit.name,
        title=unit.title,
        images=images,
        labels=examples.labels[chosen],
        indices=np.flatnonzero(chosen).astype(np.int32),
        distortion=examples.distortion[chosen],
        found=found,
    )
    facts = {
        "identity": _identity(search, examples),
        "forward_count": found.forward_count,
        "seconds": round(found.seconds, 3),
    }
    arrays = {name: getattr(measured, name) for name in _ARRAYS} | {name: getattr(found, name) for name in _FOUND}
    write_arrays(path, {**arrays, "facts": np.array(json.dumps(facts))})
    return measured


def _read(path: Path, unit: Unit, search: BoundarySearch, examples: Examples) -> MeasuredBoundaries | None:
    if not path.is_file():
        return None
    try:
        arrays = read_arrays(path, (*_ARRAYS, *_FOUND, "facts"))
        facts = json.loads(str(arrays["facts"]))
    except (InvalidInputError, ValueError):
        return None
    if facts.get("identity") != _identity(search, examples):
        return None
    return MeasuredBoundaries(
        kind=unit.name,
        title=unit.title,
        **{name: arrays[name] for name in _ARRAYS},
        found=Boundaries(
            **{name: arrays[name] for name in _FOUND},
            forward_count=facts["forward_count"],
            seconds=facts["seconds"],
        ),
    )


def _identity(search: BoundarySearch, examples: Examples) -> dict[str, Any]:
    return {"search": search.get_config(), "examples": examples.facts["identity"]}


def _nothing(search: BoundarySearch) -> Boundaries:
    shape = (0, search.directions)
    return Boundaries(np.zeros(shape, np.float32), np.zeros(shape, np.int32), np.zeros(0, np.int32), 0, 0.0)
