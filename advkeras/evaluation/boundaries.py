"""Decision boundaries around benign images and around what attacks make of them, as units of a long run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, ClassVar

import numpy as np

from advkeras import __version__
from advkeras.arrays import Progress
from advkeras.attacks.base import Attack
from advkeras.attacks.families import FixedNormAttack
from advkeras.boundary import Boundaries, BoundarySearch
from advkeras.datasets import DatasetSpec, LabelledImages
from advkeras.evaluation.boundary_results import BOUNDARIES, BoundaryReport, Measured, PlannedBoundaries, PlannedKind
from advkeras.evaluation.fit import check_all_fit, check_attacks, usable
from advkeras.evaluation.results import BENIGN
from advkeras.evaluation.signs import of_study
from advkeras.evaluation.slices import Slice, checksum_of, company, slices_of, usual_size
from advkeras.evaluation.units import Examples, OfModel, checksum
from advkeras.models import Classifier
from advkeras.models.counted import Passes
from advkeras.runs.execute import Watch, execute
from advkeras.runs.store import Store
from advkeras.runs.study import Compute
from advkeras.runs.unit import Result, Unit


@dataclass(frozen=True, kw_only=True, eq=False)
class Walks(OfModel):
    """The boundaries around a slice's benign images that are classified correctly, or around successful examples.

    It follows on the unit of the images or examples.

    Attributes:
        search: for the boundaries.
    """

    search: BoundarySearch

    kind: ClassVar[str] = "boundaries"

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Of the search."""
        return {"search": self.search.get_config(), "benign": self.of == BENIGN}

    @property
    def passes(self) -> Passes:
        """Each direction to its end."""
        walk = -(-self.search.steps // self.search.stride) + self.search.stride - 1
        return Passes(len(self.part.data) * self.search.directions * walk, 0)

    def compute(self, found: Sequence[Result], progress: Progress) -> Result:
        """Looks for the boundaries; ``rows`` says of which images of the slice they are."""
        arrays, labels = found[0].arrays, self.part.data.labels
        chosen = arrays["predictions"] == labels if self.of == BENIGN else arrays["success"]
        images = arrays["adversarials"][chosen]
        around = self.search(self.classifier, images, progress=progress) if len(images) else _nothing(self.search)
        return Result(
            {
                "rows": np.flatnonzero(chosen).astype(np.int32),
                "distances": around.distances,
                "adjacent": around.adjacent,
                "classes": around.classes,
            },
            {"forward_count": around.forward_count, "seconds": round(around.seconds, 3)},
        )


@dataclass(frozen=True)
class KindUnits:
    """The units of images of one kind around one model, slice by slice."""

    examples: tuple[Examples, ...]
    walks: tuple[Walks, ...]

    @property
    def planned(self) -> PlannedKind:
        """As a plan keeps them."""
        first = self.examples[0]
        return PlannedKind(
            kind=first.of,
            title=first.shown,
            examples=tuple(unit.digest for unit in self.examples),
            walks=tuple(unit.digest for unit in self.walks),
            within=isinstance(first.attack, FixedNormAttack),
        )


def kinds_around(
    classifier: Classifier,
    digest: str,
    slices: Sequence[Slice],
    attacks: Sequence[Attack],
    search: BoundarySearch,
) -> list[KindUnits]:
    """The units of the boundaries around benign images, and around each attack's examples.

    Args:
        classifier: the model.
        digest: its checksum.
        slices: of the images.
        attacks: what makes adversarial examples.
        search: for the boundaries.
    """
    kinds = []
    for attack in (None, *attacks):
        examples = tuple(Examples.planned(classifier, digest, part, attack) for part in slices)
        walks = tuple(
            Walks(**{**unit.asked, "shown": f"boundaries, {unit.shown}"}, follows=(unit,), search=search)
            for unit in examples
        )
        kinds.append(KindUnits(examples, walks))
    return kinds


def measure_boundaries(
    classifiers: Sequence[Classifier],
    data: LabelledImages,
    spec: DatasetSpec,
    attacks: Sequence[Attack],
    search: BoundarySearch,
    output: str | PathLike[str],
    *,
    slice_size: int | None = None,
    compute: Compute = execute,
    watch: Watch | None = None,
) -> tuple[BoundaryReport, Measured]:
    """Crafts adversarial examples and looks for the boundaries around them and around the benign images.

    Args:
        classifiers: whose boundaries.
        data: images and true classes.
        spec: the data set.
        attacks: what makes adversarial examples.
        search: for the boundaries.
        output: folder or URL of the run: units' results, and made of them boundaries.json and a folder of .npz files
            for each model. Units that are already there, made the same way, are not run again.
        slice_size: images that one unit works on; by default as many as take a minute or two on two cores.
        compute: has the units computed; here, one after the other, by default.
        watch: told as the work goes on.

    Returns:
        The report, and for each model's name the boundaries of each kind.

    Raises:
        InvalidInputError: if the folder cannot be written, two models or two attacks have the same name, or a model or
            the search does not fit the images.
        UnitsFailedError: if units could not be computed; the others are.
    """
    check_all_fit(classifiers, spec)
    check_attacks(attacks)
    slices = slices_of(data, usual_size(spec) if slice_size is None else slice_size)
    chosen = [attack.among(company(data)) for attack in attacks]
    around: dict[str, list[KindUnits]] = {}
    checksums = {}
    for classifier in classifiers:
        search.directions_for(classifier)  # says so, if there are too many
        checksums[classifier.name] = checksum(classifier)
        tried = usable(chosen, classifier)
        around[classifier.name] = kinds_around(classifier, checksums[classifier.name], slices, tried, search)
    report = BoundaryReport(
        dataset=spec.name,
        dataset_title=spec.title,
        data_source=data.source,
        examples=len(data),
        bounds=spec.bounds,
        search=search.get_config(),
        attacks={attack.title: attack.get_config() for attack in attacks},
        checksums=checksums,
        usages={classifier.name: classifier.usage.record() for classifier in classifiers},
        region_radius=spec.region_radius,
        models={},
        flags=of_study(classifiers, attacks, spec.bounds, data.images),
    )
    about = PlannedBoundaries(
        report=report,
        images=checksum_of(slices),
        num_classes=spec.num_classes,
        starts=tuple(part.start for part in slices),
        models={name: tuple(kind.planned for kind in kinds) for name, kinds in around.items()},
        version=__version__,
    )
    units = [unit for kinds in around.values() for unit in _by_slice(kinds)]
    found = BOUNDARIES.carry_out(about, units, Store(output), compute=compute, watch=watch)
    return found.report, found.measured


def _by_slice(kinds: Sequence[KindUnits]) -> list[Unit]:
    return [unit for of_slice in zip(*(kind.walks for kind in kinds), strict=True) for unit in of_slice]


def _nothing(search: BoundarySearch) -> Boundaries:
    shape = (0, search.directions)
    return Boundaries(np.zeros(shape, np.float32), np.zeros(shape, np.int32), np.zeros(0, np.int32), 0, 0.0)
