"""What attacks do beside the network: time and copies with a classifier that costs nothing.

The classifier is linear in eight pixels. A copy is an array that goes to the device, or a tensor that comes back;
"steps" are batches of gradients, or of queries. With --before the figures of another checkout, that this script has
written there, stand beside them.
"""

import argparse
import json
from pathlib import Path
from typing import Any

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

SHAPE, CLASSES = (28, 28, 1), 10
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


def free_classifier() -> Classifier:
    """Linear in eight pixels."""
    weights = tf.constant(np.random.default_rng(0).standard_normal((8, CLASSES)), tf.float32)
    return Classifier(
        lambda images: images[:, 14, 10:18, 0] @ weights, bounds=(0.0, 1.0), input_shape=SHAPE, name="free"
    )


before = {row["attack"]: row for row in json.loads(options.before.read_text())["rows"]} if options.before else {}
images = np.random.default_rng(1).uniform(0, 1, (options.images, *SHAPE)).astype(np.float32)
rows = []
for title, attack in ATTACKS:
    classifier = free_classifier()
    labels = classifier.predict(images)
    attack(classifier, images[:20], labels[:20])  # compiles
    with Counted() as counted:
        result = attack(classifier, images, labels)
    passes = result.gradient_count or result.forward_count
    row = {
        "attack": title,
        "copies": counted.copies,
        "seconds": result.seconds,
        "microseconds_a_pass": 1e6 * result.seconds / passes,
    }
    if title in before:
        old = before[title]
        row["copies_before"], row["microseconds_before"] = old["copies"], old["microseconds_a_pass"]
    rows.append(row)
    print(row, flush=True)
report("copies", f"With a classifier that costs nothing, {options.images:,} images", rows, images=options.images)
