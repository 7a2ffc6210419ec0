"""Runs an evaluation as small units, each on disk when it is done, so that a run that was stopped can go on."""

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from advkeras import datasets, provenance
from advkeras.arrays import linf
from advkeras.attacks.families import FixedNormAttack, MinimumNormAttack
from advkeras.datasets import DatasetSpec, LabelledImages
from advkeras.defenses.region_classification import RegionClassification
from advkeras.evaluation import paper
from advkeras.evaluation.convergence import check_convergence
from advkeras.evaluation.crafting import Unit, Watch, units
from advkeras.evaluation.distortion import summary
from advkeras.evaluation.doubts import about_classifier, doubts
from advkeras.evaluation.examples import Examples
from advkeras.evaluation.fit import check_all_fit
from advkeras.evaluation.protocol import Protocol
from advkeras.evaluation.results import Convergence, Evaluation, ModelResult, Row
from advkeras.evaluation.worst_case import accuracy_within, worst_case
from advkeras.files import require_writable_folder
from advkeras.models import Classifier
from advkeras.proportion import Proportion
from advkeras.randomness import derive_seed


def evaluate(
    classifiers: Sequence[Classifier],
    data: LabelledImages,
    spec: DatasetSpec,
    protocol: Protocol,
    output: Path,
    *,
    convergence: bool = True,
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
        convergence: run each attack again with twice the work on a few of the images.
        watch: gives a progress callback for each unit.

    Raises:
        InvalidInputError: if the folder cannot be written, two models have the same name, or a model does not take
            the data set's images.
    """
    start = time.perf_counter()
    require_writable_folder(output)
    check_all_fit(classifiers, spec)
    models = tuple(
        _evaluate_model(classifier, data, spec, protocol, output, convergence=convergence, watch=watch)
        for classifier in classifiers
    )
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
        doubts=(
            *filter(None, map(about_classifier, classifiers)),
            *doubts(
                models,
                bounds=spec.bounds,
                num_classes=spec.num_classes,
                pixels=(float(data.images.min()), float(data.images.max())),
            ),
        ),
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
    convergence: bool,
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
        spec.region_radius,
    )
    paper_rows = paper.rows_for(
        spec.name, card.defense if as_published and card and card.dataset == spec.name else None
    )
    rows, found = [], []
    planned = units(classifier, protocol.attacks, output)
    for unit in planned:
        examples = _run_unit(unit, data, region, watch, convergence=convergence)
        attack = unit.attack
        as_in_paper = not isinstance(attack, FixedNormAttack) or attack.epsilon == spec.epsilon
        rows.append(_row(unit, examples, protocol.epsilon, paper_rows.get(unit.name) if as_in_paper else None))
        if attack is not None:
            found.append((attack, examples))
    return ModelResult(
        name=classifier.name,
        source=classifier.source or "in memory",
        checksum=planned[0].checksum,
        rows=tuple(rows),
        worst=worst_case(found, epsilon=protocol.epsilon, bounds=classifier.bounds),
        logits=classifier.reading.how,
    )


def _run_unit(
    unit: Unit, data: LabelledImages, region: RegionClassification, watch: Watch | None, *, convergence: bool
) -> Examples:
    """The unit's examples with the region's votes on them, and the check of convergence; made, if not on disk."""
    voting = {"radius": region.vote.region.radius, "samples": region.vote.samples, "seed": region.seed}
    known = unit.on_disk(data)
    voted = known is not None and known.facts.get("region", {}).get("identity") == voting
    checked = not convergence or unit.attack is None or (known is not None and "convergence" in known.facts)
    complete = voted and checked
    with watch(unit.classifier.name, unit.title, complete) if watch else nullcontext() as progress:
        if known is not None and complete:
            return known
        examples = known or unit.craft(data, progress)
        facts = dict(examples.facts)
        if not voted:
            start = time.perf_counter()
            classes = region.predict(examples.adversarials, places=data.places)["class"]
            facts["region"] = {
                "identity": voting,
                "correct": int((classes == data.labels).sum()),
                "seconds": round(time.perf_counter() - start, 3),
            }
        if unit.attack is not None and not checked:
            again = check_convergence(unit.attack, unit.classifier, data, examples)
            facts["convergence"] = again and asdict(again)
        examples = replace(examples, facts=facts)
        examples.write(unit.path)
    return examples


def _row(unit: Unit, examples: Examples, epsilon: float, paper_row: paper.PaperRow | None) -> Row:
    count = len(examples.labels)
    facts = examples.facts
    again = facts.get("convergence")
    in_linf = unit.attack is not None and unit.attack.norm == "linf"
    minimises_linf = in_linf and isinstance(unit.attack, MinimumNormAttack)
    return Row(
        attack=unit.name,
        title=unit.title,
        config=unit.attack.get_config() if unit.attack else {},
        region=Proportion(facts["region"]["correct"], count),
        point=Proportion(int((examples.predictions == examples.labels).sum()), count),
        success=Proportion(int(examples.success.sum()), int(examples.attacked.sum())) if unit.attack else None,
        distortion=summary(examples.distortion[examples.success]),
        within=accuracy_within(examples, epsilon, unit.classifier.bounds) if in_linf else None,
        median_linf=float(np.median(linf(examples.adversarials - examples.images)[examples.success]))
        if minimises_linf and examples.success.any()
        else None,
        convergence=again and Convergence(**again),
        zero_gradients=facts["zero_gradients"],
        nonfinite_gradients=facts["nonfinite_gradients"],
        forward_count=facts["forward_count"],
        gradient_count=facts["gradient_count"],
        seconds=facts["seconds"],
        region_seconds=facts["region"]["seconds"],
        paper=paper_row,
        examples_file=f"{unit.classifier.name}/{unit.path.name}",
    )
