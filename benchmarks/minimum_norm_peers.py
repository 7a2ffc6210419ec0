"""The least L2 distortion that other libraries' minimum-norm attacks find on the zoo, image by image.

It needs adv-lib and numba beside the extra ``bench``: README.md beside this file says how they are installed.

Each attack has 1,000 gradients an image, on PyTorch, its home; the networks are the zoo's, their weights copied from
the SavedModels and their logits compared before anything is measured. What matters most among an attack's settings is
tried out on a few other images, and what fools most of them with the least distortion is used. A found point is
clipped and counts if PyTorch and TensorFlow both misclassify it. Some attacks end at the very boundary, where the two
round differently: a point that does not count is moved away from its image by 0.01%, 0.1% or 1% of their distance, the
least that makes it count. Distortion is RMS in the data set's own pixel unit.

What is done is kept in a folder, so that a run that was stopped goes on; runs for different models may share it.
"""

import argparse
import importlib
import itertools
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal
from unittest.mock import MagicMock

import foolbox
import numpy as np
import torch
from measuring import mean, once, report
from torch_networks import ported, to_images, to_torch

from advkeras.arrays import rms
from advkeras.datasets import load_sample
from advkeras.models import Classifier

# adv-lib imports them for a perceptual distance and for plots, which nothing here uses.
sys.modules["torchvision"] = sys.modules["visdom"] = MagicMock()
adv_lib = importlib.import_module("adv_lib.attacks")

MODELS = ("mnist-natural", "mnist-pgd", "cifar10-natural", "cifar10-pgd")
EXAMPLES = {"mnist": 100, "cifar10": 50}
TRIED_ON = {"mnist": range(300, 316), "cifar10": range(100, 108)}

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS, metavar="NAME")
parser.add_argument("--gradients", type=int, default=1000, help="of each attack, for each image")
parser.add_argument(
    "--examples", type=int, default=100, help="images of each model at most; never more than 50 of CIFAR-10"
)
parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of PyTorch")
parser.add_argument("--kept", type=Path, default=Path(tempfile.gettempdir()) / "minimum-norm-peers", metavar="FOLDER")

Images = torch.Tensor  # (N, C, H, W) in [0, 1]


def carlini_wagner(
    network: Any, images: Images, labels: torch.Tensor, gradients: int, *, stepsize: float, initial_const: float
) -> Images:
    """Foolbox's L2CarliniWagnerAttack: five values of c."""
    attack = foolbox.attacks.L2CarliniWagnerAttack(
        binary_search_steps=5,
        steps=gradients // 5,
        stepsize=stepsize,
        initial_const=initial_const,
        abort_early=False,
    )
    found = attack.run(_foolbox_model(network), images, foolbox.criteria.Misclassification(labels))
    # It returns a black image where it finds nothing, and that may fool as well.
    return torch.where(found.amax(dim=(1, 2, 3), keepdim=True) > 0, found, images)


def brendel_bethge(
    network: Any, images: Images, labels: torch.Tensor, gradients: int, *, region: float, start: Literal["noise", "DDN"]
) -> Images:
    """Foolbox's L2BrendelBethgeAttack; a twentieth of the gradients is for DDN, for where noise does not fool."""
    model, first = _foolbox_model(network), gradients // 20
    starts = adv_lib.ddn(network, images, labels, steps=first, levels=None)
    if start == "noise":
        blended = foolbox.attacks.LinearSearchBlendedUniformNoiseAttack(directions=100, steps=100)
        noisy = blended.run(model, images, foolbox.criteria.Misclassification(labels))
        starts = torch.where(_fools(network, noisy, labels)[:, None, None, None], noisy, starts)
    able, found = _fools(network, starts, labels), images.clone()
    if not able.any():
        return found
    # Its trust region is lr times the number of pixels of the whole batch.
    attack = foolbox.attacks.L2BrendelBethgeAttack(steps=gradients - first, lr=region / int(able.sum()))
    criterion = foolbox.criteria.Misclassification(labels[able])
    found[able] = attack.run(model, images[able], criterion, starting_points=starts[able])
    return found


def ddn(network: Any, images: Images, labels: torch.Tensor, gradients: int, *, gamma: float) -> Images:
    """Decoupled direction and norm, off the grid of 8-bit pictures."""
    return adv_lib.ddn(network, images, labels, steps=gradients, γ=gamma, levels=None)


def fmn(network: Any, images: Images, labels: torch.Tensor, gradients: int, *, alpha_init: float) -> Images:
    """Fast minimum-norm."""
    return adv_lib.fmn(network, images, labels, norm=2, steps=gradients, α_init=alpha_init)


def alma(network: Any, images: Images, labels: torch.Tensor, gradients: int, *, init_lr_distance: float) -> Images:
    """Augmented Lagrangian; the setting tried out is the length of the first step."""
    return adv_lib.alma(network, images, labels, num_steps=gradients, init_lr_distance=init_lr_distance)


def pdgd(network: Any, images: Images, labels: torch.Tensor, gradients: int, *, primal_lr: float) -> Images:
    """Primal-dual gradient descent."""
    return adv_lib.pdgd(network, images, labels, num_steps=gradients, primal_lr=primal_lr)


def fab(network: Any, images: Images, labels: torch.Tensor, gradients: int, *, targets: int) -> Images:
    """Fast adaptive boundary, towards the likeliest classes one by one."""
    steps = gradients // targets
    return adv_lib.fab(network, images, labels, norm=2, n_iter=steps, restarts=targets, targeted_restarts=True)


def _choices(**values: Iterable[Any]) -> list[dict[str, Any]]:
    return [dict(zip(values, choice, strict=True)) for choice in itertools.product(*values.values())]


PEERS: dict[str, tuple[Callable[..., Images], list[dict[str, Any]]]] = {
    "adv-lib, ALMA": (alma, _choices(init_lr_distance=(0.03, 0.1, 0.3, 1.0))),
    "adv-lib, PDGD": (pdgd, _choices(primal_lr=(0.01, 0.03, 0.1, 0.3))),
    "adv-lib, FAB": (fab, _choices(targets=(1, 3, 9))),
    "Foolbox, Brendel-Bethge": (brendel_bethge, _choices(region=(1e-3, 1e-2), start=("noise", "DDN"))),
    "adv-lib, FMN": (fmn, _choices(alpha_init=(0.1, 0.3, 1.0))),
    "adv-lib, DDN": (ddn, _choices(gamma=(0.01, 0.05))),
    "Foolbox, Carlini-Wagner": (carlini_wagner, _choices(stepsize=(0.01, 0.1, 0.3), initial_const=(1.0, 10.0))),
}


def _foolbox_model(network: Any) -> Any:
    return foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")


def _fools(network: Any, images: Images, labels: torch.Tensor) -> torch.Tensor:
    return network(images).argmax(dim=1) != labels


class Target:
    """A model of the zoo, its network on PyTorch, and images of the sample, which it classifies correctly.

    Args:
        classifier: the model.
        chosen: indices of images in the sample.
        kept: the folder in which what is found is kept.
    """

    def __init__(self, classifier: Classifier, chosen: range, kept: Path) -> None:
        sample = load_sample(classifier.card.dataset)
        self.classifier = classifier
        self.network = ported(classifier, sample.images[:100])
        right = classifier.predict(sample.images) == sample.labels
        self.indices = [index for index in chosen if right[index]]
        self.images, self.labels = sample.images[self.indices], sample.labels[self.indices]
        self._kept, self._name = kept, f"{classifier.name}-{chosen.start}-{chosen.stop}"

    def once(self, attack: Callable[..., Images], gradients: int, settings: dict[str, Any]) -> dict[str, Any]:
        """What :meth:`least` returns, and the seconds it took; read from the folder if it is there."""
        values = "-".join(map(str, settings.values()))
        path = self._kept / f"{self._name}-{attack.__name__}-{values}-{gradients}.json"
        return once(path, lambda: {"settings": settings, **self.least(attack, gradients, settings)})

    def least(self, attack: Callable[..., Images], gradients: int, settings: dict[str, Any]) -> dict[str, Any]:
        """The RMS of what an attack finds for each image, None where nothing counts; and how many points were moved."""
        torch.manual_seed(0)
        originals = to_torch(self.images, self.classifier.bounds)
        labels = torch.tensor(self.labels.astype(np.int64))
        found = attack(self.network, originals, labels, gradients, **settings).detach().clamp(0, 1)
        distortion, moved = np.full(len(labels), np.nan), 0
        for factor in (1.0, 1.0001, 1.001, 1.01):
            stretched = (originals + factor * (found - originals)).clamp(0, 1)
            points = to_images(stretched, self.classifier.bounds)
            fooled = _fools(self.network, stretched, labels).numpy() & (self.classifier.predict(points) != self.labels)
            new = fooled & np.isnan(distortion)
            distortion[new] = rms(points - self.images)[new]
            moved += int(new.sum()) if factor > 1 else 0
        return {"moved": moved, "rms": [None if np.isnan(value) else float(f"{value:.5g}") for value in distortion]}


def _found(values: list[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def measured(peer: str, others: Target, target: Target, gradients: int) -> dict[str, Any]:
    """What a peer finds with the settings that are best on other images, and what was tried out there."""
    attack, choices = PEERS[peer]
    tried = []
    for settings in choices:
        found = _found(others.once(attack, gradients, settings)["rms"])
        tried.append({"settings": settings, "success": len(found), "mean_rms": mean(found)})
        print(" ", target.classifier.name, peer, tried[-1], flush=True)
    best = min(tried, key=lambda trial: (-trial["success"], trial["mean_rms"] or np.inf))["settings"]
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
        others = Target(classifier, TRIED_ON[dataset], options.kept)
        target = Target(classifier, range(min(options.examples, EXAMPLES[dataset])), options.kept)
        for peer in PEERS:
            result = results[peer] = measured(peer, others, target, options.gradients)
            found = _found(result["rms"])
            rows.append(
                {
                    "model": name,
                    "peer": peer,
                    "images": len(result["rms"]),
                    "success": len(found),
                    "mean_rms": mean(found),
                    "seconds": result["seconds"],
                    "settings": ", ".join(f"{key} {value}" for key, value in result["settings"].items()),
                }
            )
            print(rows[-1], flush=True)
        columns = zip(*(result["rms"] for result in results.values()), strict=True)
        least = [min(_found(list(column)), default=None) for column in columns]
        rows.append(
            {
                "model": name,
                "peer": "the least of all",
                "images": len(target.indices),
                "success": len(_found(least)),
                "mean_rms": mean(_found(least)),
                "seconds": None,
                "settings": "",
            }
        )
        details[name] = {"images": target.indices, "tried_on": others.indices, "least_rms": least, "peers": results}
    report("minimum_norm_peers", "Other libraries' minimum-norm attacks, L2", rows, models=details)


if __name__ == "__main__":
    main()
