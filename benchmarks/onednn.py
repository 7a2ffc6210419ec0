"""A forward pass and a gradient of the zoo's networks with oneDNN, and without, as older processors have it.

Each is measured in processes of its own, in turns, since TensorFlow decides when it is imported.
"""

import argparse
import json
import os
import subprocess
import sys

import numpy as np
from measuring import alternating, report

from advkeras.datasets import load_sample
from advkeras.models import Classifier, zoo

SETTINGS = {"0": "without", "1": "with"}

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--batches", nargs="+", type=int, default=[16, 64], help="images at once")
parser.add_argument("--rounds", type=int, default=3, help="processes of each kind")
parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
options = parser.parse_args()


def passes() -> dict[str, float]:
    """Milliseconds of each network's passes, as this process has them."""
    import tensorflow as tf

    from advkeras.searches.gradients import loss_slope

    found = {}
    for name in (each for dataset in ("mnist", "cifar10") for each in zoo.names_for(dataset)):
        classifier = Classifier.load(name)
        sample = load_sample(classifier.card.dataset)
        forward = tf.function(classifier, autograph=False)
        gradient = tf.function(
            lambda images, labels, classifier=classifier: loss_slope(classifier, images, labels, targeted=False),
            autograph=False,
        )
        for batch in options.batches:
            images, labels = tf.constant(sample.images[:batch]), tf.constant(sample.labels[:batch].astype(np.int32))
            times = alternating(
                {"forward": lambda: forward(images), "gradient": lambda: gradient(images, labels)}, rounds=9
            )
            found |= {f"{name} {batch} {kind}": 1e3 * value for kind, value in times.items()}
    return found


def main() -> None:
    """Measures in processes, and reports."""
    runs: dict[str, list[dict[str, float]]] = {setting: [] for setting in SETTINGS}
    for _ in range(options.rounds):
        for setting, found in runs.items():
            environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": setting}
            command = [sys.executable, *sys.argv, "--measure"]
            done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
            found.append(json.loads(done.stdout))
    rows = []
    for key in runs["0"][0]:
        name, batch, kind = key.split()
        without, used = (float(np.median([run[key] for run in runs[setting]])) for setting in SETTINGS)
        row = {"model": name, "images": int(batch), "pass": kind, "without_ms": without, "with_ms": used}
        rows.append({**row, "ratio": used / without})
    report("onednn", "Passes with oneDNN over those without", rows)


if __name__ == "__main__":
    if options.measure:
        print(json.dumps(passes()))
    else:
        main()
