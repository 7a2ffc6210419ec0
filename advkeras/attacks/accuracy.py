"""Accuracy of a classifier on images as they are, and under an attack."""

from typing import Any

from advkeras import records
from advkeras.arrays import Progress
from advkeras.attacks.base import Attack
from advkeras.attacks.pgd import PGD
from advkeras.datasets import DatasetSpec, LabelledImages
from advkeras.models import Classifier
from advkeras.proportion import Proportion

# Test images, at most, for a card's accuracy under PGD.
CARD_IMAGES = {"mnist": 1_000, "cifar10": 10_000}


def accuracy(classifier: Classifier, data: LabelledImages) -> Proportion:
    """The share of images that are classified correctly."""
    return Proportion(int((classifier.predict(data.images) == data.labels).sum()), len(data))


def robust_accuracy(
    classifier: Classifier, data: LabelledImages, attack: Attack, *, progress: Progress | None = None
) -> Proportion:
    """The share of images that are still classified correctly after an attack, those wrong before it counted wrong."""
    result = attack(classifier, data.images, data.labels, progress=progress)
    return Proportion(int((result.predictions == data.labels).sum()), len(data))


def measure(
    classifier: Classifier, spec: DatasetSpec, data: LabelledImages, *, progress: Progress | None = None
) -> dict[str, dict[str, Any]]:
    """The accuracies of a model card: on the images as they are, and under PGD.

    Args:
        classifier: what to measure.
        spec: the data set.
        data: the test images.
        progress: called with the number of attacked images done and to do.
    """
    attack = PGD.for_card(spec)
    attacked = data.first(min(len(data), CARD_IMAGES[spec.follows]))
    return {
        "benign": records.plain(accuracy(classifier, data)),
        "pgd": {
            **records.plain(robust_accuracy(classifier, attacked, attack, progress=progress)),
            "attack": attack.get_config(),
        },
    }
