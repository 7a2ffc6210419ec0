"""(h) Whether the quick search for decision boundaries shows what the paper's shows, on mnist-natural.

Quick: 400 directions, 5 steps at a time. Paper: 1,568 directions, step by step. Around the same images: benign ones
and what attacks make of them. The curves that are compared are those of the figure of sorted distances, as shares of
the search's reach: distance against the share of the directions, the mean over images, cut off at the reach. "Between
two draws" holds a second draw of 400 directions against the first; "walks alike" are those of the quick search that
end at the same step, in the same class, when they are made step by step.
"""

from dataclasses import replace

import numpy as np
from measuring import digits, report

from advkeras.attacks import configure
from advkeras.boundary import purity
from advkeras.datasets import MNIST
from advkeras.evaluation.protocol import boundary_search
from advkeras.models import Classifier

COUNT = 8
SHARES = np.linspace(0, 1, 101)


def curve(found, reach):
    """Mean over images of the sorted distances, as shares of the reach, at each percent of the directions."""
    cut = np.minimum(found.distances, reach) / reach
    return np.quantile(cut, SHARES, axis=1).mean(axis=1)


def compared(kind, classifier, images):
    """One row: the quick search against the paper's, around images of one kind."""
    quick = boundary_search(MNIST)
    searches = {
        "paper": boundary_search(MNIST, mode="paper"),
        "quick": quick,
        "again": replace(quick, seed=1),
        "every": replace(quick, stride=1),
    }
    for search in searches.values():
        search(classifier, images[:1])  # compiles it
    found = {name: search(classifier, images) for name, search in searches.items()}
    curves = {name: curve(boundaries, quick.reach) for name, boundaries in found.items()}
    purities = {name: np.nanmean(purity(found[name].adjacent, 10), axis=0) for name in found}
    alike = (found["quick"].distances == found["every"].distances) & (
        found["quick"].adjacent == found["every"].adjacent
    )
    return {
        "images": f"{kind} ({len(images)})",
        "curves,_largest_difference": float(np.abs(curves["quick"] - curves["paper"]).max()),
        "mean": float(np.abs(curves["quick"] - curves["paper"]).mean()),
        "largest_between_two_draws": float(np.abs(curves["quick"] - curves["again"]).max()),
        "walks_alike_%": float(100 * alike.mean()),
        "purity_1,_paper": float(purities["paper"][0]),
        "quick": float(purities["quick"][0]),
        "purity_3,_paper": float(purities["paper"][2]),
        "quick ": float(purities["quick"][2]),
        "s/image,_paper": found["paper"].seconds / len(images),
        "quick  ": found["quick"].seconds / len(images),
    }


classifier = Classifier.load("mnist-natural")
data = digits(COUNT)
right = data.where(classifier.predict(data.images) == data.labels)
rows = [compared("benign", classifier, right.images)]
for name in ("optbrittle", "optmargin", "optregion", "optmimic"):
    result = configure(name, MNIST)(classifier, right.images, right.labels)
    rows.append(compared(name, classifier, result.adversarials[result.success]))
report(
    "directions", "The quick search for boundaries (400 directions, 5 steps at a time) against the paper's, MNIST", rows
)
