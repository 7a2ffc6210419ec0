"""(b) OptBrittle against Carlini and Wagner's L2 attack in Foolbox, ART and torchattacks, on the same weights.

    pip install -e '.[bench]'

The peers run on PyTorch, their home, with as many threads as TensorFlow has; the network is the same, its weights
copied from the SavedModel and its logits compared before anything is measured. Where a peer has a binary search on c
it gets 2 steps of 100 iterations; torchattacks has none and gets 200 iterations. Learning rate and first c are tried
out for Foolbox and torchattacks on a few images, and the combination of least distortion among those that fool most is
used. ART, which takes a hundred times as long, gets fewer images and a combination of the middle.
"""

import argparse
import itertools
import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from measuring import alternating, digits, mean, models, report
from torch_networks import ported, to_torch

from advkeras.arrays import rms
from advkeras.attacks import OptBrittle
from advkeras.models import Classifier

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--examples", type=int, default=128)
parser.add_argument("--art-examples", type=int, default=8)
parser.add_argument("--tune-examples", type=int, default=16)
options = parser.parse_args()

warnings.filterwarnings("ignore")
torch.set_num_threads(os.cpu_count() or 1)

SLOW_CHOICE = (0.05, 1.0)
CHOICES = tuple(itertools.product((0.01, 0.05, 0.1), (0.1, 1.0, 10.0)))  # learning rate, first c


def foolbox_attack(network: torch.nn.Module, rate: float, first: float) -> Callable[[Any, Any], Any]:
    """Foolbox's L2CarliniWagnerAttack."""
    import foolbox

    model = foolbox.PyTorchModel(network, bounds=(0, 1))
    attack = foolbox.attacks.L2CarliniWagnerAttack(
        binary_search_steps=2, steps=100, stepsize=rate, initial_const=first, confidence=0
    )
    return lambda images, labels: attack(model, images, labels, epsilons=None)[0].numpy()


def art_attack(network: torch.nn.Module, rate: float, first: float) -> Callable[[Any, Any], Any]:
    """ART's CarliniL2Method."""
    from art.attacks.evasion import CarliniL2Method
    from art.estimators.classification import PyTorchClassifier

    estimator = PyTorchClassifier(
        network, torch.nn.CrossEntropyLoss(), (1, 28, 28), 10, clip_values=(0.0, 1.0), device_type="cpu"
    )
    attack = CarliniL2Method(
        estimator,
        binary_search_steps=2,
        max_iter=100,
        learning_rate=rate,
        initial_const=first,
        batch_size=128,
        verbose=False,
    )
    return lambda images, labels: attack.generate(images.numpy(), labels.numpy())


def torchattacks_attack(network: torch.nn.Module, rate: float, first: float) -> Callable[[Any, Any], Any]:
    """Torchattacks' CW."""
    import torchattacks

    attack = torchattacks.CW(network, c=first, kappa=0, steps=200, lr=rate)
    return lambda images, labels: attack(images, labels).detach().numpy()


PEERS = {"Foolbox": foolbox_attack, "torchattacks": torchattacks_attack, "ART": art_attack}


def judged(network: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, found: Any) -> tuple[Any, Any]:
    """Which images are misclassified, and the RMS of all."""
    fooled = (network(torch.tensor(np.clip(found, 0, 1))).argmax(dim=1) != labels).numpy()
    return fooled, rms(found - images.numpy())


def tuned(network: torch.nn.Module, build: Any, images: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
    """The learning rate and the first c of least distortion, among those that fool most of a few images."""
    trials = []
    for rate, first in CHOICES:
        fooled, distortion = judged(network, images, labels, build(network, rate, first)(images, labels))
        trials.append((-fooled.mean(), distortion[fooled].mean() if fooled.any() else np.inf, rate, first))
    return min(trials)[2:]


def measured(classifier: Classifier) -> Iterator[dict[str, Any]]:
    """A row for each peer on one model; both attacks run on the same images, in turns."""
    data = digits(options.examples)
    data = data.where(classifier.predict(data.images) == data.labels)
    network = ported(classifier, data.images)
    images, labels = to_torch(data.images, classifier.bounds), torch.tensor(data.labels.astype(np.int64))
    ours = OptBrittle()
    for name, build in PEERS.items():
        is_slow = name == "ART"
        few = slice(0, options.tune_examples)
        rate, first = SLOW_CHOICE if is_slow else tuned(network, build, images[few], labels[few])
        count = options.art_examples if is_slow else len(labels)
        attack, mine, found = build(network, rate, first), data.first(count), {}

        def run_ours() -> None:
            found["ours"] = ours(classifier, mine.images, mine.labels)

        def run_peer() -> None:
            found["peer"] = attack(images[:count], labels[:count])

        times = alternating({"ours": run_ours, "peer": run_peer}, rounds=1 if is_slow else 3, warm_up=not is_slow)
        fooled, distortion = judged(network, images[:count], labels[:count], found["peer"])
        both = fooled & found["ours"].success
        our_rms, its_rms = mean(found["ours"].distortion[both]), mean(distortion[both])
        row = {
            "model": classifier.name,
            "peer": name,
            "images": count,
            "our_success_%": 100 * float(found["ours"].success.mean()),
            "its_success_%": 100 * float(fooled.mean()),
            "our_rms": our_rms,
            "its_rms": its_rms,
            "our_rms_over_its": our_rms / its_rms if both.any() else None,
            "our_ms": 1000 * times["ours"] / count,
            "its_ms": 1000 * times["peer"] / count,
            "our_time_over_its": times["ours"] / times["peer"],
            "its_settings": f"learning rate {rate:g}, c {first:g}",
        }
        print(row, flush=True)
        yield row


report(
    "peers",
    "OptBrittle against Carlini-Wagner elsewhere, MNIST",
    [row for classifier in models() for row in measured(classifier)],
)
