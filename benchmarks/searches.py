"""(c) Distortion, region accuracy and cost of the searches that evade region classification.

The published search is OptMargin as the authors' code runs it (4 x 1,000 iterations, squared distance divided by
255^2); it takes a minute an image, so it is run on few images, and stopped when nothing improves on all of them.
"""

import argparse
from typing import Any

import numpy as np
from common import digits, models, report

from advkeras.attacks import configure
from advkeras.datasets import MNIST
from advkeras.defenses.region_classification import RegionClassification
from advkeras.proportion import Proportion

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--examples", type=int, default=100)
parser.add_argument("--published", type=int, default=2, help="images for the published search in full")
options = parser.parse_args()

# The protocol's parameters, with and without the rule that stops when nothing improves, and what is changed in them.
SEARCHES: tuple[tuple[str, str, bool, dict[str, Any]], ...] = (
    ("published, in full", "optmargin", True, {}),
    ("published, stopped when nothing improves", "optmargin", False, {}),
    ("equation (4) as printed", "optmargin", True, {"distance_scale": 1.0, "weight_steps": 1, "iterations": 200}),
    ("decoupled, 20 fixed members", "optmargin", False, {"search": "decoupled", "steps": 100}),
    ("OptRegion", "optregion", False, {}),
    ("OptRegion, twice the steps", "optregion", False, {"steps": 100}),
)

rows, references = [], {}
for classifier in models():
    region = RegionClassification(classifier, radius=MNIST.constants.region_radius, samples=100, seed=20_000)
    for title, name, full_search, overrides in SEARCHES:
        data = digits(options.published if title == SEARCHES[0][0] else options.examples)
        result = configure(name, MNIST.constants, full_search=full_search, **overrides)(
            classifier, data.images, data.labels
        )
        right = Proportion(int((region.predict(result.adversarials)["class"] == data.labels).sum()), len(data))
        low, high = right.interval()
        if title == SEARCHES[1][0]:
            references[classifier.name] = result
        reference = references.get(classifier.name)
        both = result.success & reference.success if reference is not None else None
        ratio = (
            float(result.distortion[both].mean() / reference.distortion[both].mean()) if reference is not None else None
        )
        attacked = max(1, int(result.attacked.sum()))
        rows.append(
            {
                "model": classifier.name,
                "search": title,
                "images": len(data),
                "success": int(result.success.sum()),
                "rms": float(np.mean(result.distortion[result.success])),
                "of_published": "-" if ratio is None else ratio,
                "region_%": f"{100 * right.rate:.0f} [{100 * low:.0f}, {100 * high:.0f}]",
                "gradients": round(result.gradient_count / attacked),
                "forwards": round(result.forward_count / attacked),
                "seconds": round(result.seconds, 1),
            }
        )
        print(rows[-1], flush=True)
report("searches", "Evading region classification, MNIST", rows, region={"radius": 0.3, "samples": 100})
