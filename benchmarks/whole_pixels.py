"""Examples that exist as pictures of 8 bits: success and distortion of each attack beside those of any pixels.

Of examples of any pixels it is told how many still fool the model once they are rounded; then every point of the same
search is rounded before it is looked at. The distortion of either is compared on the images that both fool: as RMS,
and in the norm that the attack makes small or keeps within epsilon; in L-inf also to the next whole number of steps,
which is the least that a picture can have.

What is done is kept in a folder, so that a run that was stopped goes on.
"""

import argparse
import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from measuring import mean, once, report

from advkeras import attacks
from advkeras.attacks import MinimumNormAttack, configure
from advkeras.datasets import LabelledImages, load_sample, registry
from advkeras.models import Classifier, zoo
from advkeras.models.pixel_grid import settled_arrays

LEVELS = 256
# OptMimic needs others' examples; AutoAttack takes as long as all others, and its parts are there.
LEFT_OUT = ("optmimic", "autoattack")
# Where an attack's budget is not the protocol's.
CHANGED: dict[str, dict[str, Any]] = {"optbrittle, 50 gradients": {"gradients": 50}}

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--examples", type=int, default=100, help="images of MNIST; half as many of CIFAR-10")
parser.add_argument("--skip", type=int, default=0, help="images to skip")
parser.add_argument("--models", nargs="+", metavar="NAME", help="of the zoo; all by default")
parser.add_argument("--attacks", nargs="+", metavar="NAME", help="all by default, but for OptMimic and AutoAttack")
parser.add_argument("--kept", type=Path, default=Path(tempfile.gettempdir()) / "whole-pixels", metavar="FOLDER")
options = parser.parse_args()

names = options.attacks or [*CHANGED, *(name for name in attacks.names() if name not in LEFT_OUT)]


def compared(free: Classifier, whole: Classifier, title: str, data: LabelledImages) -> dict[str, Any]:
    """An attack on the same images with any pixels, and among pictures."""
    spec = registry.get(free.card.dataset)
    attack = configure(title.split(",", maxsplit=1)[0], spec, **CHANGED.get(title, {}))
    found, pictures = (attack(each, data.images, data.labels, places=data.places) for each in (free, whole))
    rounded = settled_arrays(found.adversarials, free.bounds, LEVELS)
    fooled = found.success & (free.predict(rounded) != data.labels)
    both = found.success & pictures.success
    off, on = mean(found.distortion[both]), mean(pictures.distortion[both])
    free_lengths, lengths = (attack.distance(each.adversarials - data.images)[both] for each in (found, pictures))
    step = (free.bounds[1] - free.bounds[0]) / (LEVELS - 1)
    # In L-inf a picture's distance is a whole number of steps.
    in_steps = attack.norm == "linf" and isinstance(attack, MinimumNormAttack)
    to_reach = step * np.ceil(free_lengths / step - 1e-3) if in_steps else free_lengths
    values = (pictures.adversarials - free.bounds[0]) / step
    if not np.allclose(values, np.rint(values), atol=1e-3):
        raise SystemExit(f"{title} on {free.name}: pixels between those of pictures")
    return {
        "model": free.name,
        "attack": title,
        "attacked": int(found.attacked.sum()),
        "success": int(found.success.sum()),
        "rounded_afterwards": int(fooled.sum()),
        "success_of_pictures": int(pictures.success.sum()),
        "rms": off,
        "rms_of_pictures": on,
        "rms_ratio": _ratio(off, on),
        "norm": attack.norm,
        "ratio_in_its_norm": _ratio(mean(free_lengths), mean(lengths)),
        "ratio_to_whole_steps": _ratio(mean(to_reach), mean(lengths)),
        "seconds_ratio": pictures.seconds / found.seconds,
    }


def _ratio(off: float | None, on: float | None) -> float | None:
    return on / off if off and on else None


rows = []
for name in options.models or [each for dataset in ("mnist", "cifar10") for each in zoo.names_for(dataset)]:
    free, whole = (Classifier.load(name, levels=levels) for levels in (None, LEVELS))
    dataset = free.card.dataset
    sample = load_sample(dataset)
    count = options.examples // (1 if dataset == "mnist" else 2)
    data = sample.where((sample.places >= options.skip) & (sample.places < options.skip + count))
    for title in names:
        path = options.kept / f"{name}-{title}-{options.skip}-{count}.json"
        row = once(path, functools.partial(compared, free, whole, title, data))
        rows.append({key: value for key, value in row.items() if key != "seconds"})
        print(rows[-1], flush=True)
report("whole_pixels", "Examples that exist as pictures of 8 bits", rows)
