"""OptRegion's distortion with its usual budget against the least over large budgets and aims, image by image.

The large ones are 4 and 16 times the gradients, and 4 times the gradients towards each of the two nearest classes by a
linear estimate. A search that does not turn an image's vote counts as infinitely far; an image whose vote the usual
budget does not turn is left out of the means.
"""

import argparse
from typing import Any

import numpy as np
from measuring import report

from advkeras.attacks import configure
from advkeras.datasets import LabelledImages, load_sample, registry
from advkeras.models import Classifier, zoo
from advkeras.searches import rivals
from advkeras.searches.ensembles import NO_AIM
from advkeras.searches.problem import Problem

BUDGETS, AIMED_BUDGET, AIMS = (4, 16), 4, 2

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--examples", type=int, default=24, help="images of MNIST; half as many of CIFAR-10")
parser.add_argument("--models", nargs="+", metavar="NAME", help="of the zoo; all by default")
options = parser.parse_args()


def nearest(classifier: Classifier, data: LabelledImages) -> Any:
    """The nearest wrong classes by a linear estimate: (N, AIMS)."""
    problem = Problem(data.images, data.labels.astype(np.int32), False, data.places)
    nowhere = np.full(len(data), NO_AIM, np.int32)
    return rivals.nearest(classifier, problem, nowhere, norm="l2", batch_size=256)[0][:, :AIMS]


rows = []
for name in options.models or [each for dataset in ("mnist", "cifar10") for each in zoo.names_for(dataset)]:
    classifier = Classifier.load(name)
    dataset = classifier.card.dataset
    spec = registry.get(dataset)
    data = load_sample(dataset).first(options.examples // (1 if dataset == "mnist" else 2))
    usual = configure("optregion", spec)
    classes = nearest(classifier, data)
    searches = [
        ("usual", 1, None),
        *((f"{factor} times the gradients", factor, None) for factor in BUDGETS),
        *((f"towards class {place + 1} by estimate", AIMED_BUDGET, classes[:, place]) for place in range(AIMS)),
    ]
    results = []
    for title, factor, targets in searches:
        attack = configure("optregion", spec, gradients=factor * usual.gradients)
        results.append(attack(classifier, data.images, data.labels, targets, places=data.places))
        print(name, title, results[-1].success.sum(), results[-1].average_distortion, flush=True)
    turned = results[0].success
    distances = [np.where(each.success, each.distortion, np.inf)[turned] for each in results]
    ours, least = distances[0], np.min(distances, axis=0)
    rows.append(
        {
            "model": name,
            # A search towards a class also attacks the images that are misclassified.
            "images": int(results[0].attacked.sum()),
            "success": int(turned.sum()),
            "rms": float(ours.mean()),
            "least_rms": float(least.mean()),
            "ratio": float(ours.mean() / least.mean()),
            "median_ratio": float(np.median(ours / least)),
            "largest_ratio": float((ours / least).max()),
        }
    )
    print(rows[-1], flush=True)
report("region_budgets", "OptRegion against the least over large budgets and aims, image by image", rows)
