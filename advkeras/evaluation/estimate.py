"""How long units will take, before they are computed: what they send through the networks, and what that takes here."""

import time
from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from advkeras.evaluation.units import OfModel
from advkeras.models import Classifier
from advkeras.runs.unit import Unit

# Images that are sent at once to measure what they take; a pass that takes no longer than this is taken again.
_IMAGES, _LEAST = 16, 0.05


def estimated_seconds(units: Iterable[Unit]) -> float:
    """What units take on this machine, one after the other.

    Forward and gradient passes are measured on a few images of each classifier; what comes on top, compiling above all,
    is left out.

    Args:
        units: to compute; those that no classifier is asked in take nothing.
    """
    taken: dict[Classifier, tuple[float, float]] = {}
    total = 0.0
    for unit in units:
        if isinstance(unit, OfModel):
            if unit.classifier not in taken:
                taken[unit.classifier] = measured_passes(unit.classifier)
            forward, gradient = taken[unit.classifier]
            total += unit.passes.forwards * forward + unit.passes.gradients * gradient
    return total


def measured_passes(classifier: Classifier) -> tuple[float, float]:
    """Seconds of one image's forward pass, and of its gradient, in batches.

    Args:
        classifier: that is asked; where it has no gradients, theirs takes nothing.
    """
    count = min(_IMAGES, classifier.at_once)
    images = tf.random.stateless_uniform((count, *classifier.input_shape), (0, 0), *classifier.bounds)

    def gradient(images: Any) -> Any:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            logits = classifier(images)
        return tape.gradient(logits, images)

    signature = [classifier.image_signature]
    forward = _seconds(lambda: classifier.logits(images)) / count
    if not classifier.differentiable:
        return forward, 0.0
    compiled = classifier.graph("estimated gradient", lambda: gradient, signature)
    return forward, _seconds(lambda: compiled(images).numpy()) / count


def _seconds(run: Any) -> float:
    run()  # compiles
    times: list[float] = []
    while len(times) < 2 or sum(times) < _LEAST:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)
