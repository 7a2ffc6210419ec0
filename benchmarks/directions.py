"""(h) Whether 200 directions show what the paper's 1,568 show, on mnist-natural.

Around the same images: benign ones and what attacks make of them. The curves that are compared are those of the figure
of sorted distances: distance against the share of the directions, the mean over images, cut off at the search's reach.
"Between two draws" holds a second draw of 200 directions against the first.
"""

from dataclasses import replace

import numpy as np
from measuring import digits, report

from advkeras.attacks import configure
from advkeras.boundary import purity
from advkeras.datasets import MNIST
from advkeras.evaluation.protocol import boundary_search
from advkeras.models import Classifier

COUNT = 10
SHARES = np.linspace(0, 1, 101)


def curve(found, reach):
    """Mean over images of the sorted distances, at each percent of the directions."""
    cut = np.minimum(found.distances, reach)
    return np.quantile(cut, SHARES, axis=1).mean(axis=1)


classifier = Classifier.load("mnist-natural")
data = digits(COUNT)
right = data.where(classifier.predict(data.images) == data.labels)
kinds = {"benign": right.images}
for name in ("optbrittle", "optmargin", "optregion", "optmimic"):
    result = configure(name, MNIST.constants)(classifier, right.images, right.labels)
    kinds[name] = result.adversarials[result.success]
quick = boundary_search(MNIST)
searches = {"paper": boundary_search(MNIST, mode="paper"), "quick": quick, "again": replace(quick, seed=1)}
rows = []
for kind, images in kinds.items():
    found = {name: search(classifier, images) for name, search in searches.items()}
    curves = {name: curve(boundaries, quick.reach) for name, boundaries in found.items()}
    purities = {name: np.nanmean(purity(found[name].adjacent, 10), axis=0) for name in found}
    rows.append(
        {
            "images": f"{kind} ({len(images)})",
            "largest_difference_of_curves": float(np.abs(curves["quick"] - curves["paper"]).max()),
            "mean_difference": float(np.abs(curves["quick"] - curves["paper"]).mean()),
            "largest_between_two_draws": float(np.abs(curves["quick"] - curves["again"]).max()),
            "purity_1, 1,568": float(purities["paper"][0]),
            "purity_1, 200": float(purities["quick"][0]),
            "purity_3, 1,568": float(purities["paper"][2]),
            "purity_3, 200": float(purities["quick"][2]),
            "seconds_per_image, 1,568": found["paper"].seconds / len(images),
            "seconds_per_image, 200": found["quick"].seconds / len(images),
        }
    )
report("directions", "200 directions against 1,568, mnist-natural, distances in RMS up to 0.5", rows)
