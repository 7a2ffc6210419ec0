"""Attacks on classifiers that answer at random: what they answer on average counts."""

import abc
from dataclasses import dataclass

import numpy as np

from advkeras.arrays import BoolArray, FloatArray, IntArray
from advkeras.attacks.families import FixedNormAttack
from advkeras.models import Classifier
from advkeras.models.classifier import classes_of
from advkeras.searches.problem import Problem, fooled_by


@dataclass(frozen=True, kw_only=True)
class AveragedAttack(FixedNormAttack):
    """An attack that judges points by the mean of several answers."""

    @property
    @abc.abstractmethod
    def answers(self) -> int:
        """How many answers are averaged; 1 for a classifier that always answers the same."""

    def decisions(self, classifier: Classifier, problem: Problem, predictions: IntArray) -> IntArray:
        """The class of the mean of the answers."""
        return predictions if self.answers == 1 else self._classes(classifier, problem.images)

    def verify(self, classifier: Classifier, problem: Problem, candidates: FloatArray) -> BoolArray:
        """Whether each candidate is misclassified, on average, and lies within epsilon of its image."""
        if self.answers == 1:
            return super().verify(classifier, problem, candidates)
        within = self._within(classifier, problem, candidates)
        return within & fooled_by(self._classes(classifier, candidates), problem.goals, targeted=problem.targeted)

    def mean_logits(self, classifier: Classifier, images: FloatArray) -> FloatArray:
        """The mean of the answers at images (N, H, W, C): (N, classes)."""
        answers = (classifier.logits(images, batch_size=self.batch_size) for _ in range(self.answers))
        return np.asarray(sum(answers) / np.float32(self.answers), np.float32)

    def _classes(self, classifier: Classifier, images: FloatArray) -> IntArray:
        return np.asarray(classes_of(self.mean_logits(classifier, images)))
