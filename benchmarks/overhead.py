"""(a) What an attack's iteration costs over the bare gradient of the same batch.

An attack is run with few iterations and with more; the difference, divided by the iterations, is an iteration's time
without compilation, checks and verification. Members count as images: each batch has about 256.
"""

from typing import Any

import numpy as np
import tensorflow as tf
from common import alternating, digits, models, report

from advkeras.attacks import FGSM, PGD, Attack, OptBrittle, OptMargin, OptRegion, OptStrong
from advkeras.attacks.base import Problem, Tally
from advkeras.attacks.gradients import adversarial_margin

FEW, MORE, ROUNDS = 10, 30, 7
PENALTY = {"search": "penalty", "weight_steps": 1}


def pairs() -> list[tuple[str, int, Attack, Attack]]:
    """Title, members of each image, and the attack with few iterations and with more."""

    def two(build: Any, parameter: str) -> tuple[Attack, Attack]:
        return build(**{parameter: FEW}), build(**{parameter: MORE})

    return [
        ("PGD", 1, *two(lambda **n: PGD(epsilon=0.3, step=0.01, **n), "iterations")),
        ("OptBrittle, decoupled", 1, *two(OptBrittle, "steps")),
        ("OptStrong, decoupled", 1, *two(OptStrong, "steps")),
        ("OptBrittle, penalty", 1, *two(lambda **n: OptBrittle(**PENALTY, **n), "iterations")),
        ("OptMargin, penalty", 20, *two(lambda **n: OptMargin(member_rms=0.3, **PENALTY, **n), "iterations")),
        ("OptMargin, decoupled", 20, *two(lambda **n: OptMargin(member_rms=0.3, search="decoupled", **n), "steps")),
        ("OptRegion, search", 4, *two(lambda **n: OptRegion(radius=0.3, **n), "steps")),
    ]


rows = []
for classifier in models():
    data = digits(256)

    @tf.function
    def bare(images: Any, labels: Any) -> Any:
        """The margin's gradient."""
        with tf.GradientTape() as tape:
            tape.watch(images)
            margin = adversarial_margin(classifier(images), labels, targeted=False)
        return tape.gradient(margin, images)

    images, labels = tf.constant(data.images), tf.constant(data.labels, tf.int32)
    fast, classes = FGSM(epsilon=0.3), np.asarray(data.labels, np.int32)
    whole = Problem(data.images, classes, False)
    timed = alternating(
        {
            "bare": lambda: bare(images, labels).numpy(),
            "fgsm": lambda: fast.run(classifier, whole, Tally(), lambda done, total: None),
        },
        rounds=3 * ROUNDS,
    )
    rows.append({"model": classifier.name, "attack": "FGSM", "members": 1, "ratio": timed["fgsm"] / timed["bare"]})
    for title, members, few, more in pairs():
        count = 256 // members
        problem = Problem(data.images[:count], classes[:count], False)

        def run(attack: Attack) -> Any:
            """The search alone; OptRegion's looks at the vote afterwards are the same for few and more."""
            return attack.run(classifier, problem, Tally(), lambda done, total: None)

        sliced, sliced_labels = images[: count * members], labels[: count * members]
        timed = alternating(
            {
                "bare": lambda: [bare(sliced, sliced_labels).numpy() for _ in range(MORE - FEW)],
                "few": lambda: run(few),
                "more": lambda: run(more),
            },
            rounds=ROUNDS,
        )
        ratio = (timed["more"] - timed["few"]) / timed["bare"]
        rows.append({"model": classifier.name, "attack": title, "members": members, "ratio": ratio})
report("overhead", "An iteration over the bare gradient of the same batch", rows, rounds=ROUNDS)
