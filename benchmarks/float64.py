"""Whether float32 hides anything from FGSM and PGD: their successes on the zoo and on float64 copies of its networks.

The attacks are the protocol's, on the whole shipped sample. A copy has the same weights; pixels become float64 where
they come in, and logits float32 where they go out. A difference between the two columns is one of rounding.

It may also be one of the network: where maxima are tied, as on a digit's even background, the gradient jumps, and which
side of the jump it is taken from is rounding's choice. So FGSM's points are compared, too, at the images and at images
moved off them by noise too small to see.
"""

import argparse
from dataclasses import replace
from typing import Any

import advkeras  # noqa: F401 - before TensorFlow, which it tells what to use

# isort: split
import numpy as np
import tensorflow as tf
from measuring import report
from zoo_copies import keras_copy

from advkeras.attacks import AttackResult, configure
from advkeras.datasets import LabelledImages, load_sample, registry
from advkeras.models import Classifier, zoo

# How far logits of the two may be apart.
_TOLERANCE = 1e-3
_OTHER_BATCH = 100
# How far images are moved off their ties, over the range.
_BESIDE = 1e-3
# Adversarials that are so far apart, over the largest pixel, are not the same.
_APART = 1e-5

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--examples", type=int, default=1000, help="of each data set's sample, at most")
options = parser.parse_args()


def in_float64(classifier: Classifier, dataset: str) -> Classifier:
    """The same network with the same weights, computed in float64."""
    network = keras_copy(classifier, dataset, "float64")
    return Classifier(
        lambda images: tf.cast(network(tf.cast(images, tf.float64), training=False), tf.float32),
        bounds=classifier.bounds,
        input_shape=classifier.input_shape,
        name=f"{classifier.name}, float64",
        model=network,
    )


def moved(data: LabelledImages, bounds: tuple[float, float]) -> LabelledImages:
    """The same images, moved by a little noise."""
    low, high = bounds
    noise = np.random.default_rng(0).uniform(-1, 1, data.images.shape) * _BESIDE * (high - low)
    return replace(data, images=np.clip(data.images + noise, low, high).astype(np.float32))


def other_points(first: AttackResult, second: AttackResult) -> int:
    """Of how many images two results' adversarials differ by more than rounding."""
    apart = np.abs(first.adversarials - second.adversarials).max(axis=(1, 2, 3))
    return int((apart > _APART * np.abs(first.adversarials).max()).sum())


rows = []
for dataset in ("mnist", "cifar10"):
    sample = load_sample(dataset)
    data = sample.first(min(options.examples, len(sample)))
    for name in zoo.names_for(dataset):
        classifier = Classifier.load(name)
        copy = in_float64(classifier, dataset)
        apart = float(np.abs(copy.logits(data.images) - classifier.logits(data.images)).max())
        if not apart < _TOLERANCE:
            raise SystemExit(f"logits of {name} and its copy differ by {apart}")
        for attack in (configure(each, registry.get(dataset)) for each in ("fgsm", "pgd")):
            ours, exact = (attack(each, data.images, data.labels) for each in (classifier, copy))
            points: dict[str, Any] = {"other_points": None, "other_points_beside": None}
            if attack.name == "fgsm":
                near = moved(data, classifier.bounds)
                beside = [attack(each, near.images, near.labels) for each in (classifier, copy)]
                points = {"other_points": other_points(ours, exact), "other_points_beside": other_points(*beside)}
            again = replace(attack, batch_size=_OTHER_BATCH)(classifier, data.images, data.labels)
            rows.append(
                {
                    "model": name,
                    "attack": attack.title,
                    "attacked": int(ours.attacked.sum()),
                    "float32": int(ours.success.sum()),
                    "float64": int(exact.success.sum()),
                    "differ": int((ours.success != exact.success).sum()),
                    "differ_in_other_batches": int((ours.success != again.success).sum()),
                    **points,
                    "logits_apart_by": apart,
                }
            )
            print(rows[-1], flush=True)
report("float64", "FGSM and PGD on networks in float32 and in float64", rows)
