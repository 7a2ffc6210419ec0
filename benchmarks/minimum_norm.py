"""OptBrittle's or OptLinf's distortion by its budget, against other libraries' attacks at 1,000 gradients an image.

The images and the peers' distances are those of results/minimum_norm_peers.json, or minimum_norm_peers_linf.json. "of
best peer" is the mean distortion over that of the peer with the least; "of least" that over the least, image by image,
of all the peers and of all the budgets here. On each of them every attack fools all images, or the row says how many it
does not. The settings of the searches were chosen on other images.

A second table has AttackBench's optimality (Cinà et al., AAAI 2025) of all of them: 1 where an attack finds the least
distortion that any of them found on every image, 0 where it finds nothing.
"""

import argparse
import json
from typing import Any

import numpy as np
from measuring import RESULTS, report

from advkeras.attacks import DecoupledSearch, OptBrittle, OptLinf
from advkeras.datasets import load_sample
from advkeras.models import Classifier

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--norm", default="l2", choices=("l2", "linf"))
parser.add_argument("--budgets", nargs="+", type=int, default=[50, 100, 200, 400], help="gradients of each image")
options = parser.parse_args()

attack, called, ending = {"l2": (OptBrittle, "rms", ""), "linf": (OptLinf, "linf", "_linf")}[options.norm]


def distances(values: list[float | None]) -> Any:
    """As an array, infinite where there is none."""
    return np.array([np.inf if value is None else value for value in values])


def optimality(found: Any, least: Any) -> float:
    """AttackBench's, from distances (N,) and the least of all attacks (N,), on images that are classified correctly.

    The area under the accuracy that is left within a distance, up to the largest of the least ones, is the mean of the
    distances, cut off there.
    """
    end = least.max()
    return float(1 - (np.minimum(found, end) - least).mean() / (end - least.mean()))


def searched(classifier: Classifier, places: list[int], budget: int) -> tuple[Any, float, float]:
    """Distances, infinite where nothing was found; seconds; gradients that an image took on average."""
    sample = load_sample(classifier.card.dataset)
    search = attack(search=DecoupledSearch(gradients=budget, norm=options.norm))
    result = search(classifier, sample.images[places], sample.labels[places], places=places)
    found = search.distance(result.adversarials - result.images)
    return np.where(result.success, found, np.inf), result.seconds, result.gradient_count / len(places)


measured = json.loads((RESULTS / f"minimum_norm_peers{ending}.json").read_text())["models"]
rows, ratios, optimal = [], {}, {}
for name, peers in measured.items():
    classifier = Classifier.load(name)
    runs = {budget: searched(classifier, peers["images"], budget) for budget in options.budgets}
    found = {budget: run[0] for budget, run in runs.items()}
    theirs = {peer: distances(each[called]) for peer, each in peers["peers"].items()}
    best = min(theirs, key=lambda peer: theirs[peer].mean())
    least = np.min([*theirs.values(), *found.values()], axis=0)
    together = {f"{attack.title}, {budget} gradients": values for budget, values in found.items()} | theirs
    optimal[name] = {each: optimality(values, least) for each, values in together.items()}
    for budget, (ours, seconds, gradients) in runs.items():
        ratios[name, budget] = float(ours.mean() / theirs[best].mean())
        rows.append(
            {
                "model": name,
                "gradients": budget,
                "taken": round(gradients),
                "images": len(ours),
                "success": int(np.isfinite(ours).sum()),
                called: float(ours.mean()),
                "best_peer": f"{best.split(', ')[1]} {theirs[best].mean():.4g}",
                "of_best_peer": ratios[name, budget],
                "of_least": float(ours.mean() / least.mean()),
                "seconds": round(seconds, 1),
            }
        )
        print(rows[-1], flush=True)
means = {
    str(budget): float(f"{np.mean([ratios[name, budget] for name in measured]):.4g}") for budget in options.budgets
}
print("mean of the models' ratios to their best peer:", means)
report(
    f"minimum_norm{ending}",
    f"{attack.title} by its budget, against peers at 1,000 gradients",
    rows,
    mean_of_best_peer=means,
)
scores = [
    {"attack": each, **{name: optimal[name][each] for name in optimal}}
    | {"mean": float(np.mean([optimal[name][each] for name in optimal]))}
    for each in next(iter(optimal.values()))
]
scores.sort(key=lambda row: -row["mean"])
report(f"optimality{ending}", f"Optimality of searches for the least {called}", scores)
