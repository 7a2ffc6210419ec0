"""Detecting adversarial examples: trained on one attack, tested on others, beside a simpler detector."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import mannwhitneyu

from advkeras import provenance
from advkeras.arrays import FloatArray
from advkeras.attacks.base import Attack
from advkeras.boundary import BoundarySearch
from advkeras.boundary.detector import BoundaryDetector
from advkeras.boundary.threshold import balanced_threshold
from advkeras.datasets import DatasetSpec, LabelledImages
from advkeras.defenses.region_classification import RegionClassification
from advkeras.errors import require, require_count
from advkeras.evaluation.boundaries import MeasuredBoundaries, boundaries_of
from advkeras.evaluation.crafting import Watch, units
from advkeras.evaluation.detection_results import DetectionReport, DetectionRow
from advkeras.evaluation.fit import check_fit
from advkeras.evaluation.results import BENIGN
from advkeras.files import require_writable_folder
from advkeras.models import Classifier
from advkeras.proportion import Proportion
from advkeras.randomness import derive_seed

BOUNDARIES, AGREEMENT = "boundaries", "agreement"
_TRAINING_SHARE = 0.8
# The paper's training steps of a detector on each data set, and the images in each.
_TRAINING = {"mnist": (2_000, 128), "cifar10": (4_000, 150)}


def detect(
    classifier: Classifier,
    data: LabelledImages,
    spec: DatasetSpec,
    *,
    train_attacks: Sequence[Attack],
    test_attacks: Sequence[Attack],
    search: BoundarySearch,
    output: Path,
    steps: int | None = None,
    seed: int = 0,
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
        output: folder for detection.json and, below it, a folder of examples, boundaries and trained detectors
            (.keras). Examples and boundaries that are already there, made the same way, are not made again.
        steps: of a detector's training; the protocol's by default.
        seed: of the detectors and of the regions.
        watch: gives a progress callback for each kind of images.

    Raises:
        InvalidInputError: if the folder cannot be written, the model or the search does not fit, two attacks have the
            same name, a part has no benign images or the training part no examples of an attack.
    """
    start = time.perf_counter()
    require_writable_folder(output)
    require(len(data) >= 2, "there must be images to train on and to test on", images=len(data))
    check_fit(classifier, spec)
    usual_steps, batch_size = _TRAINING[spec.follows]
    steps = usual_steps if steps is None else steps
    require_count(steps=steps)
    detectors = {attack.name: BoundaryDetector.build(search, classifier, seed=seed) for attack in train_attacks}
    attacks = tuple(dict.fromkeys((*train_attacks, *test_attacks)))
    planned = units(classifier, attacks, output)
    measured = {unit.name: boundaries_of(unit, data, search, watch=watch) for unit in planned}
    first_of_test = min(round(_TRAINING_SHARE * len(data)), len(data) - 1)
    training = {name: entry.where(entry.indices < first_of_test) for name, entry in measured.items()}
    test = {
        name: measured[name].where(measured[name].indices >= first_of_test)
        for name in (BENIGN, *(attack.name for attack in test_attacks))
    }
    require(len(test[BENIGN]) > 0, "the test part has no benign images that are classified correctly", images=len(data))
    for name in (BENIGN, *detectors):
        require(len(training[name]) > 0, f"the training part has no {training[name].title} images", images=len(data))
    region = _Agreement(classifier, spec, seed)
    agreements = {name: region.score(entry) for name, entry in test.items()}
    benign_agreements = region.score(training[BENIGN])
    rows = []
    for attack in train_attacks:
        detector, trained = detectors[attack.name], training[attack.name]
        detector.fit(training[BENIGN].found, trained.found, steps=steps, batch_size=batch_size, seed=seed)
        detector.save(output / classifier.name / f"detector-{attack.name}.keras")
        scores = {name: detector.score(entry.found) for name, entry in test.items()}
        rows.append(_row(BOUNDARIES, attack, test_attacks, scores, threshold=0.5))
        threshold = balanced_threshold(benign_agreements, region.score(trained))
        rows.append(_row(AGREEMENT, attack, test_attacks, agreements, threshold=threshold))
    report = DetectionReport(
        dataset=spec.name,
        dataset_title=spec.title,
        data_source=data.source,
        model=classifier.name,
        examples=len(data),
        search=search.get_config(),
        rows=tuple(rows),
        attacks={attack.title: attack.get_config() for attack in attacks},
        checksum=planned[0].checksum,
        training={"steps": steps, "batch_size": batch_size, "seed": seed},
        agreement={"radius": spec.region_radius, "samples": spec.region_samples},
        distortion={attack.title: _mean(test[attack.name].distortion) for attack in test_attacks},
        provenance=provenance.of_run(time.perf_counter() - start),
    )
    report.write(output)
    return report


class _Agreement:
    """The simpler detector: how many points of the region around an image have another class than the image."""

    def __init__(self, classifier: Classifier, spec: DatasetSpec, seed: int) -> None:
        self._layer = RegionClassification(
            classifier,
            radius=spec.region_radius,
            samples=spec.region_samples,
            seed=derive_seed(seed, "region agreement")[0],
        )

    def score(self, entry: MeasuredBoundaries) -> FloatArray:
        if not len(entry):
            return np.zeros(0, np.float32)
        votes = self._layer.predict(entry.images)["votes"]
        own = np.take_along_axis(votes, entry.found.classes[:, None].astype(np.int64), axis=1)[:, 0]
        return np.asarray(1.0 - own / votes.sum(axis=1), np.float32)


def _row(
    detector: str,
    trained_on: Attack,
    test_attacks: Sequence[Attack],
    scores: dict[str, FloatArray],
    *,
    threshold: float,
) -> DetectionRow:
    benign = scores[BENIGN]
    return DetectionRow(
        detector=detector,
        trained_on=trained_on.title,
        false_positives=Proportion(int((benign > threshold).sum()), len(benign)),
        false_negatives={
            attack.title: Proportion(int((scores[attack.name] <= threshold).sum()), len(scores[attack.name]))
            for attack in test_attacks
        },
        auc={
            attack.title: float(
                mannwhitneyu(scores[attack.name], benign).statistic / (len(scores[attack.name]) * len(benign))
            )
            if len(scores[attack.name])
            else None
            for attack in test_attacks
        },
    )


def _mean(values: FloatArray) -> float | None:
    return float(np.mean(values)) if len(values) else None
