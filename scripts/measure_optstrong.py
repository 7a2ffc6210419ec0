"""Measures what more gradients bring OptStrong on mnist-pgd; writes docs/results/optstrong_budgets.json.

    python scripts/measure_optstrong.py

Its goal is a lead of 40 logits, several times a benign image's. About three minutes on two cores.
"""

import json
from pathlib import Path

import numpy as np

from advkeras import provenance
from advkeras.attacks import configure
from advkeras.datasets import MNIST, load_sample
from advkeras.models import Classifier

TARGET = Path(__file__).parents[1] / "docs" / "results" / "optstrong_budgets.json"
EXAMPLES, BUDGETS = 100, (200, 400, 800)

classifier = Classifier.load("mnist-pgd")
data = load_sample("mnist").first(EXAMPLES)
results = {
    budget: configure("optstrong", MNIST.constants, gradients=budget)(classifier, data.images, data.labels)
    for budget in BUDGETS
}
common = np.all([result.success for result in results.values()], axis=0)
document = {
    "model": "mnist-pgd",
    "images": EXAMPLES,
    "success_with_all": int(common.sum()),
    "by_gradients": {
        str(budget): {
            "success": int(result.success.sum()),
            "rms": float(result.distortion[result.success].mean()),
            "rms_where_all_succeed": float(result.distortion[common].mean()),
        }
        for budget, result in results.items()
    },
    "versions": provenance.versions(),
    "device": provenance.device(),
}
TARGET.write_text(json.dumps(document, indent=2) + "\n")
print(json.dumps(document, indent=2))
