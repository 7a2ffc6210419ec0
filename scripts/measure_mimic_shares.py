"""Measures OptMimic by its share, for choosing it; writes docs/results/optmimic_shares.json.

    python scripts/measure_mimic_shares.py

For each share: on how many digits OptMimic succeeds, at which distortion, and how many of its examples a detector
misses that was trained on OptMargin's. All digits belong to those that `advkeras detect --examples 1000` trains on, so
none of them is of its test part. About half an hour on two cores.
"""

import tempfile
from pathlib import Path

from documents import write

from advkeras.attacks import configure
from advkeras.datasets import MNIST, load_sample
from advkeras.evaluation.detection import detect
from advkeras.evaluation.detection_results import BOUNDARIES
from advkeras.evaluation.protocol import boundary_search
from advkeras.models import Classifier

EXAMPLES, SHARES = 240, (0.9, 0.95, 0.97, 0.99, 0.995)

classifier, data = Classifier.load("mnist-natural"), load_sample("mnist").first(EXAMPLES)
by_share = {}
with tempfile.TemporaryDirectory() as folder:
    for share in SHARES:
        report = detect(
            classifier,
            data,
            MNIST,
            train_attacks=[configure("optmargin", MNIST)],
            test_attacks=[configure("optmimic", MNIST, share=share)],
            search=boundary_search(MNIST, mode="quick"),
            output=Path(folder),
        )
        (row,) = (row for row in report.rows if row.detector == BOUNDARIES)
        missed = row.false_negatives["OptMimic"]
        by_share[str(share)] = {
            "success": missed.of,
            "rms": report.distortion["OptMimic"],
            "missed": missed.count,
            "false_positives": row.false_positives.rate,
        }
        print(share, by_share[str(share)], flush=True)
write(
    "optmimic_shares",
    {
        "model": classifier.name,
        "images": EXAMPLES,
        "tested_on_the_last": EXAMPLES - round(0.8 * EXAMPLES),
        "by_share": by_share,
    },
)
