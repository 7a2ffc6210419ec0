"""Prints by how many logits the true class of benign images leads, on each model of the zoo and its shipped sample.

python scripts/measure_leads.py
"""

import numpy as np

from advkeras.attacks.gradients import adversarial_margin
from advkeras.datasets import load_sample
from advkeras.models import Classifier, zoo

for name in zoo.names():
    classifier = Classifier.load(name)
    sample = load_sample(classifier.card.dataset)
    lead = -adversarial_margin(classifier.logits(sample.images), sample.labels, targeted=False).numpy()
    print(f"{name}: median {np.median(lead):.1f}, at most {lead.max():.1f}, {len(sample)} images")
