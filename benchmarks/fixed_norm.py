"""What fixed-norm attacks leave of the adversarially trained models at the protocol's epsilon, and what more work adds.

The quick protocol's PGD beside the same with 5 restarts of 200 steps, OptLinf with its budget and with twice as much,
and what the quick attacks leave together. Settings were chosen on other images.
"""

import argparse

import numpy as np
from measuring import report

from advkeras.attacks import configure
from advkeras.datasets import load_sample, registry
from advkeras.models import Classifier

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--examples", type=int, default=200, help="images of each data set's sample")
options = parser.parse_args()

# Title, attack, and what is changed in the protocol's parameters; the quick ones come first.
ATTACKS = (
    ("PGD", "pgd", {}),
    ("OptLinf", "optlinf", {}),
    ("PGD, 5 restarts of 200 steps", "pgd", {"restarts": 5, "iterations": 200}),
    ("OptLinf, twice the gradients", "optlinf", {"gradients": 200}),
)
QUICK = 2

rows = []
for name in ("mnist-pgd", "cifar10-pgd"):
    classifier = Classifier.load(name)
    spec = registry.get(classifier.card.dataset)
    data = load_sample(spec.name).first(options.examples)
    epsilon, tolerance = spec.constants.epsilon, 1e-5 * (spec.bounds[1] - spec.bounds[0])
    left = []
    for title, attack, changed in ATTACKS:
        result = configure(attack, spec.constants, **changed)(classifier, data.images, data.labels)
        within = np.abs(result.adversarials - data.images).max(axis=(1, 2, 3)) <= epsilon + tolerance
        left.append((result.benign_predictions == data.labels) & ~(result.success & within))
        rows.append(
            {
                "model": name,
                "attack": title,
                "epsilon": epsilon,
                "right_%": 100 * float(left[-1].mean()),
                "gradients": round(result.gradient_count / len(data)),
                "seconds": round(result.seconds, 1),
            }
        )
        print(rows[-1], flush=True)
    together = np.all(left[:QUICK], axis=0)
    rows.append(
        {
            "model": name,
            "attack": "PGD and OptLinf together",
            "epsilon": epsilon,
            "right_%": 100 * float(together.mean()),
            "gradients": sum(row["gradients"] for row in rows[-len(ATTACKS) :][:QUICK]),
            "seconds": None,
        }
    )
report("fixed_norm", f"Accuracy left at epsilon, {options.examples} images", rows)
