"""Whether each part of AutoAttack finds as much here as on PyTorch where the two AutoAttacks leave different images.

The images are those of mnist-pgd in L2 that one of ``papers`` and ``standard`` leaves and the other does not, by what
`auto_attack.py` has kept. Which of the two leaves an image may be chance. So every part runs alone, many times: each
time with another seed, and with the images moved by noise that is too small to see, since FAB draws no numbers. What is
done is kept in the same folder.
"""

import argparse
import contextlib
import io
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyautoattack
import torch
from auto_attack import EPSILON, IN_DOUBT, as_papers_say, within
from measuring import once, report
from torch_networks import ported, to_images, to_torch

from advkeras.attacks import APGD, FAB, Attack, Square, TargetedAPGD
from advkeras.datasets import LabelledImages, load_sample
from advkeras.models import Classifier

# Standard deviation of the noise, over the range of the pixels.
_NOISE = 1e-4

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--runs", type=int, default=16, help="of each part")
parser.add_argument("--threads", type=int, default=1, help="of PyTorch")
parser.add_argument("--kept", type=Path, default=Path(__file__).parent / "kept" / "auto_attack", metavar="FOLDER")


def parts(epsilon: float) -> dict[str, Attack]:
    """The parts of the standard version in L2, by the names that they have on PyTorch."""
    return {
        "apgd-ce": APGD(epsilon=epsilon, norm="l2", iterations=100),
        "apgd-t": TargetedAPGD(epsilon=epsilon, norm="l2", iterations=100),
        "fab-t": FAB(targets=9, norm="l2", iterations=100).to_reach(epsilon),
        "square": Square(epsilon=epsilon, norm="l2", queries=5_000, rescale=False),
    }


def in_doubt(folder: Path) -> list[int]:
    """Places of the images that one of the two leaves and the other does not, in any kept run."""
    found: set[int] = set()
    for path in folder.glob(f"{'-'.join(IN_DOUBT)}-standard-*.json"):
        first = int(path.stem.split("-")[4])
        one, other = (
            json.loads(path.with_name(path.name.replace("standard", title)).read_text())["left"]
            for title in ("standard", "papers")
        )
        found |= {first + place for place, both in enumerate(zip(one, other, strict=True)) if len(set(both)) > 1}
    if not found:
        raise SystemExit(
            f"{folder} has no image that one of the two leaves alone: run auto_attack.py with --kept first"
        )
    return sorted(found)


def moved(data: LabelledImages, bounds: tuple[float, float], seed: int) -> LabelledImages:
    """The images with a little noise."""
    noise = np.random.default_rng(seed).normal(0, _NOISE * (bounds[1] - bounds[0]), data.images.shape)
    return replace(data, images=np.clip(data.images + noise, *bounds).astype(np.float32))


def theirs(
    part: str, network: Any, data: LabelledImages, bounds: tuple[float, float], epsilon: float, seed: int
) -> Any:
    """What a part on PyTorch, as the papers have it, makes of images."""
    attack = pyautoattack.AutoAttack(
        network,
        norm="L2",
        eps=epsilon / (bounds[1] - bounds[0]),
        device="cpu",
        seed=seed,
        version="custom",
        attacks=[part],
    )
    attack.apgd.n_restarts = attack.fab.n_restarts = 1
    attack.fab.n_target_classes = attack.apgd_targeted.n_target_classes = 9
    labels = torch.tensor(data.labels.astype(np.int64))
    with as_papers_say(data.images.shape[1:]), contextlib.redirect_stdout(io.StringIO()):
        found, _ = attack.run_standard_evaluation(to_torch(data.images, bounds), labels, batch_size=len(data))
    return to_images(found.detach(), bounds)


def fooled(make: Callable[[LabelledImages, int], Any], classifier: Classifier, data: LabelledImages, runs: int) -> Any:
    """How many of the runs fool each image within epsilon: (N,)."""
    name, norm = IN_DOUBT
    epsilon, count = EPSILON[name.split("-")[0]][norm], np.zeros(len(data), np.int64)
    for seed in range(runs):
        here = moved(data, classifier.bounds, seed)
        found = make(here, seed)
        wrong = classifier.predict(found) != here.labels
        count += wrong & within(found - here.images, classifier, epsilon, norm)
    return count


def alone(part: str, attack: Attack, classifier: Classifier, data: LabelledImages, runs: int) -> dict[str, Any]:
    """How many of the runs of a part fool each image, there and here."""
    network, bounds = ported(classifier, load_sample(classifier.card.dataset).images[:100]), classifier.bounds
    epsilon = EPSILON[classifier.card.dataset][IN_DOUBT[1]]
    makers = {
        "papers": lambda few, seed: theirs(part, network, few, bounds, epsilon, seed),
        "standard": lambda few, seed: replace(attack, seed=seed)(classifier, few.images, few.labels).adversarials,
    }
    row: dict[str, Any] = {"part": part, "images": len(data), "runs": runs}
    for title, make in makers.items():
        count = fooled(make, classifier, data, runs)
        row[f"{title}_fools_%"] = 100 * float(count.mean()) / runs
        row[f"{title}_by_image"] = " ".join(map(str, count))
    return row


def main() -> None:
    """Measures what is not yet measured, and reports."""
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    name, norm = IN_DOUBT
    classifier = Classifier.load(name)
    dataset = classifier.card.dataset
    sample = load_sample(dataset)
    data = sample.where(np.isin(sample.places, in_doubt(options.kept)))
    rows = []
    for part, attack in parts(EPSILON[dataset][norm]).items():
        row = once(
            options.kept / f"{name}-{norm}-part-{part}-{options.runs}.json",
            partial(alone, part, attack, classifier, data, options.runs),
        )
        del row["seconds"]
        rows.append(row)
        print(row, flush=True)
    title = "AutoAttack's parts alone, where the two leave different images"
    report("auto_attack_parts", title, rows, places=data.places.tolist())


if __name__ == "__main__":
    main()
