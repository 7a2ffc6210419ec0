"""Memory of `evaluate` on 1,000 and on 10,000 images, and whether the first 1,000 get the same results in both.

The full data set must be prepared (`advkeras datasets prepare mnist`). `--gradients` is OptBrittle's budget.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from measuring import peak_of, report

from advkeras.attacks import AttackResult

FEW, MANY = 1_000, 10_000
ATTACKS = ("fgsm", "optbrittle")

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--model", default="mnist-natural", metavar="NAME", help="of the zoo")
parser.add_argument("--gradients", type=int, default=200)
parser.add_argument("--data-dir", type=Path, required=True)
options = parser.parse_args()


def evaluated(examples: int, folder: Path) -> tuple[int, float]:
    """Peak memory in bytes and seconds of a run; ends the benchmark if it fails."""
    command = [
        *("-m", "advkeras", "evaluate", "--model", options.model, "--data-dir", str(options.data_dir.resolve())),
        *(word for name in ATTACKS for word in ("--attack", name)),
        *("--set", f"optbrittle.gradients={options.gradients}", "--examples", str(examples), "--output", str(folder)),
    ]
    peak, seconds, code = peak_of(command, Path(__file__).parents[1])
    if code:
        raise SystemExit(f"the run on {examples:,} images ended with {code}")
    return peak, seconds


def same(few: Path, many: Path) -> bool:
    """Whether the first images have the same examples in both."""
    found = [AttackResult.read(folder) for folder in (few, many)]
    return np.array_equal(found[0].adversarials, found[1].adversarials[:FEW]) and np.array_equal(
        found[0].success, found[1].success[:FEW]
    )


with tempfile.TemporaryDirectory() as temporary:
    folders = {count: Path(temporary) / str(count) for count in (FEW, MANY)}
    measured = {count: evaluated(count, folder) for count, folder in folders.items()}
    (least, _), (most, _) = (measured[count] for count in (FEW, MANY))
    rows = [
        {
            "model": options.model,
            "images": count,
            "peak_gb": peak / 2**30,
            "peak_ratio": peak / least,
            "seconds_per_image": seconds / count,
            "first_1000_equal": all(
                same(*(folders[each] / options.model / f"{name}.npz" for each in (FEW, count))) for name in ATTACKS
            ),
        }
        for count, (peak, seconds) in measured.items()
    ]
report("long_runs", "Memory of evaluate on many images", rows, gradients=options.gradients)
