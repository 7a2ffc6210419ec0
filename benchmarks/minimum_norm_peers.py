"""The least L2 or L-inf distortion that other libraries' minimum-norm attacks find on the zoo, image by image.

It needs adv-lib, numba and torchattacks beside the extra ``bench``: README.md beside this file says how they are
installed.

Each attack has 1,000 gradients an image, on PyTorch, its home; the networks are the zoo's, their weights copied from
the SavedModels and their logits compared before anything is measured. What matters most among an attack's settings is
tried out on a few other images, and what fools most of them with the least distortion is used. A found point is
clipped and counts if PyTorch and TensorFlow both misclassify it. Some attacks end at the very boundary, where the two
round differently: a point that does not count is moved away from its image by 0.01%, 0.1% or 1% of their distance, the
least that makes it count. Distortion is RMS, or the largest change of a pixel, in the data set's own pixel unit.

What is done is kept in a folder, so that a run that was stopped goes on; runs for different models may share it.
"""

import argparse
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import mean, once, report
from peers import PEERS, Images, Peer, fools
from torch_networks import ported, to_images, to_torch

from advkeras.arrays import linf, rms
from advkeras.datasets import load_sample
from advkeras.models import Classifier
from advkeras.searches.norms import NormName

MODELS = ("mnist-natural", "mnist-pgd", "cifar10-natural", "cifar10-pgd")
EXAMPLES = {"mnist": 100, "cifar10": 50}
TRIED_ON = {"mnist": range(300, 316), "cifar10": range(100, 108)}
# What a norm's distortion is called, and how it is measured.
MEASURES: dict[NormName, tuple[str, Callable[[Any], Any]]] = {"l2": ("rms", rms), "linf": ("linf", linf)}

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS, metavar="NAME")
parser.add_argument("--norm", default="l2", choices=PEERS)
parser.add_argument("--gradients", type=int, default=1000, help="of each attack, for each image")
parser.add_argument(
    "--examples", type=int, default=100, help="images of each model at most; never more than 50 of CIFAR-10"
)
parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of PyTorch")
parser.add_argument("--kept", type=Path, default=Path(tempfile.gettempdir()) / "minimum-norm-peers", metavar="FOLDER")


class Target:
    """A model of the zoo, its network on PyTorch, and images of the sample, which it classifies correctly.

    Args:
        classifier: the model.
        chosen: indices of images in the sample.
        norm: of the attacks.
        kept: the folder in which what is found is kept.
    """

    def __init__(self, classifier: Classifier, chosen: range, norm: NormName, kept: Path) -> None:
        sample = load_sample(classifier.card.dataset)
        self.classifier = classifier
        self.network = ported(classifier, sample.images[:100])
        right = classifier.predict(sample.images) == sample.labels
        self.indices = [index for index in chosen if right[index]]
        self.images, self.labels = sample.images[self.indices], sample.labels[self.indices]
        self.called, self._measure = MEASURES[norm]
        self._kept, self._name = kept, f"{classifier.name}-{chosen.start}-{chosen.stop}"

    def once(self, attack: Callable[..., Images], gradients: int, settings: dict[str, Any]) -> dict[str, Any]:
        """What :meth:`least` returns, and the seconds it took; read from the folder if it is there."""
        values = "-".join(map(str, settings.values()))
        path = self._kept / f"{self._name}-{attack.__name__}-{values}-{gradients}.json"
        return once(path, lambda: {"settings": settings, **self.least(attack, gradients, settings)})

    def least(self, attack: Callable[..., Images], gradients: int, settings: dict[str, Any]) -> dict[str, Any]:
        """How far away each image's point is, None where nothing counts; and how many points were moved."""
        torch.manual_seed(0)
        originals = to_torch(self.images, self.classifier.bounds)
        labels = torch.tensor(self.labels.astype(np.int64))
        found = attack(self.network, originals, labels, gradients, **settings).detach().clamp(0, 1)
        distortion, moved = np.full(len(labels), np.nan), 0
        for factor in (1.0, 1.0001, 1.001, 1.01):
            stretched = (originals + factor * (found - originals)).clamp(0, 1)
            points = to_images(stretched, self.classifier.bounds)
            fooled = fools(self.network, stretched, labels).numpy() & (self.classifier.predict(points) != self.labels)
            new = fooled & np.isnan(distortion)
            distortion[new] = self._measure(points - self.images)[new]
            moved += int(new.sum()) if factor > 1 else 0
        found_at = [None if np.isnan(value) else float(f"{value:.5g}") for value in distortion]
        return {"moved": moved, self.called: found_at}


def _found(values: list[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def measured(name: str, peer: Peer, others: Target, target: Target, gradients: int) -> dict[str, Any]:
    """What a peer finds with the settings that are best on other images, and what was tried out there."""
    attack, choices = peer
    key = f"mean_{target.called}"
    tried = []
    for settings in choices:
        found = _found(others.once(attack, gradients, settings)[target.called])
        tried.append({"settings": settings, "success": len(found), key: mean(found)})
        print(" ", target.classifier.name, name, tried[-1], flush=True)
    best = min(tried, key=lambda trial: (-trial["success"], trial[key] or np.inf))["settings"]
    return {**target.once(attack, gradients, best), "tried": tried}


def main() -> None:
    """Measures what is not yet measured, and reports all."""
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(options.threads)
    rows, details = [], {}
    for name in options.models:
        classifier, results = Classifier.load(name), {}
        dataset = classifier.card.dataset
        others = Target(classifier, TRIED_ON[dataset], options.norm, options.kept)
        chosen = range(min(options.examples, EXAMPLES[dataset]))
        target = Target(classifier, chosen, options.norm, options.kept)
        called = target.called
        for name_of_peer, peer in PEERS[options.norm].items():
            result = results[name_of_peer] = measured(name_of_peer, peer, others, target, options.gradients)
            found = _found(result[called])
            rows.append(
                {
                    "model": name,
                    "peer": name_of_peer,
                    "images": len(result[called]),
                    "success": len(found),
                    f"mean_{called}": mean(found),
                    "seconds": result["seconds"],
                    "settings": ", ".join(f"{key} {value}" for key, value in result["settings"].items()),
                }
            )
            print(rows[-1], flush=True)
        columns = zip(*(result[called] for result in results.values()), strict=True)
        least = [min(_found(list(column)), default=None) for column in columns]
        rows.append(
            {
                "model": name,
                "peer": "the least of all",
                "images": len(target.indices),
                "success": len(_found(least)),
                f"mean_{called}": mean(_found(least)),
                "seconds": None,
                "settings": "",
            }
        )
        details[name] = {
            "images": target.indices,
            "tried_on": others.indices,
            f"least_{called}": least,
            "peers": results,
        }
    ending, norm = {"l2": ("", "L2"), "linf": ("_linf", "L-inf")}[options.norm]
    report(f"minimum_norm_peers{ending}", f"Other libraries' minimum-norm attacks, {norm}", rows, models=details)


if __name__ == "__main__":
    main()
