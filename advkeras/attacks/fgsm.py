"""The fast gradient sign method (Goodfellow et al., ICLR 2015)."""

from dataclasses import dataclass
from typing import Any, ClassVar

import tensorflow as tf

from advkeras.arrays import FloatArray, Progress
from advkeras.attacks.families import FixedNormAttack
from advkeras.models import Classifier
from advkeras.searches.batches import run_in_batches
from advkeras.searches.gradients import loss_slope
from advkeras.searches.problem import Problem


@dataclass(frozen=True, kw_only=True)
class FGSM(FixedNormAttack):
    """One step of epsilon along the sign of the cross-entropy's gradient (Goodfellow et al. 2015, section 4).

    The gradient is computed so that neither rounding nor the logits' temperature decides it
    (:func:`advkeras.searches.gradients.cross_entropy_margin`).

    Args:
        epsilon: change of each pixel, in the classifier's pixel unit.
        jit_compile: compile the attack's loop by XLA. Measure it: on CPUs it is mostly slower.
    """

    jit_compile: bool = False

    name: ClassVar[str] = "fgsm"
    title: ClassVar[str] = "FGSM"

    def run(self, classifier: Classifier, problem: Problem, progress: Progress) -> FloatArray:
        """Candidates for the problem's images, batch by batch."""
        attack = classifier.graph(
            (self.name, problem.targeted),
            lambda: self._graph_function(classifier, problem.targeted),
            [classifier.image_signature, tf.TensorSpec((None,), tf.int32), tf.TensorSpec((), tf.float32)],
            jit_compile=self.jit_compile,
        )
        candidates, zero, nonfinite = run_in_batches(
            classifier,
            lambda batch: attack(problem.images[batch], problem.goals[batch], self.within(classifier)),
            len(problem),
            batch_size=self.batch_size,
            progress=progress,
            fixed_shapes=self.jit_compile,
        )
        problem.weak.add(zero, nonfinite)
        return candidates

    def _graph_function(self, classifier: Classifier, targeted: bool) -> Any:
        def attack(images: Any, goals: Any, epsilon: Any) -> tuple[Any, Any, Any]:
            slope = loss_slope(classifier, images, goals, targeted=targeted)
            moved = tf.clip_by_value(images + epsilon * tf.sign(slope.gradient), *classifier.bounds)
            return moved, tf.cast(slope.zero, tf.int32), tf.cast(slope.nonfinite, tf.int32)

        return attack
