"""Minimum-norm searches with their usual budget against the least over large budgets and aims, image by image.

OptRegion as `evaluate` runs it; OptMargin with the decoupled search, which minimises equation (4), on all models; and
the penalty search, as OptBrittle. The large budgets are 4 and 16 times the gradients, and 4 times the gradients towards
each of the two nearest classes by a linear estimate. A search that finds nothing for an image counts as infinitely far;
an image for which the usual budget finds nothing is left out of the means. What is done is kept in a folder, so that a
run that was stopped goes on.
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from measuring import once, report

from advkeras.attacks import Attack, configure
from advkeras.datasets import LabelledImages, load_sample, registry
from advkeras.models import Classifier, zoo
from advkeras.searches import rivals
from advkeras.searches.ensembles import NO_AIM
from advkeras.searches.problem import Problem

BUDGETS, AIMED_BUDGET, AIMS = (4, 16), 4, 2
# Title, attack, what is changed in the protocol's parameters, and images of MNIST; half as many of CIFAR-10.
ATTACKS = (
    ("OptRegion", "optregion", {}, 24),
    ("OptMargin, decoupled", "optmargin", {"search": "decoupled"}, 12),
    ("OptBrittle, penalty", "optbrittle", {"search": "penalty"}, 12),
)

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--attacks", nargs="+", default=[title for title, *_ in ATTACKS], metavar="TITLE")
parser.add_argument("--kept", type=Path, default=Path(tempfile.gettempdir()) / "budgets", metavar="FOLDER")
parser.add_argument("--models", nargs="+", metavar="NAME", help="of the zoo; all by default")
options = parser.parse_args()


def nearest(classifier: Classifier, data: LabelledImages) -> Any:
    """The nearest wrong classes by a linear estimate: (N, AIMS)."""
    problem = Problem(data.images, data.labels.astype(np.int32), False, data.places)
    nowhere = np.full(len(data), NO_AIM, np.int32)
    return rivals.nearest(classifier, problem, nowhere, norm="l2", batch_size=256)[0][:, :AIMS]


def compared(title: str, usual: Attack, classifier: Classifier, data: LabelledImages) -> dict[str, Any]:
    """The row of an attack on a model."""
    classes = nearest(classifier, data)
    searches = [
        ("usual", 1, None),
        *((f"{factor} times the gradients", factor, None) for factor in BUDGETS),
        *((f"towards class {place + 1} by estimate", AIMED_BUDGET, classes[:, place]) for place in range(AIMS)),
    ]
    results = []
    for budget, factor, targets in searches:
        attack = usual.with_work(factor)
        results.append(attack(classifier, data.images, data.labels, targets, places=data.places))
        print(classifier.name, title, budget, results[-1].success.sum(), results[-1].average_distortion, flush=True)
    # A search towards a class also attacks the images that are misclassified.
    found = results[0].success
    distances = [np.where(each.success, each.distortion, np.inf)[found] for each in results]
    ours, least = distances[0], np.min(distances, axis=0)
    return {
        "attack": title,
        "model": classifier.name,
        "images": int(results[0].attacked.sum()),
        "success": int(found.sum()),
        "rms": float(ours.mean()),
        "least_rms": float(least.mean()),
        "ratio": float(ours.mean() / least.mean()),
        "median_ratio": float(np.median(ours / least)),
        "largest_ratio": float((ours / least).max()),
    }


rows = []
for title, attack, changed, examples in [each for each in ATTACKS if each[0] in options.attacks]:
    for name in options.models or [each for dataset in ("mnist", "cifar10") for each in zoo.names_for(dataset)]:
        classifier = Classifier.load(name)
        dataset = classifier.card.dataset
        data = load_sample(dataset).first(examples // (1 if dataset == "mnist" else 2))
        usual = configure(attack, registry.get(dataset), **changed)
        row = once(options.kept / f"{usual.name}-{name}.json", partial(compared, title, usual, classifier, data))
        del row["seconds"]
        rows.append(row)
        print(row, flush=True)
report("budgets", "Usual budgets against the least over large budgets and aims, image by image", rows)
