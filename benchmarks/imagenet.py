"""What an evaluation of ResNet50 on ImageNet takes: units, hours and bytes, from the cost of one unit of each attack.

Random weights, images and labels at 224 x 224, 1,000 classes, the quick protocol. A unit of FGSM and the votes on its
examples are computed; of the other attacks the passes through the network are counted, and what a pass takes is
measured. Whether that is right is told by what was computed. Hours are of this machine, for one process. Random
images hardly compress: the bytes are the most that there may be. The peak is of a process with one model.
"""

import argparse
import resource
import tempfile
from pathlib import Path
from typing import Any

import advkeras  # noqa: F401 - before TensorFlow, which it tells what to use

# isort: split
import keras
import numpy as np
from measuring import report, seconds

from advkeras.datasets import LabelledImages, registry
from advkeras.evaluation.estimate import measured_passes
from advkeras.evaluation.protocol import TABLE_ATTACKS, Protocol
from advkeras.evaluation.slices import slices_of, usual_size
from advkeras.evaluation.units import Examples, Votes, checksum
from advkeras.models import Classifier
from advkeras.runs.execute import execute
from advkeras.runs.store import Store

SHAPE, CLASSES = (224, 224, 3), 1_000
# RobustBench's part of the validation set, and all of it.
COUNTS = (5_000, 50_000)

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.parse_args()

spec = registry.own("imagenet", bounds=(0.0, 255.0), shape=SHAPE, class_names=tuple(map(str, range(CLASSES))))
protocol = Protocol.build(spec, attacks=TABLE_ATTACKS)
keras.utils.set_random_seed(0)
model = keras.applications.ResNet50(weights=None, classes=CLASSES, classifier_activation=None)
classifier = Classifier.from_keras(model, bounds=spec.bounds, name="ResNet50")
size = usual_size(spec)
images = np.random.default_rng(0).integers(0, 256, (size, *SHAPE)).astype(np.float32)
data = LabelledImages(images, classifier.predict(images), "random images", "test")
(part,) = slices_of(data, size)
digest = checksum(classifier)
forward, gradient = measured_passes(classifier)


def unit_of(name: str) -> Examples:
    """The examples of an attack on a slice."""
    attack = next(each for each in protocol.attacks if each.name == name)
    return Examples.planned(classifier, digest, part, attack)


def took(unit: Any, *, store: Store) -> tuple[float, int]:
    """Seconds that a unit takes once everything is compiled, and the bytes of its result."""
    execute([unit], store)
    file = Path(store.folder) / "units" / f"{unit.digest}.npz"
    size_of = file.stat().st_size
    found = [store.get(each) for each in unit.follows]
    return seconds(lambda: unit.compute(found, lambda *_: None)), size_of


with tempfile.TemporaryDirectory() as temporary:
    store = Store(temporary)
    fgsm = unit_of("fgsm")
    votes = Votes(radius=protocol.region_radius, samples=protocol.region_samples, seed=0, follows=(fgsm,), **fgsm.asked)
    fgsm_seconds, fgsm_bytes = took(fgsm, store=store)
    votes_seconds, votes_bytes = took(votes, store=store)

rows: list[dict[str, Any]] = []
for title, unit, many, kept in (
    *((each.title, unit_of(each.name), 1, fgsm_bytes) for each in protocol.attacks),
    ("votes on all, benign images too", votes, len(protocol.attacks) + 1, votes_bytes),
):
    once = (unit.passes.forwards * forward + unit.passes.gradients * gradient) * many
    row: dict[str, Any] = {
        "units of": title,
        "forwards_per_image": many * unit.passes.forwards // size,
        "gradients_per_image": many * unit.passes.gradients // size,
    }
    for count in COUNTS:
        row |= {
            f"units_{count:,}": many * -(-count // size),
            f"hours_{count:,}": once * count / size / 3600,
            f"gb_{count:,}": many * kept * count / size / 1e9,
        }
    rows.append(row)
total: dict[str, Any] = {"units of": "together"}
rows.append(total | {key: sum(row[key] for row in rows) for key in rows[0] if key != "units of"})
report(
    "imagenet",
    "ResNet50 at 224 x 224: units and hours of one process",
    rows,
    images_per_unit=size,
    seconds_of_a_forward=forward,
    seconds_of_a_gradient=gradient,
    measured_over_estimated_fgsm=fgsm_seconds / (fgsm.passes.forwards * forward + fgsm.passes.gradients * gradient),
    measured_over_estimated_votes=votes_seconds / (votes.passes.forwards * forward),
    peak_gb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
)
