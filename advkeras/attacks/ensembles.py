"""What a minimum-norm search has to fool: one point, fixed perturbed copies of it, or a region around it."""

import abc
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from advkeras.attacks.base import FloatArray
from advkeras.attacks.gradients import adversarial_margin
from advkeras.models import Classifier
from advkeras.regions import Region
from advkeras.voting import Combination, contributions

# Logits by which a search overshoots its margin, so that the verification's rounding does not undo a success.
MARGIN_SLACK = 1e-4


@dataclass(frozen=True, eq=False, kw_only=True)
class Ensemble(abc.ABC):
    """Members around each point that are to be misclassified together.

    Attributes:
        bounds: lowest and highest pixel value.
        targeted: whether goals are to be reached instead of left.
    """

    bounds: tuple[float, float]
    targeted: bool

    @property
    @abc.abstractmethod
    def size(self) -> int:
        """Members of each point."""

    @abc.abstractmethod
    def members(self, points: Any, iteration: Any) -> Any:
        """Members (B, M, H, W, C) of points (B, H, W, C) at an iteration of the search, an int32 scalar."""

    @abc.abstractmethod
    def judge(self, logits: Any, goals: Any) -> tuple[Any, Any]:
        """What to climb, (B,) float32, 0 about where the goal is reached, and whether it is, (B,) bool.

        Args:
            logits: (B, M, classes) of the members.
            goals: (B,) int32.
        """

    def logits(self, classifier: Classifier, points: Any, iteration: Any) -> Any:
        """Logits (B, M, classes) of the members of points (B, H, W, C)."""
        members = tf.reshape(self.members(points, iteration), (-1, *classifier.input_shape))
        return tf.reshape(classifier(members), (-1, self.size, classifier.num_classes))

    def margins(self, logits: Any, goals: Any) -> Any:
        """The attacker's margin of each member, (B, M)."""
        return adversarial_margin(logits, tf.repeat(goals[:, None], self.size, axis=1), targeted=self.targeted)


@dataclass(frozen=True, eq=False, kw_only=True)
class FixedEnsemble(Ensemble):
    """The same perturbations v_i at every iteration; the goal is reached when every member leads by the confidence.

    With the zero vector alone it is the point itself.

    Attributes:
        offsets: (M, H, W, C) float32, the v_i in pixel units.
        clip: clip members to the bounds.
        confidence: k, in logits.
    """

    offsets: FloatArray
    clip: bool
    confidence: float

    @property
    def size(self) -> int:
        """Members of each point."""
        return len(self.offsets)

    def members(self, points: Any, iteration: Any) -> Any:
        """The points, perturbed by each of the v_i."""
        members = points[:, None] + self.offsets[None]
        return tf.clip_by_value(members, *self.bounds) if self.clip else members

    def shortfalls(self, logits: Any, goals: Any) -> Any:
        """By how much each member's margin misses the confidence, negative where it exceeds it: (B, M)."""
        return self.confidence + MARGIN_SLACK - self.margins(logits, goals)

    def judge(self, logits: Any, goals: Any) -> tuple[Any, Any]:
        """The mean over members of the margin beyond the confidence, as far as it is missed.

        When no member misses it the worst member alone counts, so that the gradient never vanishes.
        """
        beyond = -self.shortfalls(logits, goals)
        worst = tf.reduce_min(beyond, axis=1)
        capped = tf.minimum(beyond, tf.stop_gradient(tf.maximum(worst, 0.0))[:, None])
        return tf.reduce_mean(capped, axis=1), worst >= 0


@dataclass(frozen=True, eq=False, kw_only=True)
class RegionEnsemble(Ensemble):
    """Fresh points of a region at every iteration, clipped as the defender clips them and combined as it combines.

    The goal is reached when the members' contributions favour the attacker as clearly as a given share of votes does:
    when the mean of what a member contributes to the attacker's side, minus the other, is at least
    ``lead / sqrt(1 - lead^2)`` of its standard deviation, with ``lead = 2 * share - 1``. For votes between two
    classes, this is the share itself.

    Attributes:
        region: of the defender.
        count: members at a time.
        combine: as the defender.
        share: of the members to fool.
        seed: two integers.
    """

    region: Region
    count: int
    combine: Combination
    share: float
    seed: tuple[int, int]

    @property
    def size(self) -> int:
        """Members of each point."""
        return self.count

    def members(self, points: Any, iteration: Any) -> Any:
        """The points, moved by the iteration's offsets, which are the same for all of them."""
        shape = tf.concat([[self.count], tf.shape(points)[1:]], 0)
        offsets = self.region.offsets(shape, tf.constant(self.seed, tf.int32) + tf.stack([0, iteration]))
        return tf.clip_by_value(points[:, None] + offsets[None], *self.bounds)

    def judge(self, logits: Any, goals: Any) -> tuple[Any, Any]:
        """The combined margin, for votes the mean of the members' margins; and the criterion above."""
        if self.combine == "majority":
            objective = tf.reduce_mean(self.margins(logits, goals), axis=1)
        elif self.combine == "mean_softmax":
            combined = tf.reduce_logsumexp(tf.nn.log_softmax(logits), axis=1)
            objective = adversarial_margin(combined, goals, targeted=self.targeted)
        else:
            objective = adversarial_margin(tf.reduce_mean(logits, axis=1), goals, targeted=self.targeted)
        lead = 2 * self.share - 1
        mean, deviation = self._lead(contributions(logits, self.combine), goals)
        # The slack lets a share that is met exactly count, whatever the rounding.
        return objective, (mean > 0) & (mean * (1 - lead**2) ** 0.5 >= lead * deviation - 1e-6)

    def _lead(self, contributed: Any, goals: Any) -> tuple[Any, Any]:
        """Mean and standard deviation over members of the attacker's lead over the best other class, (B,) each."""
        mask = tf.one_hot(goals, tf.shape(contributed)[-1], on_value=True, off_value=False, dtype=tf.bool)
        total = tf.reduce_sum(contributed, axis=1)
        rival = tf.argmax(tf.where(mask, tf.fill(tf.shape(total), total.dtype.min), total), axis=1)
        difference = tf.gather(contributed, rival, axis=2, batch_dims=1) - tf.gather(
            contributed, goals, axis=2, batch_dims=1
        )
        mean, variance = tf.nn.moments(-difference if self.targeted else difference, axes=[1])
        return mean, tf.sqrt(variance)
