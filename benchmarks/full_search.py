"""OptMargin's quick search against the authors' full one: 4 weights with up to 1,000 iterations each.

The full search is kept image by image, so that a run that was stopped goes on; runs for different models may share the
folder. Region accuracy is that of the protocol's vote on what either search found; and on the quick search's examples
once they are as far away as the full one's.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from measuring import report

from advkeras import files
from advkeras.attacks import AttackResult, configure
from advkeras.datasets import LabelledImages, load_sample, registry
from advkeras.defenses.region_classification import RegionClassification
from advkeras.models import Classifier, zoo

# So many images at a time: a small network is slow on the 20 points of one.
TOGETHER = {"mnist": 4, "cifar10": 1}

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--examples", type=int, default=16, help="images of each model")
parser.add_argument("--models", nargs="+", metavar="NAME", help="of the zoo; all by default")
parser.add_argument("--kept", type=Path, default=Path(__file__).parent / "kept", metavar="FOLDER")


def attacked(full_search: bool, classifier: Classifier, data: LabelledImages) -> AttackResult:
    """What a search finds."""
    attack = configure("optmargin", registry.get(classifier.card.dataset), full_search=full_search)
    return attack(classifier, data.images, data.labels, places=data.places)


def votes(classifier: Classifier, data: LabelledImages, images: Any) -> Any:
    """Whether the protocol's vote is right on each of the images."""
    radius = registry.get(classifier.card.dataset).region_radius
    region = RegionClassification(classifier, radius=radius, samples=100, seed=0)
    return region.predict(images)["class"] == data.labels


def described(result: AttackResult, correct: Any) -> list[dict[str, Any]]:
    """The same as plain values, image by image."""
    return [
        {
            "attacked": bool(result.attacked[row]),
            "success": bool(result.success[row]),
            "rms": float(result.distortion[row]) if result.success[row] else None,
            "region_correct": bool(correct[row]),
            "gradients": round(result.gradient_count / result.attacked.sum()) if result.attacked[row] else 0,
        }
        for row in range(len(correct))
    ]


def pushed(result: AttackResult, data: LabelledImages, full: list[dict[str, Any]], bounds: tuple[float, float]) -> Any:
    """The quick search's examples, as far away as the full one's where those are farther."""
    factors = [
        max(1.0, one["rms"] / own) if one["success"] and own > 0 else 1.0
        for one, own in zip(full, result.distortion, strict=True)
    ]
    difference = result.adversarials - data.images
    return np.clip(data.images + np.float32(factors)[:, None, None, None] * difference, *bounds)


def kept(classifier: Classifier, data: LabelledImages, folder: Path) -> list[dict[str, Any]]:
    """What the full search finds, image by image, made where it is not there yet."""
    paths = {place: folder / f"full-search-{classifier.name}-{place}.json" for place in data.places}
    missing = [place for place, path in paths.items() if not path.exists()]
    together = TOGETHER[classifier.card.dataset]
    for start in range(0, len(missing), together):
        some = data.where(np.isin(data.places, missing[start : start + together]))
        result = attacked(True, classifier, some)
        for place, one in zip(
            some.places, described(result, votes(classifier, some, result.adversarials)), strict=True
        ):
            files.write_json(paths[place], one)
            print(classifier.name, place, one, flush=True)
    return [json.loads(path.read_text()) for path in paths.values()]


def main() -> None:
    """Compares both searches on each model."""
    options = parser.parse_args()
    options.kept.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in options.models or [each for dataset in ("mnist", "cifar10") for each in zoo.names_for(dataset)]:
        classifier = Classifier.load(name)
        data = load_sample(classifier.card.dataset).first(options.examples)
        full, result = kept(classifier, data, options.kept), attacked(False, classifier, data)
        quick = described(result, votes(classifier, data, result.adversarials))
        as_far = votes(classifier, data, pushed(result, data, full, classifier.bounds))
        rms = [
            float(
                np.mean([one["rms"] for one, other in zip(found, against, strict=True) if one["rms"] and other["rms"]])
            )
            for found, against in ((quick, full), (full, quick))
        ]
        rows.append(
            {
                "model": name,
                "attacked": sum(one["attacked"] for one in full),
                "quick_success": sum(one["success"] for one in quick),
                "full_success": sum(one["success"] for one in full),
                "quick_rms": rms[0],
                "full_rms": rms[1],
                "ratio": rms[0] / rms[1],
                "quick_region_correct": sum(one["region_correct"] for one in quick),
                "full_region_correct": sum(one["region_correct"] for one in full),
                "quick_region_correct_as_far": int(as_far.sum()),
                "quick_gradients": round(np.mean([one["gradients"] for one in quick])),
                "full_gradients": round(np.mean([one["gradients"] for one in full])),
            }
        )
        print(rows[-1], flush=True)
    report("full_search", "OptMargin's quick search against the authors' full one", rows)


if __name__ == "__main__":
    main()
