"""Seconds of each attack on the zoo's models, by this checkout's code over another's, called in turns.

Each checkout has a process of its own, which waits while the other one works. Compilation is apart. An attack has the
parameters of `evaluate`, in this checkout and in that. Last comes the whole command, from its start to its end.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measuring import in_turns, of_checkout, report, seconds

ATTACKS = (
    *("fgsm", "pgd", "optlinf", "optbrittle", "optstrong", "optmargin", "optregion", "optmimic"),
    *("square", "hopskipjump"),
)
WORKER = """
import sys
from advkeras.attacks import configure
from advkeras.datasets import CIFAR10, MNIST, load_sample
from advkeras.models import Classifier
for line in sys.stdin:
    name, attack, images = line.split()
    spec = {each.name: each for each in (MNIST, CIFAR10)}[name.split("-")[0]]
    data = load_sample(spec.name).first(int(images))
    configured = configure(attack, getattr(spec, "constants", spec))  # older code has a name of its own for them
    classifier = Classifier.load(name)
    for _ in range(2):  # the first one compiles
        result = configured(classifier, data.images, data.labels)
    print("seconds", result.seconds, flush=True)
    for line in sys.stdin:
        if line.strip() == "next":
            break
        print("seconds", configured(classifier, data.images, data.labels).seconds, flush=True)
"""


class Worker:
    """A process that runs attacks by one checkout's code."""

    def __init__(self, checkout: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", WORKER],
            env=of_checkout(checkout),
            cwd=checkout,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def say(self, line: str) -> None:
        """Sends a line that needs no answer."""
        assert self._process.stdin
        print(line, file=self._process.stdin, flush=True)

    def seconds(self, line: str) -> float:
        """Sends a line, and waits for the seconds that the attack took."""
        self.say(line)
        assert self._process.stdout
        for answer in self._process.stdout:
            if answer.startswith("seconds"):
                return float(answer.split()[1])
        raise SystemExit("a checkout's process has ended")


def whole_run(checkout: Path, dataset: str, images: int) -> float:
    """Seconds of `advkeras evaluate`."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["evaluate", "--dataset", dataset, "--examples", str(images), "--output", folder]
        return seconds(
            lambda: subprocess.run(
                [sys.executable, "-m", "advkeras", *command],
                env=of_checkout(checkout),
                cwd=checkout,
                check=True,
                capture_output=True,
            )
        )


def row(model: str, what: str, pairs: Sequence[tuple[float, float, float]]) -> dict[str, Any]:
    """Of seconds of the other checkout, of this one, and of the other one again."""
    return {
        "model": model,
        "attack": what,
        "seconds_before": float(np.median([(first + last) / 2 for first, _, last in pairs])),
        "seconds": float(np.median([middle for _, middle, _ in pairs])),
        **in_turns(pairs),
    }


def main() -> None:
    """Runs the attacks, then the commands, in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, metavar="FOLDER", help="the other checkout")
    parser.add_argument("--models", nargs="*", default=["mnist-natural", "cifar10-natural"])
    parser.add_argument("--attacks", nargs="+", default=list(ATTACKS))
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--evaluate", nargs="*", default=["mnist"], metavar="DATASET", help="for the whole command")
    parser.add_argument("--command-rounds", type=int, default=2)
    options = parser.parse_args()
    checkouts = Path(__file__).parents[1], options.before.resolve()
    after, before = map(Worker, checkouts)
    rows = []
    for model in options.models:
        for attack in options.attacks:
            for worker in (after, before):
                worker.seconds(f"{model} {attack} {options.images}")
            pairs = [
                (before.seconds("again"), after.seconds("again"), before.seconds("again"))
                for _ in range(options.rounds)
            ]
            for worker in (after, before):
                worker.say("next")
            rows.append(row(model, attack, pairs))
            print(rows[-1], flush=True)
    for dataset in options.evaluate:
        pairs = [
            tuple(whole_run(checkouts[place], dataset, options.images) for place in (1, 0, 1))
            for _ in range(options.command_rounds)
        ]
        rows.append(row(dataset, "advkeras evaluate", pairs))
        print(rows[-1], flush=True)
    report(
        "checkouts",
        f"Seconds of an attack over another checkout's, {options.images} images",
        rows,
        rounds=options.rounds,
    )


if __name__ == "__main__":
    main()
