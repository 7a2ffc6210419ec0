"""Measures why a data set's tables differ from the paper's; writes docs/results/DATASET_margins.json.

    python scripts/measure_margins.py [mnist] [cifar10]

For each model of the zoo: by how many logits benign images lead, how often FGSM succeeds with cross-entropy's gradient
as float32 computes it and as our attacks take it, how often OptStrong reaches smaller margins than 40, and how region
classification fares against OptMargin when the ensemble's members are clipped to the pixel range, as the points of
region classification are. On two cores about five minutes for MNIST, ten for CIFAR-10.
"""

import json
import sys
from typing import Any

import numpy as np
import tensorflow as tf
from documents import write

from advkeras.attacks import configure
from advkeras.datasets import DatasetSpec, LabelledImages, load_sample, registry
from advkeras.defenses.region_classification import RegionClassification
from advkeras.models import Classifier, zoo
from advkeras.searches.gradients import adversarial_margin

# Images for the searches, and the margins that OptStrong is asked for.
EXAMPLES = {"mnist": 50, "cifar10": 20}
CONFIDENCES = {"mnist": (5.0, 10.0, 15.0, 20.0, 40.0), "cifar10": (1.0, 2.0, 5.0, 10.0, 20.0, 40.0)}


def fgsm_successes(classifier: Classifier, spec: DatasetSpec, sample: LabelledImages) -> dict[str, int]:
    """Of the sample's correctly classified images, how many a step along the sign of either gradient turns."""
    right = classifier.predict(sample.images) == sample.labels
    turned = []
    for part in np.array_split(np.arange(len(sample)), max(1, len(sample) // 100)):
        images = tf.constant(sample.images[part])
        with tf.GradientTape() as tape:
            tape.watch(images)
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(sample.labels[part], classifier(images))
        moved = images + spec.epsilon * tf.sign(tape.gradient(loss, images))
        moved = np.clip(moved, *classifier.bounds)
        turned.append(classifier.predict(moved) != sample.labels[part])
    ours = configure("fgsm", spec)(classifier, sample.images, sample.labels)
    return {
        "float32": int((right & np.concatenate(turned)).sum()),
        "ours": int(ours.success.sum()),
        "of": int(right.sum()),
    }


def measured(classifier: Classifier, spec: DatasetSpec) -> dict[str, Any]:
    """What the file says of a model."""
    sample = load_sample(spec.name)
    data = sample.first(EXAMPLES[spec.name])
    lead = -adversarial_margin(classifier.logits(sample.images), sample.labels, targeted=False).numpy()
    strong = {}
    for confidence in CONFIDENCES[spec.name]:
        found = configure("optstrong", spec, confidence=confidence)(classifier, data.images, data.labels)
        distortion = float(found.distortion[found.success].mean()) if found.success.any() else None
        strong[f"{confidence:g}"] = {"success": found.success_rate, "rms": distortion}
    region = RegionClassification(classifier, radius=spec.region_radius, samples=100, seed=0)
    ensembles = {}
    for clip_members in (False, True):
        found = configure("optmargin", spec, clip_members=clip_members)(classifier, data.images, data.labels)
        ensembles["clipped" if clip_members else "not clipped"] = {
            "success": found.success_rate,
            "rms": float(found.distortion[found.success].mean()),
            "region": float((region.predict(found.adversarials)["class"] == data.labels).mean()),
        }
    return {
        "benign_lead": {"median": float(np.median(lead)), "most": float(lead.max()), "images": len(sample)},
        "fgsm_by_gradient": fgsm_successes(classifier, spec, sample),
        "optstrong_by_confidence": strong,
        "optmargin_by_members": ensembles,
    }


for spec in map(registry.get, sys.argv[1:] or EXAMPLES):
    models = {}
    for name in zoo.names_for(spec.name):
        models[name] = measured(Classifier.load(name), spec)
        print(name, json.dumps(models[name], indent=2), flush=True)
    write(f"{spec.name}_margins", {"examples": EXAMPLES[spec.name], "models": models})
