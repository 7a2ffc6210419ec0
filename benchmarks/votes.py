"""(d) Region classification: points drawn, time and decisions of the full vote, the exact and the confident one.

On 1,000 benign images and on what every attack of the main job makes of 100 images.
"""

import time

import numpy as np
from measuring import alternating, digits, models, report

from advkeras.attacks import configure
from advkeras.datasets import MNIST
from advkeras.defenses.region_classification import RegionClassification
from advkeras.evaluation.protocol import TABLE_ATTACKS
from advkeras.regions.voting import STOPS

rows = []
for classifier in models():
    benign, few = digits(1000), digits(100)
    sets = {"benign": benign.images}
    for name in TABLE_ATTACKS:
        sets[name] = configure(name, MNIST)(classifier, few.images, few.labels).adversarials
    layers = {
        stop: RegionClassification(classifier, radius=MNIST.region_radius, samples=100, stop=stop, seed=1)
        for stop in STOPS
    }
    for layer in layers.values():
        layer.predict(few.images[:20])
    batch = np.tile(few.images, (3, 1, 1, 1))[:256]
    layer = layers["never"]
    timed = alternating(
        {
            "forward": lambda: [classifier.logits(batch) for _ in range(10)],
            "sample": lambda: layer.predict(few.images[:26]),
        },
        rounds=9,
    )
    per_forward, per_sample = timed["forward"] / 2560, timed["sample"] / 2600
    print(f"{classifier.name}: a region sample over the bare forward {per_sample / per_forward:.3f}")
    for title, images in sets.items():
        full = None
        for stop, layer in layers.items():
            start = time.perf_counter()
            answer = layer.predict(images)
            elapsed = time.perf_counter() - start
            full = full or (answer, elapsed)
            rows.append(
                {
                    "model": classifier.name,
                    "images": f"{title} ({len(images)})",
                    "stop": stop,
                    "points": float(answer["samples"].mean()),
                    "points_over_full": float(answer["samples"].mean() / 100),
                    "time_over_full": elapsed / full[1],
                    "sample_over_forward": per_sample / per_forward,
                    "same_class_%": float(100 * (answer["class"] == full[0]["class"]).mean()),
                }
            )
report("votes", "Region votes that stop early, 100 samples, MNIST", rows)
