"""OptBrittle's distortion by its budget, against other libraries' minimum-norm attacks at 1,000 gradients an image.

The images and the peers' distances are those of results/minimum_norm_peers.json. "of best peer" is the mean RMS over
that of the peer with the least; "of least" that over the least, image by image, of all the peers and of all the budgets
here. On each of them every attack fools all images, or the row says how many it does not. The settings of the search
were chosen on other images.
"""

import argparse
import json
from typing import Any

import numpy as np
from measuring import RESULTS, report

from advkeras.attacks import DecoupledSearch, OptBrittle
from advkeras.datasets import load_sample
from advkeras.models import Classifier

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--budgets", nargs="+", type=int, default=[50, 100, 200, 400], help="gradients of each image")
options = parser.parse_args()


def distances(values: list[float | None]) -> Any:
    """As an array, infinite where there is none."""
    return np.array([np.inf if value is None else value for value in values])


measured = json.loads((RESULTS / "minimum_norm_peers.json").read_text())["models"]
rows, ratios = [], {}
for name, peers in measured.items():
    classifier = Classifier.load(name)
    sample = load_sample(classifier.card.dataset)
    images, labels = sample.images[peers["images"]], sample.labels[peers["images"]]
    found, seconds, gradients = {}, {}, {}
    for budget in options.budgets:
        result = OptBrittle(search=DecoupledSearch(gradients=budget))(
            classifier, images, labels, places=peers["images"]
        )
        found[budget] = np.where(result.success, result.distortion, np.inf)
        seconds[budget], gradients[budget] = result.seconds, result.gradient_count / len(images)
    theirs = {peer: distances(each["rms"]) for peer, each in peers["peers"].items()}
    best = min(theirs, key=lambda peer: theirs[peer].mean())
    least = np.min([*theirs.values(), *found.values()], axis=0)
    for budget, ours in found.items():
        ratios[name, budget] = float(ours.mean() / theirs[best].mean())
        rows.append(
            {
                "model": name,
                "gradients": budget,
                "taken": round(gradients[budget]),
                "images": len(ours),
                "success": int(np.isfinite(ours).sum()),
                "rms": float(ours.mean()),
                "best_peer": f"{best.split(', ')[1]} {theirs[best].mean():.4g}",
                "of_best_peer": ratios[name, budget],
                "of_least": float(ours.mean() / least.mean()),
                "seconds": round(seconds[budget], 1),
            }
        )
        print(rows[-1], flush=True)
means = {
    str(budget): float(f"{np.mean([ratios[name, budget] for name in measured]):.4g}") for budget in options.budgets
}
print("mean of the models' ratios to their best peer:", means)
report("minimum_norm", "OptBrittle by its budget, against peers at 1,000 gradients", rows, mean_of_best_peer=means)
