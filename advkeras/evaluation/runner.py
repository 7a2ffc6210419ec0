"""Runs an evaluation as small units, each on disk when it is done, so that a run that was stopped can go on."""

import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from advkeras import __version__, datasets, provenance
from advkeras.attacks.base import Attack, AttackResult, FixedNormAttack, Progress
from advkeras.datasets import DatasetSpec, LabelledImages
from advkeras.defenses.region_classification import RegionClassification
from advkeras.errors import InvalidInputError
from advkeras.evaluation import paper
from advkeras.evaluation.examples import Examples
from advkeras.evaluation.protocol import Protocol
from advkeras.evaluation.results import BENIGN, Distortion, Evaluation, ModelResult, Row
from advkeras.files import require_writable_folder
from advkeras.models import Classifier, layout
from advkeras.proportion import Proportion
from advkeras.randomness import derive_seed

# A context for one unit's progress: called with model, title and whether the unit is already on disk.
Watch = Callable[[str, str, bool], AbstractContextManager[Progress]]

_Z_95 = 1.959964


@dataclass(frozen=True)
class _Unit:
    """One model under one attack, or on benign images."""

    classifier: Classifier
    checksum: str
    attack: Attack | None
    path: Path

    @property
    def name(self) -> str:
        return self.attack.name if self.attack else BENIGN

    @property
    def title(self) -> str:
        return self.attack.title if self.attack else "Benign"


def evaluate(
    classifiers: Sequence[Classifier],
    data: LabelledImages,
    spec: DatasetSpec,
    protocol: Protocol,
    output: Path,
    *,
    watch: Watch | None = None,
) -> Evaluation:
    """Attacks classifiers, and measures point and region classification on what the attacks found.

    Args:
        classifiers: what to evaluate; their bounds and shape must be the data set's.
        data: images and true classes.
        spec: the data set that they belong to.
        protocol: what to run.
        output: folder for results.json and, below it, a folder of .npz files for each model. Units that are already
            there, made by the same version from the same model, images and parameters, are not run again.
        watch: gives a progress callback for each unit.

    Raises:
        InvalidInputError: if the folder cannot be written, two models have the same name, or a model does not take
            the data set's images.
    """
    start = time.perf_counter()
    require_writable_folder(output)
    for classifier in classifiers:
        check_fit(classifier, spec)
    names = [classifier.name for classifier in classifiers]
    if len(set(names)) < len(names):
        raise InvalidInputError(f"models must have different names. Received: {', '.join(names)}")
    models = tuple(_evaluate_model(classifier, data, spec, protocol, output, watch=watch) for classifier in classifiers)
    evaluation = Evaluation(
        dataset=spec.name,
        dataset_title=spec.title,
        bounds=spec.bounds,
        data_source=data.source,
        examples=len(data),
        protocol=protocol.mode,
        seed=protocol.seed,
        region={"radius": protocol.region_radius, "samples": protocol.region_samples},
        models=models,
        provenance={
            "command": provenance.command_line(),
            "versions": provenance.versions(),
            "device": provenance.device(),
            "seconds": round(time.perf_counter() - start, 1),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    )
    evaluation.write(output)
    return evaluation


def _evaluate_model(
    classifier: Classifier,
    data: LabelledImages,
    spec: DatasetSpec,
    protocol: Protocol,
    output: Path,
    *,
    watch: Watch | None,
) -> ModelResult:
    checksum = _checksum(classifier)
    region = RegionClassification(
        classifier,
        radius=protocol.region_radius,
        samples=protocol.region_samples,
        stop="exact",  # the full vote's answer, for fewer points
        seed=derive_seed(protocol.seed, "evaluation", classifier.name)[0],
    )
    card = classifier.card
    as_published = spec.name in datasets.names() and (spec.bounds, protocol.region_radius) == (
        datasets.get(spec.name).bounds,
        spec.constants.region_radius,
    )
    paper_rows = paper.rows_for(
        spec.name, card.defense if as_published and card and card.dataset == spec.name else None
    )
    rows = []
    for attack in (None, *protocol.attacks):
        folder = output / classifier.name
        unit = _Unit(classifier, checksum, attack, folder / f"{attack.name if attack else BENIGN}.npz")
        examples = _run_unit(unit, data, region, watch)
        as_in_paper = not isinstance(attack, FixedNormAttack) or attack.epsilon == spec.constants.epsilon
        rows.append(_row(unit, examples, paper_rows.get(unit.name) if as_in_paper else None))
    return ModelResult(
        name=classifier.name, source=classifier.source or "in memory", checksum=checksum, rows=tuple(rows)
    )


def _run_unit(unit: _Unit, data: LabelledImages, region: RegionClassification, watch: Watch | None) -> Examples:
    """The unit's examples: read, if they are on disk and were made the same way; else made and written."""
    identity = {
        "advkeras": __version__,
        "model": unit.classifier.name,
        "checksum": unit.checksum,
        "attack": unit.name,
        "config": unit.attack.get_config() if unit.attack else {},
        "region": {"radius": region.vote.region.radius, "samples": region.vote.samples, "seed": region.seed},
        "images": hashlib.sha256(data.images.tobytes() + data.labels.tobytes()).hexdigest(),
    }
    known = _read_if_same(unit.path, identity)
    with watch(unit.classifier.name, unit.title, known is not None) if watch else nullcontext() as progress:
        if known is not None:
            return known
        result = (
            unit.attack(unit.classifier, data.images, data.labels, progress=progress)
            if unit.attack
            else _untouched(unit.classifier, data)
        )
        start = time.perf_counter()
        region_classes = region.predict(result.adversarials)["class"]
        facts = {
            "identity": identity,
            "region_correct": int((region_classes == data.labels).sum()),
            "forward_count": result.forward_count,
            "gradient_count": result.gradient_count,
            "seconds": round(result.seconds, 3),
            "region_seconds": round(time.perf_counter() - start, 3),
        }
        examples = Examples.of(data, result, facts)
        examples.write(unit.path)
    return examples


def _read_if_same(path: Path, identity: dict[str, Any]) -> Examples | None:
    if not path.is_file():
        return None
    try:
        examples = Examples.read(path)
    except InvalidInputError:
        return None
    return examples if examples.facts.get("identity") == identity else None


def _untouched(classifier: Classifier, data: LabelledImages) -> AttackResult:
    images = classifier.check_images(data.images)
    predictions = classifier.predict(images)
    count = len(data)
    return AttackResult(
        adversarials=images,
        success=np.zeros(count, bool),
        attacked=np.zeros(count, bool),
        distortion=np.zeros(count, np.float32),
        predictions=predictions,
        benign_predictions=predictions,
        forward_count=count,
        gradient_count=0,
        seconds=0.0,
    )


def _row(unit: _Unit, examples: Examples, paper_row: paper.PaperRow | None) -> Row:
    count = len(examples.labels)
    facts = examples.facts
    return Row(
        attack=unit.name,
        title=unit.title,
        config=unit.attack.get_config() if unit.attack else {},
        region=Proportion(facts["region_correct"], count),
        point=Proportion(int((examples.predictions == examples.labels).sum()), count),
        success=Proportion(int(examples.success.sum()), int(examples.attacked.sum())) if unit.attack else None,
        distortion=_distortion(examples.distortion[examples.success]),
        forward_count=facts["forward_count"],
        gradient_count=facts["gradient_count"],
        seconds=facts["seconds"],
        region_seconds=facts["region_seconds"],
        paper=paper_row,
        examples_file=f"{unit.classifier.name}/{unit.path.name}",
    )


def _distortion(values: Any) -> Distortion | None:
    """Mean of the successful examples' distortion, with the normal interval of a mean."""
    if not len(values):
        return None
    mean = float(np.mean(values, dtype=np.float64))
    median = float(np.median(values))
    if len(values) == 1:
        return Distortion(mean=mean, low=None, high=None, median=median)
    half = _Z_95 * float(np.std(values, ddof=1)) / float(np.sqrt(len(values)))
    return Distortion(mean=mean, low=max(0.0, mean - half), high=mean + half, median=median)


def _checksum(classifier: Classifier) -> str:
    """Of the files that the classifier was loaded from; of its answers, where there are none."""
    if classifier.folder is not None:
        return layout.checksum(classifier.folder)
    if classifier.source is not None and Path(classifier.source).is_file():
        return hashlib.sha256(Path(classifier.source).read_bytes()).hexdigest()
    low, high = classifier.bounds
    probes = np.random.default_rng(0).uniform(low, high, (4, *classifier.input_shape))
    return "answers:" + hashlib.sha256(classifier.logits(probes).tobytes()).hexdigest()


def check_fit(classifier: Classifier, spec: DatasetSpec) -> None:
    """Makes sure that a classifier takes a data set's images and knows as many classes.

    Raises:
        InvalidInputError: if not.
    """
    received = (classifier.input_shape, classifier.bounds, classifier.num_classes)
    expected = (spec.shape, spec.bounds, spec.num_classes)
    if received != expected:
        raise InvalidInputError(
            f"{classifier.name} does not fit {spec.name}: expected images of shape {expected[0]} in "
            f"{list(expected[1])} and {expected[2]} classes. Received: {received[0]} in {list(received[1])} and "
            f"{received[2]} classes"
        )
