"""Memory of one process that runs an attack with 30 seeds and 30 epsilons, after the first run of each kind.

Seeds and epsilons are inputs of the compiled graph, so neither should build another one.
"""

import gc

import numpy as np
import psutil
from measuring import report

from advkeras.attacks import PGD
from advkeras.datasets import load_sample
from advkeras.models import Classifier

IMAGES, TIMES = 8, 30

data = load_sample("cifar10").first(IMAGES)
classifier = Classifier.load("cifar10-natural")
attacks = {
    "seeds": [PGD(epsilon=1.0, iterations=10, seed=seed) for seed in range(TIMES)],
    "epsilons": [PGD(epsilon=float(epsilon), iterations=10) for epsilon in np.linspace(0.1, 3.0, TIMES)],
}


def resident() -> float:
    """Megabytes of this process."""
    gc.collect()
    return psutil.Process().memory_info().rss / 2**20


PGD(epsilon=1.0, iterations=10)(classifier, data.images, data.labels)
rows = []
for what, series in attacks.items():
    before, graphs = resident(), len(classifier._graphs)
    for attack in series:
        attack(classifier, data.images, data.labels)
    rows.append(
        {
            "over": f"{TIMES} {what}",
            "grown_by_mb": resident() - before,
            "graphs_built": len(classifier._graphs) - graphs,
        }
    )
report("reuse", "PGD on cifar10-natural, one process", rows, images=IMAGES)
