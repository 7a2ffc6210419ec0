"""The fast gradient sign method (Goodfellow et al., ICLR 2015)."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from advkeras.attacks.base import FixedNormAttack, FloatArray, Problem, Progress, Tally
from advkeras.attacks.batches import run_in_batches
from advkeras.attacks.gradients import cross_entropy_gradient
from advkeras.models import Classifier


@dataclass(frozen=True, kw_only=True)
class FGSM(FixedNormAttack):
    """One step of epsilon along the sign of the cross-entropy's gradient (Goodfellow et al. 2015, section 4).

    Args:
        epsilon: change of each pixel, in the classifier's pixel unit.
    """

    name: ClassVar[str] = "fgsm"
    title: ClassVar[str] = "FGSM"

    def run(self, classifier: Classifier, problem: Problem, tally: Tally, progress: Progress) -> FloatArray:
        """Candidates for the problem's images, batch by batch."""
        attack = classifier.graph(
            (self, problem.targeted),
            lambda: self._graph_function(classifier, problem.targeted),
            [classifier.image_signature, tf.TensorSpec((None,), tf.int32)],
            jit_compile=self.jit_compile,
        )
        tally.gradients += len(problem)
        return run_in_batches(
            lambda batch: attack(problem.images[batch], problem.goals[batch]),
            len(problem),
            batch_size=self.batch_size,
            progress=progress,
            fixed_shapes=self.jit_compile,
        )

    def distance(self, difference: FloatArray) -> FloatArray:
        """The largest change of a pixel."""
        return np.asarray(np.abs(difference).reshape(len(difference), -1).max(axis=1))

    def _graph_function(self, classifier: Classifier, targeted: bool) -> Any:
        def attack(images: Any, goals: Any) -> Any:
            gradient = cross_entropy_gradient(classifier, images, goals, targeted=targeted)
            return tf.clip_by_value(images + self.epsilon * tf.sign(gradient), *classifier.bounds)

        return attack
