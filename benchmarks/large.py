"""Memory and time of the commands on MobileNetV2 and ResNet50 at 224 x 224: random weights, images and labels.

Memory is the peak of a command's processes; "loaded" is that of one that has loaded the model and does nothing else.
With --before the same commands run on the code of another checkout, too. Budgets are small, so that it ends: batches
are as with large ones. What is done is kept in a folder, so that a run that was stopped goes on.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import advkeras  # noqa: F401 - before TensorFlow, which it tells what to use

# isort: split
import keras
import numpy as np
from measuring import once, peak_of, report

from advkeras.models import Classifier

NETWORKS = {"MobileNetV2": keras.applications.MobileNetV2, "ResNet50": keras.applications.ResNet50}
CLASSES, SHAPE, IMAGES = 10, (224, 224, 3), 8
# A command that takes more is stopped.
LIMIT = 14 * 2**30
LOADED = "from advkeras.models import Classifier; Classifier.load('{}', bounds=(0, 255))"

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--before", type=Path, metavar="FOLDER", help="another checkout")
parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
parser.add_argument("--commands", nargs="+", metavar="NAME", help="as in the table; all by default")
parser.add_argument("--kept", type=Path, default=Path(tempfile.gettempdir()) / "large", metavar="FOLDER")
options = parser.parse_args()


def commands(model: Path, data: Path, folder: Path) -> dict[str, list[str]]:
    """What is measured, by its name in the table."""
    given = ["-m", "advkeras"]
    used = ["--bounds", "0", "255", "--dataset", str(data)]
    budgets = ["optmargin.gradients=40", "optregion.gradients=6", "optregion.samples=20"]
    sets = [word for budget in budgets for word in ("--set", budget)]
    attacks = ["--attack", "fgsm,optmargin,optregion", "--no-convergence-check"]
    return {
        "loaded": ["-c", LOADED.format(model)],
        "evaluate": [*given, "evaluate", "--model", str(model), *used, *attacks, *sets, "--output", str(folder / "e")],
        "boundary": [
            *(*given, "boundary", "--model", str(model), *used, "--attack", "fgsm", "--examples", "4"),
            *("--reach", "4", "--output", str(folder / "b")),
        ],
        "export --verify": [
            *(*given, "export", str(model), "--bounds", "0", "255", "--radius", "5", "--samples", "16", "--verify"),
            *("--output", str(folder / "served")),
        ],
    }


def spread_classes(model: Any, images: Any) -> None:
    """Scales and shifts the last layer, so that images have different classes: random weights give them all one."""
    last = model.layers[-1]
    logits = Classifier.from_keras(model, bounds=(0, 255)).logits(images)
    kernel, bias = last.get_weights()
    scale = 3 / logits.std(axis=0)
    last.set_weights([kernel * scale, (bias - logits.mean(axis=0)) * scale])


def write_model(name: str, folder: Path) -> tuple[Path, Path]:
    """A network with random weights as a file, and images with the labels that it gives them as another."""
    keras.utils.set_random_seed(0)
    model = NETWORKS[name](weights=None, classes=CLASSES, input_shape=SHAPE)
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, *SHAPE)).astype(np.float32)
    spread_classes(model, images)
    model.save(folder / "net.keras")
    labels = Classifier.from_keras(model, bounds=(0, 255)).predict(images)
    np.savez(folder / "data.npz", images=images, labels=labels)
    return folder / "net.keras", folder / "data.npz"


def measured(command: list[str], checkout: Path) -> dict[str, Any]:
    """Memory and time of a command, and whether it has ended by itself."""
    peak, seconds, code = peak_of(command, checkout, limit=LIMIT)
    return {"gb": peak / 2**30, "seconds": seconds, "ended": code == 0}


def main() -> None:
    """Measures each command on each network."""
    checkouts = {"after": Path(__file__).parents[1], **({"before": options.before.resolve()} if options.before else {})}
    rows: list[dict[str, Any]] = []
    for name in options.networks:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            model, data = write_model(name, folder)
            for title in options.commands or commands(model, data, folder):
                row: dict[str, Any] = {"network": name, "command": title}
                for kind, checkout in checkouts.items():
                    command = commands(model, data, folder / kind)[title]
                    path = options.kept / f"{name}-{title}-{kind}.json"
                    found = once(path, lambda command=command, checkout=checkout: measured(command, checkout))
                    row |= {f"{kind}_{key}": found[key] for key in ("gb", "seconds", "ended")}
                rows.append(row)
                print(row, flush=True)
    report("large", "Memory and time at 224 x 224, 8 images", rows, stopped_beyond_gb=LIMIT / 2**30)


if __name__ == "__main__":
    main()
