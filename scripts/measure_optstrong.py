"""Measures what more gradients bring OptStrong; writes docs/results/optstrong_budgets.json.

    python scripts/measure_optstrong.py

Its goal is a lead of 40 logits, several times a benign image's. On the first 100 images of MNIST's test set and the
first 50 of CIFAR-10's; about five minutes on two cores.
"""

from typing import Any

import numpy as np
from documents import write

from advkeras.attacks import configure
from advkeras.datasets import load_sample, registry
from advkeras.models import Classifier

# The models on whose pages more gradients are spoken of, and how many of their images.
EXAMPLES, BUDGETS = {"mnist-pgd": 100, "cifar10-natural": 50}, (200, 400, 800)


def by_budget(name: str, examples: int) -> dict[str, Any]:
    """What the file says of a model."""
    classifier = Classifier.load(name)
    dataset = name.split("-", maxsplit=1)[0]
    data = load_sample(dataset).first(examples)
    results = {
        budget: configure("optstrong", registry.get(dataset), gradients=budget)(classifier, data.images, data.labels)
        for budget in BUDGETS
    }
    common = np.all([result.success for result in results.values()], axis=0)
    return {
        "images": examples,
        "attacked": int(results[BUDGETS[0]].attacked.sum()),
        "success_with_all": int(common.sum()),
        "by_gradients": {
            str(budget): {
                "success": int(result.success.sum()),
                "rms": float(result.distortion[result.success].mean()),
                "rms_where_all_succeed": float(result.distortion[common].mean()),
            }
            for budget, result in results.items()
        },
    }


write("optstrong_budgets", {"models": {name: by_budget(name, examples) for name, examples in EXAMPLES.items()}})
