"""(a) What an attack's iterations cost over as many bare gradients of the same batch.

Members count as images: each batch has about 256. A search's time holds all that its loop does, handing batches to and
fro and setting up included; checks, verification and compilation are apart.
"""

from collections.abc import Callable
from typing import Any

import advkeras  # noqa: F401 - before TensorFlow, which it tells what to use

# isort: split
import numpy as np
import tensorflow as tf
from measuring import digits, in_turns, models, report, seconds

from advkeras.attacks import (
    FGSM,
    PGD,
    Attack,
    DecoupledSearch,
    OptBrittle,
    OptMargin,
    OptRegion,
    OptStrong,
    PenaltySearch,
)
from advkeras.attacks.opt_attack import OptAttack
from advkeras.models import Classifier
from advkeras.randomness import derive_seeds
from advkeras.searches.gradients import adversarial_margin
from advkeras.searches.problem import Problem
from advkeras.searches.single_search import SingleSearch

ITERATIONS, PAIRS = 10, 7
PENALTY = PenaltySearch(weight_steps=1, iterations=ITERATIONS)
DECOUPLED = DecoupledSearch(gradients=ITERATIONS)
REGION = OptRegion(radius=0.3)

# Title, members of each image, iterations, attack.
ATTACKS: tuple[tuple[str, int, int, Attack], ...] = (
    ("FGSM", 1, 1, FGSM(epsilon=0.3)),
    ("PGD", 1, ITERATIONS, PGD(epsilon=0.3, loss="margin", iterations=ITERATIONS)),
    ("OptBrittle, decoupled", 1, ITERATIONS, OptBrittle(search=DECOUPLED)),
    ("OptBrittle, penalty", 1, ITERATIONS, OptBrittle(search=PENALTY)),
    ("OptStrong, decoupled", 1, ITERATIONS, OptStrong(search=DECOUPLED)),
    ("OptMargin, penalty", 20, ITERATIONS, OptMargin(member_rms=0.3, search=PENALTY)),
    # From 10 iterations on it would begin with a few members at a time.
    ("OptMargin, decoupled", 20, 9, OptMargin(member_rms=0.3, search=DecoupledSearch(gradients=9))),
    ("OptRegion, search", REGION.members, ITERATIONS, REGION),
)


def bare_gradients(classifier: Classifier, data: Any, count: int, iterations: int) -> Callable[[], Any]:
    """As many gradients of the margin of a batch."""

    @tf.function
    def gradient(images: Any, labels: Any) -> Any:
        """The margin's gradient."""
        with tf.GradientTape() as tape:
            tape.watch(images)
            margin = adversarial_margin(classifier(images), labels, targeted=False)
        return tape.gradient(margin, images)

    images, labels = tf.constant(data.images[:count]), tf.constant(data.labels[:count], tf.int32)
    return lambda: [gradient(images, labels).numpy() for _ in range(iterations)]


def search(attack: Attack, classifier: Classifier, data: Any, count: int) -> Callable[[], Any]:
    """The attack's loop; of OptRegion a single search, without its looks at the vote, which are forwards."""
    problem = Problem(data.images[:count], np.asarray(data.labels[:count], np.int32), False, data.places[:count])

    def progress(done: int, total: int) -> None:
        """Nobody looks."""

    if isinstance(attack, OptRegion):
        ensemble = attack._ensemble(classifier, problem, attack.members)
        seeds = derive_seeds(0, "overhead", places=problem.places)
        single = SingleSearch(classifier=classifier, ensemble=ensemble, norm="l2", batch_size=256)
        return lambda: single.once(problem, iterations=ITERATIONS, seeds=seeds, progress=progress)
    if isinstance(attack, OptAttack):
        return lambda: attack.candidates(classifier, problem, progress)
    return lambda: attack.run(classifier, problem, progress)


rows = []
for classifier in models():
    data = digits(256)
    for title, members, iterations, attack in ATTACKS:
        count = 256 // members
        bare = bare_gradients(classifier, data, count * members, iterations)
        loop = search(attack, classifier, data, count)
        bare(), loop()
        pairs = [(seconds(bare), seconds(loop), seconds(bare)) for _ in range(PAIRS if iterations > 1 else 5 * PAIRS)]
        rows.append(
            {
                "model": classifier.name,
                "attack": title,
                "members": members,
                **in_turns(pairs),
            }
        )
        print(rows[-1], flush=True)
report("overhead", "An iteration over the bare gradient of the same batch", rows, pairs=PAIRS, iterations=ITERATIONS)
