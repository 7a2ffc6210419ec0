"""The two families of attacks: within a given distance of the image, and at the least distance."""

from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from advkeras.arrays import BoolArray, FloatArray, Progress, l2, linf, rms, slack
from advkeras.attacks.base import Attack
from advkeras.datasets.registry import DatasetSpec
from advkeras.errors import InvalidInputError
from advkeras.models import Classifier
from advkeras.models.classifier import classes_of
from advkeras.models.pixel_grid import reach, towards
from advkeras.parameters import NotNegative
from advkeras.searches.geometry import pictures_within
from advkeras.searches.gradients import adversarial_margin
from advkeras.searches.norms import NormName
from advkeras.searches.problem import Problem, fooled_by

# By what share of epsilon a candidate may exceed it without being a fault of the attack; it is no example either way.
_OVERSHOOT = 0.01


@cache
def _pictures(shape: tuple[int, ...], bounds: tuple[float, float], levels: int) -> Any:
    """:func:`pictures_within` of images of a shape, compiled: Square asks for them at every query."""
    images = tf.TensorSpec((None, *shape), tf.float32)
    return tf.function(
        lambda images, direction, norm: pictures_within(images, direction, norm, bounds, levels),
        input_signature=[images, images, tf.TensorSpec((None,), tf.float32)],
        autograph=False,
    )


@dataclass(frozen=True, kw_only=True)
class FixedNormAttack(Attack):
    """An attack that stays within a given distance of the image and tries to be misclassified there.

    Args:
        epsilon: the largest distance, in the classifier's pixel unit.

    Attributes:
        norm: of the distance: ``"linf"``, the largest change of a pixel, or ``"l2"``, the Euclidean length.
    """

    epsilon: NotNegative

    norm: ClassVar[NormName] = "linf"

    @classmethod
    def parameters_on(cls, spec: DatasetSpec, *, full_search: bool) -> dict[str, Any]:
        """The data set's epsilon."""
        return {"epsilon": spec.epsilon}

    def distance(self, difference: FloatArray) -> FloatArray:
        """The norm that epsilon bounds."""
        return linf(difference) if self.norm == "linf" else l2(difference)

    def within(self, classifier: Classifier) -> float:
        """The epsilon of a search, in pixel units: in L-inf of pictures the largest change that is no larger."""
        if classifier.levels is None or self.norm == "l2":
            return self.epsilon
        return reach(self.epsilon, classifier.bounds, classifier.levels)

    def settle(self, classifier: Classifier, images: FloatArray, candidates: FloatArray) -> FloatArray:
        """The nearest pictures within epsilon; in L2 those along the way to the candidates."""
        nearest = super().settle(classifier, images, candidates)
        if classifier.levels is None:
            return nearest
        bounds, levels = classifier.bounds, classifier.levels
        inside = self.distance(nearest - images) <= self.epsilon + slack(bounds)
        if self.norm == "linf":
            inner = towards(images, candidates, bounds, levels)
        else:
            # What rounding leaves alone is a picture already; of the rest it may round all that is there away.
            inside &= linf(nearest - candidates) <= slack(bounds)
            length = np.minimum(l2(candidates - images), np.float32(self.epsilon))
            inner = _pictures(images.shape[1:], bounds, levels)(images, candidates - images, length).numpy()
        return np.where(inside[:, None, None, None], nearest, inner)

    def _candidates(self, classifier: Classifier, problem: Problem, progress: Progress) -> FloatArray:
        candidates = super()._candidates(classifier, problem, progress)
        distance = self.distance(candidates - problem.images)
        outside = distance > (1 + _OVERSHOOT) * self.epsilon + slack(classifier.bounds)
        if outside.any():
            raise InvalidInputError(
                f"{self.title}.run must return candidates within epsilon, {self.epsilon:.6g}, of their images, or the "
                f"images. Received: {int(outside.sum())} of {len(candidates)} farther away, by up to "
                f"{float(distance.max()):.6g} ({self.norm})"
            )
        return candidates

    def verify(self, classifier: Classifier, problem: Problem, candidates: FloatArray) -> BoolArray:
        """Whether each candidate is misclassified and lies within epsilon of its image."""
        within = self._within(classifier, problem, candidates)
        return within & fooled_by(self._predict(classifier, candidates), problem.goals, targeted=problem.targeted)

    def _kept(self, classifier: Classifier, problem: Problem, candidates: FloatArray, fooled: BoolArray) -> FloatArray:
        return self._near(classifier, problem, candidates)

    def _near(self, classifier: Classifier, problem: Problem, candidates: FloatArray) -> FloatArray:
        """Candidates (N, H, W, C); the image itself in place of one that lies outside."""
        within = self._within(classifier, problem, candidates)
        return np.where(within[:, None, None, None], candidates, problem.images)

    def _within(self, classifier: Classifier, problem: Problem, candidates: FloatArray) -> BoolArray:
        return np.asarray(self.distance(candidates - problem.images) <= self.epsilon + slack(classifier.bounds))


@dataclass(frozen=True, kw_only=True)
class MinimumNormAttack(Attack):
    """An attack that looks for the least distortion that is misclassified.

    Attributes:
        norm: that it makes small: ``"l2"``, told as RMS, or ``"linf"``, the largest change of a pixel.
    """

    norm: ClassVar[NormName] = "l2"

    @property
    def margin(self) -> float:
        """By how much, in logits, the wrong class must lead."""
        return 0.0

    @property
    def unconstrained(self) -> bool:
        """Where it has gradients to go by, and no lead of the wrong class is asked for."""
        return self.needs_gradient and not self.margin

    def distance(self, difference: FloatArray) -> FloatArray:
        """What the attack makes small: RMS over pixels and channels, or the largest change of a pixel."""
        return linf(difference) if self.norm == "linf" else rms(difference)

    def verify(self, classifier: Classifier, problem: Problem, candidates: FloatArray) -> BoolArray:
        """Whether each candidate is misclassified by the margin asked for."""
        return self._fooled(classifier, problem, candidates)

    def _fooled(self, classifier: Classifier, problem: Problem, images: FloatArray) -> BoolArray:
        """Whether images (N, H, W, C) are misclassified by the margin asked for: (N,).

        Where two logits are equal, as those of quantised models may be, the class that the model says counts.
        """
        logits = classifier.logits(images, batch_size=self.batch_size)
        margins = adversarial_margin(logits, problem.goals, targeted=problem.targeted).numpy()
        fooled = fooled_by(classes_of(logits).numpy(), problem.goals, targeted=problem.targeted)
        return np.asarray(fooled & (margins >= self.margin))

    def _kept(self, classifier: Classifier, problem: Problem, candidates: FloatArray, fooled: BoolArray) -> FloatArray:
        return np.where(fooled[:, None, None, None], candidates, problem.images)
