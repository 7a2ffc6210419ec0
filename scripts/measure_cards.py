"""Measures models of the zoo on the full test sets anew, and writes the accuracies into their model cards.

    python scripts/measure_cards.py [NAME ...] [--data-dir FOLDER]

For when the attack behind a card's robust accuracy has changed; `advkeras models measure` only compares. About 45
minutes on two cores for all four models, 40 of them CIFAR-10's.
"""

import argparse
import json
from dataclasses import replace

from advkeras import datasets
from advkeras.attacks.accuracy import measure
from advkeras.models import Classifier, layout, zoo

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("names", nargs="*", default=zoo.names(), help="of the zoo; all models by default")
parser.add_argument("--data-dir", help="where tensorflow-datasets keeps the full test sets")
options = parser.parse_args()

for name in options.names:
    card = zoo.card(name)
    assert card is not None, name
    spec = datasets.get(card.dataset)
    data = datasets.load(spec.name, examples=spec.split_sizes["test"], data_dir=options.data_dir)
    accuracies = measure(Classifier.load(name), spec, data)
    replace(card, accuracies=accuracies).write(layout.version_folder(zoo.path(name)))
    print(name, json.dumps(accuracies), flush=True)
