"""What a minimum-norm search has to fool: one point, fixed perturbed copies of it, or a region around it."""

import abc
from collections.abc import Hashable
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, Self

import tensorflow as tf

from advkeras.arrays import FloatArray
from advkeras.models import Classifier
from advkeras.models.turns import in_turns
from advkeras.regions import Region
from advkeras.regions.voting import Combination, contributions
from advkeras.searches.gradients import adversarial_margin, chosen_logits

# A class that no search is aimed at.
NO_AIM = -1
# Members that a search begins with, of so many times as many or more.
_FEW, _MANY = 4, 3


class Verdict(NamedTuple):
    """What is made of the logits of the members of points.

    Attributes:
        objective: (B,) float32, what to climb; 0 about where the goal is reached.
        margin: (B,) float32, how far the worst member is beyond the goal; of a region, the members together.
        reached: (B,) bool, whether it is.
        crossed: (B,) bool, whether the members are misclassified at all, by however little.
    """

    objective: Any
    margin: Any
    reached: Any
    crossed: Any


@dataclass(frozen=True, kw_only=True)
class Ensemble(abc.ABC):
    """Members around each point that are to be misclassified together.

    A compiled search is used again for all ensembles of one key; what else they differ in goes in as its input.

    Attributes:
        bounds: lowest and highest pixel value.
        targeted: whether goals are to be reached instead of left.
        levels: how many values a pixel of an example may have; any number by default. Members may have others.
        most: members of a point that go through the network together; all by default.
    """

    bounds: tuple[float, float]
    targeted: bool
    levels: int | None = None
    most: int | None = None

    @property
    @abc.abstractmethod
    def size(self) -> int:
        """Members of each point."""

    @property
    @abc.abstractmethod
    def key(self) -> Hashable:
        """Stands for all of the ensemble that is no input."""

    @property
    def shared(self) -> tuple[Any, ...]:
        """Inputs, arrays or numbers, that are the same for all images."""
        return ()

    def within(self, at_once: int) -> Self:
        """The same, so many members of a point at once at most: one that has more of them goes through in turns."""
        return self if self.size <= at_once else replace(self, most=at_once)

    @property
    def few(self) -> "Ensemble | None":
        """The same with fewer members at a time, for a search to begin with; None if it would save little."""
        return None

    @property
    def noise(self) -> float:
        """RMS of noise over that of the perturbation, where gradients turn with every step: tried out on mnist-pgd."""
        return 4.0

    @abc.abstractmethod
    def members(self, points: Any, seeds: Any, iteration: Any, shared: tuple[Any, ...]) -> Any:
        """Members (B, M, H, W, C) of points (B, H, W, C) at an iteration of the search, an int32 scalar.

        Args:
            points: (B, H, W, C).
            seeds: (B, 2) int32, of the images.
            iteration: of the search, an int32 scalar.
            shared: as :attr:`shared`, as tensors.
        """

    @abc.abstractmethod
    def judge(self, logits: Any, goals: Any, aims: Any, shared: tuple[Any, ...]) -> Verdict:
        """What the members' logits say.

        Args:
            logits: (B, M, classes) of the members.
            goals: (B,) int32.
            aims: (B,) int32, the wrong class to climb towards, or NO_AIM for whichever leads. Any wrong class counts.
            shared: as :attr:`shared`, as tensors.
        """

    def logits(self, classifier: Classifier, points: Any, seeds: Any, iteration: Any, shared: tuple[Any, ...]) -> Any:
        """Logits (B, M, classes) of the members of points (B, H, W, C)."""
        members = tf.reshape(self.members(points, seeds, iteration, shared), (-1, *classifier.input_shape))
        network = in_turns(classifier, self.most or self.size, of=self.size)
        return tf.reshape(network(members), (-1, self.size, classifier.num_classes))

    def margins(self, logits: Any, goals: Any) -> Any:
        """The attacker's margin of each member, (B, M)."""
        repeated = tf.repeat(goals[:, None], logits.shape[1], axis=1)
        return adversarial_margin(logits, repeated, targeted=self.targeted)

    def leads(self, logits: Any, goals: Any, aims: Any) -> Any:
        """The margin of each member, (B, M); of the class aimed at over the true one, where one is aimed at."""
        ahead = chosen_logits(logits, tf.maximum(aims, 0)[:, None]) - chosen_logits(logits, goals[:, None])
        return tf.where((aims == NO_AIM)[:, None], self.margins(logits, goals), ahead)


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

    @property
    def key(self) -> Hashable:
        """Bounds, goal, number of members, at a time and in all, and clipping."""
        counts = self.size, len(self.offsets), self.most
        return type(self).__name__, self.bounds, self.levels, self.targeted, counts, self.clip

    @property
    def shared(self) -> tuple[Any, ...]:
        """The offsets and the confidence."""
        return self.offsets, tf.constant(self.confidence, tf.float32)

    @property
    def few(self) -> "Ensemble | None":
        """The members in turns, a few at each iteration."""
        if self.size < _MANY * _FEW:
            return None
        return TurnsEnsemble(**{each.name: getattr(self, each.name) for each in fields(self)}, at_once=_FEW)

    def members(self, points: Any, seeds: Any, iteration: Any, shared: tuple[Any, ...]) -> Any:
        """The points, perturbed by each of the v_i."""
        members = points[:, None] + shared[0][None]
        return tf.clip_by_value(members, *self.bounds) if self.clip else members

    def beyond(self, margins: Any, shared: tuple[Any, ...]) -> Any:
        """By how much margins exceed the confidence, negative where they miss it; of the margins' shape."""
        return margins - shared[1]

    def judge(self, logits: Any, goals: Any, aims: Any, shared: tuple[Any, ...]) -> Verdict:
        """The mean over members of the margin beyond the confidence, as far as it is missed.

        When no member misses it the worst member alone counts, so that the gradient never vanishes.
        """
        worst_margin = tf.reduce_min(self.margins(logits, goals), axis=1)
        beyond = self.beyond(self.leads(logits, goals, aims), shared)
        worst = tf.reduce_min(beyond, axis=1)
        capped = tf.minimum(beyond, tf.stop_gradient(tf.maximum(worst, 0.0))[:, None])
        margin = self.beyond(worst_margin, shared)
        return Verdict(tf.reduce_mean(capped, axis=1), margin, margin > 0, worst_margin > 0)


@dataclass(frozen=True, eq=False, kw_only=True)
class TurnsEnsemble(FixedEnsemble):
    """Fixed perturbations of which each iteration takes the next few, and the first ones again after the last.

    Attributes:
        at_once: members of an iteration.
    """

    at_once: int

    @property
    def size(self) -> int:
        """Members of each point at an iteration."""
        return self.at_once

    @property
    def few(self) -> Ensemble | None:
        """None: it already is."""
        return None

    def members(self, points: Any, seeds: Any, iteration: Any, shared: tuple[Any, ...]) -> Any:
        """The points, perturbed by those of the v_i whose turn it is."""
        offsets, *others = shared
        turn = (iteration * self.at_once + tf.range(self.at_once)) % tf.shape(offsets)[0]
        return super().members(points, seeds, iteration, (tf.gather(offsets, turn), *others))


@dataclass(frozen=True, kw_only=True)
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
    """

    region: Region
    count: int
    combine: Combination
    share: float

    @property
    def size(self) -> int:
        """Members of each point."""
        return self.count

    @property
    def key(self) -> Hashable:
        """The ensemble itself: images bring their seeds along."""
        return self

    @property
    def noise(self) -> float:
        """Half of it: the members are apart from each other already."""
        return 2.0

    def members(self, points: Any, seeds: Any, iteration: Any, shared: tuple[Any, ...]) -> Any:
        """The points, moved by offsets that depend on the image's seed and the iteration."""
        fresh = tf.map_fn(lambda seed: tf.random.experimental.stateless_fold_in(seed, iteration), seeds)
        offsets = self.region.offsets_by_image((self.count, *points.shape[1:]), fresh)
        return tf.clip_by_value(points[:, None] + offsets, *self.bounds)

    def judge(self, logits: Any, goals: Any, aims: Any, shared: tuple[Any, ...]) -> Verdict:
        """The combined margin, for votes the mean of the members' margins; and the criterion above."""
        if self.combine == "majority":
            objective = tf.reduce_mean(self.leads(logits, goals, aims), axis=1)
        else:
            combined = (
                tf.reduce_logsumexp(tf.nn.log_softmax(logits), axis=1)
                if self.combine == "mean_softmax"
                else tf.reduce_mean(logits, axis=1)
            )
            objective = self.leads(combined[:, None], goals, aims)[:, 0]
        lead = 2 * self.share - 1
        mean, deviation = self._lead(contributions(logits, self.combine), goals)
        # The slack lets a share that is met exactly count, whatever the rounding.
        reached = (mean > 0) & (mean * (1 - lead**2) ** 0.5 >= lead * deviation - 1e-6)
        return Verdict(objective, mean, reached, reached)

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
