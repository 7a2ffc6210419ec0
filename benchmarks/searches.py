"""(c) Distortion, region accuracy and cost of the searches that evade region classification.

The published search is OptMargin as the authors' code runs it (4 x 1,000 iterations, squared distance divided by
255^2). It takes most of a minute an image, so in full it is run on few images; "of published" compares mean RMS with
that of the same search, stopped when nothing improves, on the images where both succeed.

The settings of OptRegion and of the decoupled search were chosen on the first 400 and the last 300 images of the
sample, so the images here are those from the 501st on.
"""

import argparse
from typing import Any

from measuring import digits, mean, models, report

from advkeras.attacks import configure
from advkeras.datasets import MNIST
from advkeras.defenses.region_classification import RegionClassification
from advkeras.proportion import Proportion

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--examples", type=int, default=100)
parser.add_argument("--skip", type=int, default=500, help="images of the sample left out at its beginning")
parser.add_argument("--slow-examples", type=int, default=50, help="images for what takes seconds an image")
parser.add_argument("--slowest-examples", type=int, default=2, help="images for the published search in full")
options = parser.parse_args()

PUBLISHED, IN_FULL = "published, stopped when nothing improves", "published, in full"
EQUATION_4, DECOUPLED = "equation (4), 3 weights of 100 iterations", "decoupled, 20 fixed members"
COUNTS = {
    IN_FULL: options.slowest_examples,
    EQUATION_4: options.slow_examples,
    DECOUPLED: options.slow_examples,
}
# The protocol's parameters, with and without the rule that stops when nothing improves, and what is changed in them.
SEARCHES: tuple[tuple[str, str, bool, dict[str, Any]], ...] = (
    (PUBLISHED, "optmargin", False, {}),
    (IN_FULL, "optmargin", True, {}),
    (
        EQUATION_4,
        "optmargin",
        True,
        {"search": "penalty", "distance_scale": 1.0, "weight_steps": 3, "iterations": 100},
    ),
    (DECOUPLED, "optmargin", False, {"search": "decoupled", "gradients": 100}),
    ("OptRegion", "optregion", False, {}),
    ("OptRegion, twice the gradients", "optregion", False, {"gradients": 400}),
)

rows = []
for classifier in models():
    region = RegionClassification(classifier, radius=MNIST.constants.region_radius, samples=100, seed=20_000)
    for title, name, full_search, overrides in SEARCHES:
        data = digits(COUNTS.get(title, options.examples), skip=options.skip)
        result = configure(name, MNIST.constants, full_search=full_search, **overrides)(
            classifier, data.images, data.labels
        )
        right = Proportion(int((region.predict(result.adversarials)["class"] == data.labels).sum()), len(data))
        low, high = right.interval()
        if title == PUBLISHED:
            reference = result
        both = result.success & reference.success[: len(data)]
        ratio = result.distortion[both].mean() / reference.distortion[: len(data)][both].mean() if both.any() else None
        attacked = max(1, int(result.attacked.sum()))
        rows.append(
            {
                "model": classifier.name,
                "search": title,
                "images": len(data),
                "success": int(result.success.sum()),
                "rms": mean(result.distortion[result.success]),
                "of_published": None if ratio is None else float(ratio),
                "region_%": f"{100 * right.rate:.0f} [{100 * low:.0f}, {100 * high:.0f}]",
                "gradients": round(result.gradient_count / attacked),
                "forwards": round(result.forward_count / attacked),
                "seconds": round(result.seconds, 1),
            }
        )
        print(rows[-1], flush=True)
report(
    "searches",
    "Evading region classification, MNIST",
    rows,
    region={"radius": MNIST.constants.region_radius, "samples": 100},
    skipped_images=options.skip,
)
