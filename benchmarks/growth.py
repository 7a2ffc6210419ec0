"""(e) How time and peak memory grow from 100 images to 400. Each measurement has a process of its own."""

import json
import subprocess
import sys

from measuring import digits, report, seconds

from advkeras.attacks import configure
from advkeras.datasets import MNIST
from advkeras.defenses.region_classification import RegionClassification
from advkeras.models import Classifier

JOBS = ("optbrittle", "optmargin", "optregion", "region vote")
MODEL = "mnist-natural"


def measure(job: str, count: int) -> dict[str, float]:
    """Time without compilation, and the process's peak memory."""
    import resource

    classifier = Classifier.load(MODEL)
    data = digits(count)
    if job == "region vote":
        layer = RegionClassification(classifier, radius=0.3, samples=100, seed=0)
        layer.predict(data.images[:4])
        elapsed = seconds(lambda: layer.predict(data.images))
    else:
        attack = configure(job, MNIST)
        attack(classifier, data.images[:4], data.labels[:4])
        elapsed = seconds(lambda: attack(classifier, data.images, data.labels))
    return {"seconds": elapsed, "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def in_a_process(job: str, count: int) -> dict[str, float]:
    """The same, in a process of its own."""
    done = subprocess.run([sys.executable, __file__, job, str(count)], check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


if len(sys.argv) == 3:
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
else:
    rows = []
    for job in JOBS:
        small, large = in_a_process(job, 100), in_a_process(job, 400)
        rows.append(
            {
                "job": job,
                "seconds_100": small["seconds"],
                "seconds_400": large["seconds"],
                "time_ratio": large["seconds"] / small["seconds"],
                "mb_100": small["mb"],
                "mb_400": large["mb"],
                "memory_ratio": large["mb"] / small["mb"],
            }
        )
    report("growth", f"From 100 images to 400, {MODEL}", rows)
