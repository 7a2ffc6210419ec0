"""What attacks do beside the network: time and copies with a classifier that costs nothing.

The classifier is linear in eight pixels. A copy is an array that goes to the device, or a tensor that comes back. A
pass is a gradient, or a query, of one image. On images of 5 x 5 pixels next to nothing but Python is left of its time.
With --before the figures of another checkout, that this script has written there, stand beside them.
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any

import advkeras  # noqa: F401 - before TensorFlow, which it tells what to use

# isort: split
import numpy as np
import tensorflow as tf
from measuring import report
from tensorflow.python.framework.ops import EagerTensor

from advkeras.attacks import Attack, HopSkipJump, OptMargin, OptRegion, PenaltySearch, Square
from advkeras.models import Classifier

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--images", type=int, default=1_000)
parser.add_argument("--before", type=Path, metavar="FILE", help="copies.json of another checkout")
options = parser.parse_args()

SHAPE, SMALL, CLASSES = (28, 28, 1), (5, 5, 1), 10
PENALTY = PenaltySearch(learning_rate=0.2, initial_weight=0.2, weight_steps=4, distance_scale=255.0**2, patience=5)
ATTACKS: tuple[tuple[str, Attack], ...] = (
    ("OptMargin, penalty", OptMargin(member_rms=0.3, search=PENALTY)),
    ("OptMargin, decoupled", OptMargin(member_rms=0.3)),
    ("OptRegion", OptRegion(radius=0.3)),
    ("Square", Square(epsilon=0.02, queries=100)),
    ("HopSkipJump", HopSkipJump(queries=200)),
)


class Counted:
    """Counts what is copied between NumPy and TensorFlow, while it is entered."""

    copies = 0

    def __enter__(self) -> "Counted":
        self._numpy, self._graph = EagerTensor.numpy, Classifier.graph

        def numpy(tensor: Any) -> Any:
            self.copies += 1
            return self._numpy(tensor)

        def graph(classifier: Any, *arguments: Any, **settings: Any) -> Any:
            compiled = self._graph(classifier, *arguments, **settings)

            def called(*given: Any) -> Any:
                self.copies += sum(isinstance(each, np.ndarray) for each in tf.nest.flatten(given))
                return compiled(*given)

            return called

        EagerTensor.numpy, Classifier.graph = numpy, graph
        return self

    def __exit__(self, *_: object) -> None:
        EagerTensor.numpy, Classifier.graph = self._numpy, self._graph


def free_classifier(shape: tuple[int, int, int]) -> Classifier:
    """Linear in eight pixels."""
    weights = tf.constant(np.random.default_rng(0).standard_normal((8, CLASSES)), tf.float32)

    def logits(images: Any) -> Any:
        return tf.reshape(images, (-1, math.prod(shape)))[:, -8:] @ weights

    return Classifier(logits, bounds=(0.0, 1.0), input_shape=shape, name="free")


def measured(attack: Attack, shape: tuple[int, int, int]) -> tuple[int, float]:
    """Copies, and microseconds of a pass."""
    classifier = free_classifier(shape)
    images = np.random.default_rng(1).uniform(0, 1, (options.images, *shape)).astype(np.float32)
    labels = classifier.predict(images)
    attack(classifier, images[:20], labels[:20])  # compiles
    with Counted() as counted:
        result = attack(classifier, images, labels)
    return counted.copies, 1e6 * result.seconds / (result.gradient_count or result.forward_count)


before = {row["attack"]: row for row in json.loads(options.before.read_text())["rows"]} if options.before else {}
rows = []
for title, attack in ATTACKS:
    copies, whole = measured(attack, SHAPE)
    row: dict[str, Any] = {"attack": title, "copies": copies, "microseconds": whole}
    row["microseconds_5x5"] = measured(attack, SMALL)[1]
    old = before.get(title, {})
    rows.append(row | {f"{name}_before": old[name] for name in row if name in old and name != "attack"})
    print(rows[-1], flush=True)
report(
    "copies",
    f"With a classifier that costs nothing, {options.images:,} images: copies, and microseconds of a pass",
    rows,
    images=options.images,
)
