"""What half precision hides from attacks: the zoo's networks in float16, with a softmax, beside the same in float32.

Share of the pixels whose gradient is zero: of the cross-entropy of the float16 probabilities, of the margin of the
float16 logits as TensorFlow's tape gives it, of the margin as the classifier gives it, and in float32. Then successes
of the protocol's attacks on the classifier, and on the float32 network; of FGSM, which costs a gradient, on the whole
sample. On images that the network classifies correctly in both.
"""

import argparse
from collections.abc import Callable
from typing import Any

import advkeras  # noqa: F401 - before TensorFlow, which it tells what to use

# isort: split
import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from measuring import report
from zoo_copies import keras_copy

from advkeras.attacks import configure
from advkeras.datasets import load_sample, registry
from advkeras.models import Classifier, zoo
from advkeras.searches.gradients import adversarial_margin

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--examples", type=int, default=100, help="of each data set's sample; FGSM takes all")
options = parser.parse_args()

ATTACKS = ("fgsm", "pgd", "optbrittle")


def zeros(loss: Callable[[Any], Any], images: npt.NDArray[np.float32]) -> float:
    """Share of the pixels whose gradient of a loss is zero."""
    points = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(points)
        value = loss(points)
    return float(np.mean(tape.gradient(value, points).numpy() == 0))


rows = []
for dataset in ("mnist", "cifar10"):
    spec, sample = registry.get(dataset), load_sample(dataset)
    for name in zoo.names_for(dataset):
        full = Classifier.load(name)
        network = keras_copy(full, dataset, "float16")
        softmax = keras.layers.Softmax(dtype="float16")
        model = keras.Sequential([keras.Input(full.input_shape), network, softmax])
        half = Classifier.from_keras(model, bounds=full.bounds, name=f"{name}, float16")
        right = (half.predict(sample.images) == sample.labels) & (full.predict(sample.images) == sample.labels)
        whole = sample.where(right)
        few = whole.where(whole.places < options.examples)
        images, labels = few.images, few.labels
        classes = tf.constant(labels, tf.int32)

        def margin(logits: Any, classes: Any = classes) -> Any:
            """How far logits are on the attacker's side."""
            return adversarial_margin(tf.cast(logits, tf.float32), classes, targeted=False)

        def cross_entropy(points: Any, model: Any = model, classes: Any = classes) -> Any:
            """Of the float16 probabilities."""
            return keras.losses.sparse_categorical_crossentropy(classes, tf.cast(model(points), tf.float32))

        row: dict[str, Any] = {
            "model": name,
            "images": len(images),
            "logits_from": half.reading.how,
            "zero_probabilities": zeros(cross_entropy, images),
            "zero_float16": zeros(lambda points, network=network: margin(network(points)), images),
            "zero_classifier": zeros(lambda points, half=half: margin(half(points)), images),
            "zero_float32": zeros(lambda points, full=full: margin(full(points)), images),
        }
        row["fgsm_images"] = len(whole)
        for attack, data in ((configure(each, spec), whole if each == "fgsm" else few) for each in ATTACKS):
            ours, theirs = (attack(each, data.images, data.labels, places=data.places) for each in (half, full))
            row[f"{attack.name}_float16"] = int(ours.success.sum())
            row[f"{attack.name}_float32"] = int(theirs.success.sum())
        rows.append(row)
        print(row, flush=True)
report("half_precision", "Zero gradients and successes in float16 and in float32", rows)
