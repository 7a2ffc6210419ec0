"""AutoAttack here and on PyTorch, and the quick attack: the accuracy that each leaves, and the time it takes.

It needs pyautoattack beside the extra ``bench``: README.md beside this file says how it is installed.

The standard version of AutoAttack, in L-inf and in L2, on the adversarially trained models of the zoo: by advkeras, and
by pyautoattack, which is its authors' code, on PyTorch with the same weights. All attack the first images of the test
set. They take turns with a few images at a time, so that a machine that gets slower does so for all. What pyautoattack
finds counts if TensorFlow misclassifies it, too. Beside them stands what the attacks of ``advkeras evaluate`` leave
that have this norm: PGD and OptLinf, or OptBrittle; and how long a bare forward pass and a bare gradient take on
TensorFlow, over PyTorch's.

Where the two leave different images, ``papers`` is pyautoattack once more, as the papers have it where its code does
otherwise. FAB's projection in L2 sums over sorted pixels in float32; where their gradients differ by orders of
magnitude, that loses digits, and a step may go much farther than to the plane. Square's windows never reach the last
row and the last column. There all attacks run with a second seed, too, which tells what chance decides.

What is done is kept in a folder, so that a run that was stopped goes on.
"""

import argparse
import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import advkeras  # noqa: F401 - before TensorFlow, which it tells what to use

# isort: split
import numpy as np
import pyautoattack
import tensorflow as tf
import torch
from measuring import alternating, once, report
from pyautoattack import fab_base
from pyautoattack.square import SquareAttack
from torch_networks import ported, to_images, to_torch

from advkeras.arrays import l2, linf, slack
from advkeras.attacks import AutoAttack, QuickAttack, configure
from advkeras.datasets import LabelledImages, load_sample, registry
from advkeras.models import Classifier
from advkeras.searches.fast_boundary import onto_hyperplane

MODELS = ("mnist-pgd", "cifar10-pgd")
# The protocol's epsilon, and one at which about half of the images are left, or RobustBench's.
EPSILON = {"mnist": {"linf": 0.3, "l2": 1.5}, "cifar10": {"linf": 8.0, "l2": 127.5}}
# Where the two AutoAttacks leave different images; and how often all attacks run there, each time with another seed.
IN_DOUBT, SEEDS = ("mnist-pgd", "l2"), 2
AT_ONCE = 50
# Of a bare pass: about as many as are left of those most of the time.
IN_PASS = 25

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS, metavar="NAME")
parser.add_argument("--norms", nargs="+", default=("linf", "l2"), choices=("linf", "l2"))
parser.add_argument("--examples", type=int, default=200, help="images of each model")
parser.add_argument("--skip", type=int, default=0, help="images to skip")
parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of PyTorch")
parser.add_argument("--attacks", nargs="+", default=("pyautoattack", "papers", "standard", "quick", "tables"))
parser.add_argument("--kept", type=Path, default=Path(tempfile.gettempdir()) / "auto-attack", metavar="FOLDER")


def theirs(classifier: Classifier, network: Any, data: LabelledImages, seed: int, epsilon: float, norm: str) -> Any:
    """What pyautoattack leaves of some images: (N,) bool."""
    low, high = classifier.bounds
    attack = pyautoattack.AutoAttack(
        network, norm={"linf": "Linf", "l2": "L2"}[norm], eps=epsilon / (high - low), device="cpu", seed=seed
    )
    images, labels = to_torch(data.images, classifier.bounds), torch.tensor(data.labels.astype(np.int64))
    tensor, _ = attack.run_standard_evaluation(images, labels, batch_size=len(data))
    found = to_images(tensor.detach(), classifier.bounds)
    near = within(found - data.images, classifier, epsilon, norm)
    return (classifier.predict(data.images) == data.labels) & ~((classifier.predict(found) != data.labels) & near)


@contextlib.contextmanager
def as_papers_say(shape: tuple[int, ...]) -> Iterator[None]:
    """Gives pyautoattack the projection of advkeras' FAB in L2, for images of a shape in [0, 1], and all windows."""

    @tf.function(reduce_retracing=True)
    def moves(points: Any, normals: Any, values: Any) -> Any:
        return onto_hyperplane(points, normals, values, (0.0, 1.0), "l2")

    def projection(points: Any, normals: Any, offsets: Any) -> Any:
        values = (normals * points).sum(1) - offsets
        found = moves(*(each.reshape(-1, *shape).numpy() for each in (points, normals)), values.numpy())
        return torch.tensor(found.numpy()).reshape(points.shape)

    def corner(square: Any, low: int = 0, high: int = 1, shape: Any = (1,)) -> Any:
        return their_corner(square, low, high + 1, shape)

    their_projection, their_corner = fab_base.projection_l2, SquareAttack.random_int
    fab_base.projection_l2, SquareAttack.random_int = projection, corner
    try:
        yield
    finally:
        fab_base.projection_l2, SquareAttack.random_int = their_projection, their_corner


def ours(attack: Any, classifier: Classifier, data: LabelledImages) -> Any:
    """What an attack of advkeras leaves of some images: (N,) bool."""
    found = attack(classifier, data.images, data.labels, places=data.places)
    return (found.benign_predictions == data.labels) & ~found.success


def least(attack: Any, classifier: Classifier, data: LabelledImages, epsilon: float, norm: str) -> Any:
    """What a search for the least distance leaves of some images within epsilon: (N,) bool."""
    found = attack(classifier, data.images, data.labels, places=data.places)
    near = within(found.adversarials - data.images, classifier, epsilon, norm)
    return (found.benign_predictions == data.labels) & ~(found.success & near)


def within(change: Any, classifier: Classifier, epsilon: float, norm: str) -> Any:
    """Whether changes (N, H, W, C) are no larger than epsilon, but for rounding: (N,) bool."""
    return {"linf": linf, "l2": l2}[norm](change) <= epsilon * (1 + 1e-5) + slack(classifier.bounds)


def of_tables(classifier: Classifier, data: LabelledImages, seed: int, epsilon: float, norm: str) -> Any:
    """What the attacks of the tables leave that have this norm: (N,) bool."""
    spec = registry.get(classifier.card.dataset)
    if norm == "l2":
        return least(configure("optbrittle", spec, seed=seed), classifier, data, epsilon, norm)
    left = ours(configure("pgd", spec, epsilon=epsilon, seed=seed), classifier, data)
    return left & least(configure("optlinf", spec, seed=seed), classifier, data, epsilon, norm)


def measured(
    title: str, classifier: Classifier, network: Any, data: LabelledImages, seed: int, epsilon: float, norm: str
) -> dict[str, Any]:
    """Which images the attack of a title leaves."""
    if title == "pyautoattack":
        left = theirs(classifier, network, data, seed, epsilon, norm)
    elif title == "papers":
        with as_papers_say(data.images.shape[1:]):
            left = theirs(classifier, network, data, seed, epsilon, norm)
    elif title == "tables":
        left = of_tables(classifier, data, seed, epsilon, norm)
    else:
        kind = {"standard": AutoAttack, "quick": QuickAttack}[title]
        left = ours(kind(epsilon=epsilon, norm=norm, seed=seed), classifier, data)
    return {"left": left.tolist()}


def passes(classifier: Classifier, network: Any, images: Any) -> dict[str, float]:
    """What a forward pass and a gradient of images (N, H, W, C) take here, over what they take on PyTorch."""
    here, there = tf.constant(images), to_torch(images, classifier.bounds)

    @tf.function
    def gradient(points: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(points)
            total = tf.reduce_sum(classifier(points))
        return tape.gradient(total, points)

    def their_gradient() -> None:
        points = there.clone().requires_grad_(True)
        network(points).sum().backward()

    forward = tf.function(classifier)
    times = alternating(
        {
            "forward": lambda: forward(here).numpy(),
            "their forward": lambda: network(there),
            "gradient": lambda: gradient(here).numpy(),
            "their gradient": their_gradient,
        },
        rounds=31,
    )
    return {f"{each}_over_theirs": times[each] / times[f"their {each}"] for each in ("forward", "gradient")}


def row(attacks: Sequence[str], left: dict[str, list[bool]], taken: dict[str, float]) -> dict[str, Any]:
    """What each attack left, the time of pyautoattack, and that of the others over it."""
    found: dict[str, Any] = {
        f"{each}_left_%": 100 * float(np.mean(left[each])) if each in left else None for each in attacks
    }
    if "pyautoattack" in taken:
        base = taken["pyautoattack"]
        found["pyautoattack_seconds"] = round(base, 1)
        others = [each for each in taken if each not in ("pyautoattack", "papers")]
        found |= {f"{each}_over_theirs": taken[each] / base for each in others}
    return found


def compared(options: argparse.Namespace, classifier: Classifier, network: Any, norm: str, seed: int) -> dict[str, Any]:
    """What all attacks leave of a model in a norm, a few images after the other."""
    name, sample = classifier.name, load_sample(classifier.card.dataset)
    epsilon = EPSILON[classifier.card.dataset][norm]
    attacks = [each for each in options.attacks if each != "papers" or (name, norm) == IN_DOUBT]
    left: dict[str, list[bool]] = {each: [] for each in attacks}
    taken = dict.fromkeys(attacks, 0.0)
    for first in range(options.skip, options.skip + options.examples, AT_ONCE):
        data = sample.where((sample.places >= first) & (sample.places < first + AT_ONCE))
        for each in attacks:
            found = once(
                options.kept / f"{name}-{norm}-{each}-{first}-{AT_ONCE}-seed-{seed}.json",
                partial(measured, each, classifier, network, data, seed, epsilon, norm),
            )
            left[each] += found["left"]
            taken[each] += found["seconds"]
            print(name, norm, seed, each, first, sum(found["left"]), found["seconds"], flush=True)
    about = {"model": name, "norm": norm, "epsilon": epsilon, "seed": seed, "images": len(left[each])}
    return about | row(options.attacks, left, taken)


def main() -> None:
    """Measures what is not yet measured, and reports all."""
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    for name in options.models:
        classifier = Classifier.load(name)
        sample = load_sample(classifier.card.dataset)
        network = ported(classifier, sample.images[:100])
        bare = once(
            options.kept / f"{name}-passes-{IN_PASS}.json",
            partial(passes, classifier, network, sample.images[:IN_PASS]),
        )
        del bare["seconds"]
        for norm in options.norms:
            seeds = range(SEEDS if (name, norm) == IN_DOUBT else 1)
            rows += [compared(options, classifier, network, norm, seed) | bare for seed in seeds]
    report("auto_attack", "AutoAttack here and on PyTorch, and the quick attack", rows)


if __name__ == "__main__":
    main()
