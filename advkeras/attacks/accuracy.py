"""Accuracy of a classifier on images as they are, and under an attack."""

from advkeras.attacks.base import Attack, Progress
from advkeras.datasets import LabelledImages
from advkeras.models import Classifier
from advkeras.proportion import Proportion


def accuracy(classifier: Classifier, data: LabelledImages) -> Proportion:
    """The share of images that are classified correctly."""
    return Proportion(int((classifier.predict(data.images) == data.labels).sum()), len(data))


def robust_accuracy(
    classifier: Classifier, data: LabelledImages, attack: Attack, *, progress: Progress | None = None
) -> Proportion:
    """The share of images that are still classified correctly after an attack, those wrong before it counted wrong."""
    result = attack(classifier, data.images, data.labels, progress=progress)
    return Proportion(int((result.predictions == data.labels).sum()), len(data))
