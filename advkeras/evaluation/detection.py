"""Detecting adversarial examples: trained on one attack, tested on others, beside a simpler detector."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from advkeras import __version__
from advkeras.arrays import Progress
from advkeras.attacks.base import Attack
from advkeras.boundary import Boundaries, BoundarySearch
from advkeras.boundary.detector import BoundaryDetector
from advkeras.datasets import DatasetSpec, LabelledImages
from advkeras.errors import require
from advkeras.evaluation.boundaries import KindUnits, Walks, kinds_around
from advkeras.evaluation.boundary_results import boundaries_of
from advkeras.evaluation.detection_results import DETECTION, DetectionReport, PlannedDetection
from advkeras.evaluation.fit import check_attacks, check_fit
from advkeras.evaluation.results import BENIGN, RegionSettings
from advkeras.evaluation.signs import of_study
from advkeras.evaluation.slices import Slice, company, slices_of, usual_size
from advkeras.evaluation.units import Examples, OverRegion, checksum
from advkeras.files import safe_name
from advkeras.models import Classifier
from advkeras.parameters import require_count
from advkeras.randomness import derive_seed
from advkeras.runs.execute import Watch, execute
from advkeras.runs.store import Store
from advkeras.runs.study import Compute
from advkeras.runs.unit import Result, Unit

_TRAINING_SHARE = 0.8
# The paper's training steps of a detector on each data set, and the images in each.
_TRAINING = {"mnist": (2_000, 128), "cifar10": (4_000, 150)}


@dataclass(frozen=True, kw_only=True, eq=False)
class Agreement(OverRegion):
    """The simpler detector: how many points of the region around an image have another class than the image.

    It follows on the units of the examples and of the boundaries around them, which say which images count.
    """

    kind: ClassVar[str] = "agreement"

    def compute(self, found: Sequence[Result], progress: Progress) -> Result:
        """The share of points that disagree, for each image."""
        rows, own = found[1].arrays["rows"], found[1].arrays["classes"]
        if not len(rows):
            return Result({"agreement": np.zeros(0, np.float32)}, {})
        votes = self.layer().predict(found[0].arrays["adversarials"][rows], places=self.part.data.places[rows])["votes"]
        agreeing = np.take_along_axis(votes, own[:, None].astype(np.int64), axis=1)[:, 0]
        return Result({"agreement": np.asarray(1.0 - agreeing / votes.sum(axis=1), np.float32)}, {})


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainedDetector(Unit):
    """A detector, trained on the boundaries around benign images and around an attack's examples.

    It follows on the units of both, slice by slice: first those around benign images.

    Attributes:
        classifier: whose boundaries.
        search: that found them.
        shown: what people call the attack.
        starts: for each slice, how many images come before it.
        end: images of the training part.
        steps: of the training.
        batch_size: boundaries in a step.
        seed: of weights, batches and dropout.
    """

    classifier: Classifier
    search: BoundarySearch
    shown: str
    starts: tuple[int, ...]
    end: int
    steps: int
    batch_size: int
    seed: int

    kind: ClassVar[str] = "detector"

    @property
    def title(self) -> str:
        """Model and attack."""
        return f"{self.classifier.name}: detector, {self.shown}"

    @property
    def subject(self) -> Mapping[str, Any]:
        """Of the training; all else follows from the boundaries."""
        training = {name: getattr(self, name) for name in ("starts", "end", "steps", "batch_size", "seed")}
        return {"advkeras": __version__, **training}

    def untrained(self) -> BoundaryDetector:
        """The detector before its training."""
        return BoundaryDetector.build(self.search, self.classifier, seed=self.seed)

    def compute(self, found: Sequence[Result], progress: Progress) -> Result:
        """Trains it; the result is its weights.

        Raises:
            InvalidInputError: if the training part has no images of a kind.
        """
        benign, adversarial = (
            self._training_part(found[: len(self.starts)]),
            self._training_part(found[len(self.starts) :]),
        )
        for name, part in (("Benign", benign), (self.shown, adversarial)):
            require(len(part.classes) > 0, f"the training part has no {name} images", images=self.end)
        detector = self.untrained()
        detector.fit(benign, adversarial, steps=self.steps, batch_size=self.batch_size, seed=self.seed)
        return Result({f"weights{number:02}": values for number, values in enumerate(detector.weights)}, {})

    def trained(self, found: Result) -> BoundaryDetector:
        """The detector that a result holds the weights of."""
        detector = self.untrained()
        detector.weights = [found.arrays[name] for name in sorted(found.arrays)]
        return detector

    def _training_part(self, walks: Sequence[Result]) -> Boundaries:
        indices = np.concatenate([start + each.arrays["rows"] for start, each in zip(self.starts, walks, strict=True)])
        return boundaries_of(walks).where(indices < self.end)


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores(Unit):
    """What a detector makes of the images of one kind; follows on the detector and on the boundaries around them.

    Attributes:
        detector: that this follows on.
    """

    detector: TrainedDetector

    kind: ClassVar[str] = "scores"

    @property
    def title(self) -> str:
        """That of the detector."""
        return self.detector.title

    @property
    def subject(self) -> Mapping[str, Any]:
        """All follows from the detector and the boundaries."""
        return {"advkeras": __version__}

    def compute(self, found: Sequence[Result], progress: Progress) -> Result:
        """The probability that each image is adversarial."""
        return Result({"scores": self.detector.trained(found[0]).score(boundaries_of(found[1:]))}, {})


def detect(
    classifier: Classifier,
    data: LabelledImages,
    spec: DatasetSpec,
    *,
    train_attacks: Sequence[Attack],
    test_attacks: Sequence[Attack],
    search: BoundarySearch,
    output: str | PathLike[str],
    steps: int | None = None,
    seed: int = 0,
    slice_size: int | None = None,
    compute: Compute = execute,
    watch: Watch | None = None,
) -> DetectionReport:
    """Trains a detector on each of some attacks and tests it on others, and a simpler one beside it.

    Only benign images that are classified correctly and successful adversarial examples count.

    Args:
        classifier: the model.
        data: images and true classes.
        spec: the data set.
        train_attacks: a detector is trained on the examples of each.
        test_attacks: each detector is tested on the examples of each.
        search: for the boundaries.
        output: folder or URL of the run: units' results, and made of them detection.json and a folder of examples,
            boundaries and trained detectors (.keras). Units that are already there, made the same way, are not run
            again.
        steps: of a detector's training; the protocol's by default.
        seed: of the detectors and of the regions.
        slice_size: images that one unit works on; by default as many as take a minute or two on two cores.
        compute: has the units computed; here, one after the other, by default.
        watch: told as the work goes on.

    Raises:
        InvalidInputError: if the folder cannot be written, the model or the search does not fit, two attacks have the
            same name, a part has no benign images or the training part no examples of an attack.
        UnitsFailedError: if units could not be computed; the others are.
    """
    require(len(data) >= 2, "there must be images to train on and to test on", images=len(data))
    check_fit(classifier, spec)
    usual_steps, batch_size = _TRAINING[spec.follows]
    steps = usual_steps if steps is None else steps
    require_count(steps=steps)
    attacks = tuple(dict.fromkeys((*train_attacks, *test_attacks)))
    check_attacks(attacks)
    for attack in attacks:
        attack.check_gradients(classifier)
    BoundaryDetector.build(search, classifier, seed=seed)  # says so, if there are too few or too many directions
    study = _Study(
        classifier=classifier,
        digest=checksum(classifier),
        spec=spec,
        slices=slices_of(data, usual_size(spec) if slice_size is None else slice_size),
        attacks=tuple(attack.among(company(data)) for attack in attacks),
        trained=tuple(attack.name for attack in train_attacks),
        tested=tuple(attack.name for attack in test_attacks),
        search=search,
        first_of_test=min(round(_TRAINING_SHARE * len(data)), len(data) - 1),
        training={"steps": steps, "batch_size": batch_size, "seed": seed},
    )
    store = Store(output)
    report = DETECTION.carry_out(study.about(data), study.units, store, compute=compute, watch=watch)
    if not report.units_left:
        study.write_detectors(store)
    return report


@dataclass(frozen=True, kw_only=True)
class _Study:
    """A study of detectors as units."""

    classifier: Classifier
    digest: str
    spec: DatasetSpec
    slices: tuple[Slice, ...]
    attacks: tuple[Attack, ...]
    trained: tuple[str, ...]
    tested: tuple[str, ...]
    search: BoundarySearch
    first_of_test: int
    training: dict[str, int]

    @cached_property
    def kinds(self) -> dict[str, KindUnits]:
        """Examples and the boundaries around them."""
        found = kinds_around(self.classifier, self.digest, self.slices, self.attacks, self.search)
        return {kind.examples[0].of: kind for kind in found}

    @cached_property
    def agreements(self) -> dict[str, list[Agreement | None]]:
        """Of each slice; None around examples of the training part that no detector is trained on."""
        return {
            name: [
                self._agreement(examples, walks) if name in (BENIGN, *self.trained) or self._tests(examples) else None
                for examples, walks in zip(kind.examples, kind.walks, strict=True)
            ]
            for name, kind in self.kinds.items()
        }

    def _tests(self, examples: Examples) -> bool:
        """Whether an image of the slice belongs to the test part."""
        return examples.part.start + len(examples.part.data) > self.first_of_test

    def _agreement(self, examples: Examples, walks: Walks) -> Agreement:
        return Agreement(
            **{**examples.asked, "shown": f"agreement, {examples.shown}"},
            follows=(examples, walks),
            radius=self.spec.region_radius,
            samples=self.spec.region_samples,
            seed=derive_seed(self.training["seed"], "region agreement")[0],
        )

    @cached_property
    def detectors(self) -> dict[str, TrainedDetector]:
        """By the attack that they are trained on."""
        return {
            name: TrainedDetector(
                classifier=self.classifier,
                search=self.search,
                shown=self.kinds[name].examples[0].shown,
                starts=tuple(part.start for part in self.slices),
                end=self.first_of_test,
                follows=(*self.kinds[BENIGN].walks, *self.kinds[name].walks),
                **self.training,
            )
            for name in self.trained
        }

    @cached_property
    def scores(self) -> dict[str, dict[str, Scores]]:
        """By the attack that the detector is trained on, and by the kind of images."""
        return {
            name: {
                kind: Scores(detector=detector, follows=(detector, *self.kinds[kind].walks))
                for kind in (BENIGN, *self.tested)
            }
            for name, detector in self.detectors.items()
        }

    @property
    def units(self) -> list[Unit]:
        """All of them, slice by slice where they are of one."""
        rows = [kind.walks for kind in self.kinds.values()] + list(self.agreements.values())
        sliced = [unit for column in zip(*rows, strict=True) for unit in column if unit is not None]
        return [*sliced, *(unit for scores in self.scores.values() for unit in scores.values())]

    def about(self, data: LabelledImages) -> PlannedDetection:
        """What puts the results together."""
        report = DetectionReport(
            dataset=self.spec.name,
            dataset_title=self.spec.title,
            data_source=data.source,
            model=self.classifier.name,
            examples=len(data),
            search=self.search.get_config(),
            rows=(),
            attacks={attack.title: attack.get_config() for attack in self.attacks},
            checksum=self.digest,
            training=self.training,
            agreement=RegionSettings(self.spec.region_radius, self.spec.region_samples),
            distortion={},
            flags=of_study((self.classifier,), self.attacks, self.spec.bounds, data.images),
        )
        return PlannedDetection(
            report=report,
            num_classes=self.spec.num_classes,
            starts=tuple(part.start for part in self.slices),
            first_of_test=self.first_of_test,
            kinds=tuple(kind.planned for kind in self.kinds.values()),
            agreements={
                name: tuple(unit.digest if unit else None for unit in units) for name, units in self.agreements.items()
            },
            trained=self.trained,
            tested=self.tested,
            scores={name: {kind: unit.digest for kind, unit in scores.items()} for name, scores in self.scores.items()},
        )

    def write_detectors(self, store: Store) -> None:
        """MODEL/detector-ATTACK.keras: the trained detectors."""
        for name, unit in self.detectors.items():
            found = store.get(unit)
            if found is not None:
                with tempfile.TemporaryDirectory() as folder:
                    path = Path(folder) / "detector.keras"
                    unit.trained(found).save(path)
                    store.write(f"{safe_name(self.classifier.name)}/detector-{name}.keras", path.read_bytes())
