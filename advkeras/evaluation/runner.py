"""Runs an evaluation as small units, each on disk when it is done, so that a run that was stopped can go on."""

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from advkeras import datasets, provenance
from advkeras.attacks.base import FixedNormAttack
from advkeras.datasets import DatasetSpec, LabelledImages
from advkeras.defenses.region_classification import RegionClassification
from advkeras.evaluation import paper
from advkeras.evaluation.crafting import Unit, Watch, units
from advkeras.evaluation.examples import Examples
from advkeras.evaluation.fit import check_all_fit
from advkeras.evaluation.protocol import Protocol
from advkeras.evaluation.results import Distortion, Evaluation, ModelResult, Row
from advkeras.files import require_writable_folder
from advkeras.models import Classifier
from advkeras.proportion import Proportion
from advkeras.randomness import derive_seed

_Z_95 = 1.959964


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
    check_all_fit(classifiers, spec)
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
        provenance=provenance.of_run(time.perf_counter() - start),
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
    planned = units(classifier, protocol.attacks, output)
    for unit in planned:
        examples = _run_unit(unit, data, region, watch)
        attack = unit.attack
        as_in_paper = not isinstance(attack, FixedNormAttack) or attack.epsilon == spec.constants.epsilon
        rows.append(_row(unit, examples, paper_rows.get(unit.name) if as_in_paper else None))
    return ModelResult(
        name=classifier.name,
        source=classifier.source or "in memory",
        checksum=planned[0].checksum,
        rows=tuple(rows),
    )


def _run_unit(unit: Unit, data: LabelledImages, region: RegionClassification, watch: Watch | None) -> Examples:
    """The unit's examples with the region's votes on them; made, as far as they are not on disk."""
    voting = {"radius": region.vote.region.radius, "samples": region.vote.samples, "seed": region.seed}
    known = unit.on_disk(data)
    complete = known is not None and known.facts.get("region", {}).get("identity") == voting
    with watch(unit.classifier.name, unit.title, complete) if watch else nullcontext() as progress:
        if known is not None and complete:
            return known
        examples = known or unit.craft(data, progress)
        start = time.perf_counter()
        classes = region.predict(examples.adversarials)["class"]
        votes = {
            "identity": voting,
            "correct": int((classes == data.labels).sum()),
            "seconds": round(time.perf_counter() - start, 3),
        }
        examples = replace(examples, facts={**examples.facts, "region": votes})
        examples.write(unit.path)
    return examples


def _row(unit: Unit, examples: Examples, paper_row: paper.PaperRow | None) -> Row:
    count = len(examples.labels)
    facts = examples.facts
    return Row(
        attack=unit.name,
        title=unit.title,
        config=unit.attack.get_config() if unit.attack else {},
        region=Proportion(facts["region"]["correct"], count),
        point=Proportion(int((examples.predictions == examples.labels).sum()), count),
        success=Proportion(int(examples.success.sum()), int(examples.attacked.sum())) if unit.attack else None,
        distortion=_distortion(examples.distortion[examples.success]),
        forward_count=facts["forward_count"],
        gradient_count=facts["gradient_count"],
        seconds=facts["seconds"],
        region_seconds=facts["region"]["seconds"],
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
