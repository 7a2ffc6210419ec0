"""What fixed-norm attacks leave of the adversarially trained models at the protocol's epsilon, and what more work adds.

The quick protocol's PGD beside the same with 5 restarts of 200 steps, OptLinf with its budget and with twice as much,
and what the quick attacks leave together: on the first images of the test sets, and on the first that are not in the
shipped samples. Settings were chosen on images of the samples: MNIST's 301st to 900th, CIFAR-10's 101st to 250th.
Prepare the full sets first (`advkeras datasets prepare`).
"""

import argparse
from typing import Any

import numpy as np
from measuring import beyond_sample, report

from advkeras.arrays import linf, slack
from advkeras.attacks import configure
from advkeras.datasets import load_sample, registry
from advkeras.models import Classifier

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--examples", type=int, default=200, help="images of each kind")
options = parser.parse_args()

# Title, attack, and what is changed in the protocol's parameters; the quick ones come first.
ATTACKS = (
    ("PGD", "pgd", {}),
    ("OptLinf", "optlinf", {}),
    ("PGD, 5 restarts of 200 steps", "pgd", {"restarts": 5, "iterations": 200}),
    ("OptLinf, twice the gradients", "optlinf", {"gradients": 200}),
)
QUICK = 2

rows: list[dict[str, Any]] = []


def measure(name: str, beyond: bool) -> None:
    """Adds the rows of a model on images of the shipped sample, or on images beyond it."""
    classifier = Classifier.load(name)
    spec = registry.get(classifier.card.dataset)
    data = beyond_sample(spec.name, options.examples) if beyond else load_sample(spec.name).first(options.examples)
    epsilon = spec.epsilon
    images = f"{data.places[0] + 1} to {data.places[-1] + 1}"
    left = []

    def add(attack: str, right: Any, gradients: int, seconds: float | None) -> None:
        row = {"model": name, "images": images, "attack": attack, "epsilon": epsilon}
        rows.append({**row, "right_%": 100 * float(right.mean()), "gradients": gradients, "seconds": seconds})
        print(rows[-1], flush=True)

    for title, attack, changed in ATTACKS:
        result = configure(attack, spec, **changed)(classifier, data.images, data.labels, places=data.places)
        within = linf(result.adversarials - data.images) <= epsilon + slack(spec.bounds)
        left.append((result.benign_predictions == data.labels) & ~(result.success & within))
        add(title, left[-1], round(result.gradient_count / len(data)), round(result.seconds, 1))
    gradients = sum(row["gradients"] for row in rows[-len(ATTACKS) :][:QUICK])
    add("PGD and OptLinf together", np.all(left[:QUICK], axis=0), gradients, None)


for beyond in (False, True):
    for name in ("mnist-pgd", "cifar10-pgd"):
        measure(name, beyond)
report("fixed_norm", f"Accuracy left at epsilon, {options.examples} images", rows)
