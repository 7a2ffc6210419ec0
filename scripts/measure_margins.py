"""Measures why the MNIST models' tables differ from the paper's; writes docs/results/mnist_margins.json.

    python scripts/measure_margins.py

For each model of the zoo: by how many logits benign images lead, how often FGSM succeeds with cross-entropy's gradient
as float32 computes it and as our attacks take it, how often OptStrong reaches smaller margins than 40, and how region
classification fares against OptMargin when the ensemble's members are clipped to the pixel range, as the points of
region classification are. About five minutes on two cores.
"""

import json
from pathlib import Path

import numpy as np
import tensorflow as tf

from advkeras import provenance
from advkeras.attacks import configure
from advkeras.attacks.gradients import adversarial_margin
from advkeras.datasets import MNIST, load_sample
from advkeras.defenses.region_classification import RegionClassification
from advkeras.models import Classifier, zoo

TARGET = Path(__file__).parents[1] / "docs" / "results" / "mnist_margins.json"
EXAMPLES = 50
CONFIDENCES = (5.0, 10.0, 15.0, 20.0, 40.0)


def fgsm_successes(classifier: Classifier) -> dict[str, int]:
    """Of the sample's correctly classified images, how many a step along the sign of either gradient turns."""
    epsilon = MNIST.constants.epsilon
    images = tf.constant(sample.images)
    with tf.GradientTape() as tape:
        tape.watch(images)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(sample.labels, classifier(images))
    moved = np.clip(sample.images + epsilon * np.sign(tape.gradient(loss, images)), *classifier.bounds)
    right = classifier.predict(sample.images) == sample.labels
    ours = configure("fgsm", MNIST.constants)(classifier, sample.images, sample.labels)
    return {
        "float32": int((right & (classifier.predict(moved) != sample.labels)).sum()),
        "ours": int(ours.success.sum()),
        "of": int(right.sum()),
    }


sample = load_sample("mnist")
data = sample.first(EXAMPLES)
models = {}
for name in zoo.names_for("mnist"):
    classifier = Classifier.load(name)
    lead = -adversarial_margin(classifier.logits(sample.images), sample.labels, targeted=False).numpy()
    strong = {}
    for confidence in CONFIDENCES:
        found = configure("optstrong", MNIST.constants, confidence=confidence)(classifier, data.images, data.labels)
        distortion = float(found.distortion[found.success].mean()) if found.success.any() else None
        strong[f"{confidence:g}"] = {"success": float(found.success.mean()), "rms": distortion}
    region = RegionClassification(classifier, radius=MNIST.constants.region_radius, samples=100, seed=0)
    ensembles = {}
    for clip_members in (False, True):
        found = configure("optmargin", MNIST.constants, clip_members=clip_members)(classifier, data.images, data.labels)
        ensembles["clipped" if clip_members else "not clipped"] = {
            "success": float(found.success.mean()),
            "rms": float(found.distortion[found.success].mean()),
            "region": float((region.predict(found.adversarials)["class"] == data.labels).mean()),
        }
    models[name] = {
        "benign_lead": {"median": float(np.median(lead)), "most": float(lead.max()), "images": len(sample)},
        "fgsm_by_gradient": fgsm_successes(classifier),
        "optstrong_by_confidence": strong,
        "optmargin_by_members": ensembles,
    }
    print(name, json.dumps(models[name], indent=2))
TARGET.write_text(
    json.dumps(
        {"examples": EXAMPLES, "models": models, "versions": provenance.versions(), "device": provenance.device()},
        indent=2,
    )
    + "\n"
)
