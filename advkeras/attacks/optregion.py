"""OptRegion: the least distortion that turns the vote of region classification, attacked as it is defended."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import tensorflow as tf

from advkeras import regions
from advkeras.attacks.base import (
    BoolArray,
    FloatArray,
    IntArray,
    MinimumNormAttack,
    Problem,
    Progress,
    Tally,
    require,
)
from advkeras.attacks.batches import run_active_set
from advkeras.attacks.decoupled_search import DecoupledSearch, SearchState
from advkeras.attacks.ensembles import RegionEnsemble
from advkeras.attacks.geometry import along
from advkeras.models import Classifier
from advkeras.randomness import derive_seed
from advkeras.voting import Combination, RegionVote

# Looks at the vote along the direction that the search ends with, and their points as a share of the final vote's.
_LOOKS, _LOOK_SHARE = 5, 0.8
# By how much the norm changes after the first look, then by its square, and so on, as long as the vote has been seen on
# one side only.
_STRIDE = 1.1


class _Settling(NamedTuple):
    """How far to go along each image's direction; every field's first axis is the image."""

    images: Any
    goals: Any
    direction: Any
    norm: Any  # of the next look
    below: Any  # largest norm at which the vote was not clear; 0 if there is none
    above: Any  # smallest norm at which it was; infinite if there is none
    iteration: Any
    finished: Any


@dataclass(frozen=True, kw_only=True)
class OptRegion(MinimumNormAttack):
    """The least distortion for which region classification is wrong.

    The decoupled search runs on fresh points of the defender's region, clipped and combined as the defender does it,
    and ends with a direction. Along it the norm is settled by larger samples. Success is judged by the vote of a last,
    independent sample. An image counts as attacked when the region's vote on it is right.

    Args:
        radius: of the defender's region, in the classifier's pixel unit.
        region: ``"hypercube"``, ``"ball"`` or ``"gaussian"``, the defender's.
        combine: ``"majority"``, ``"mean_softmax"`` or ``"mean_logits"``, the defender's.
        samples: points that the defender draws, and that the last vote draws.
        members: points drawn at each step of the search.
        share: of the points to fool, at least a half; for means, as much clearer than chance as such a share of
            votes is (:class:`RegionEnsemble`). A larger share costs distortion, and wins more of the later votes.
        steps: of the search.
        confidence: must be 0; the share takes its place.
    """

    radius: float
    region: str = "hypercube"
    combine: Combination = "majority"
    samples: int = 100
    members: int = 4
    share: float = 0.73
    steps: int = 50

    name: ClassVar[str] = "optregion"
    title: ClassVar[str] = "OptRegion"

    def __post_init__(self) -> None:
        super().__post_init__()
        regions.get(self.region, self.radius)
        require(self.confidence == 0, "confidence must be 0: OptRegion has share", confidence=self.confidence)
        require(self.members >= 1, "members must be at least 1", members=self.members)
        require(0.5 <= self.share < 1, "share must lie in [0.5, 1)", share=self.share)
        require(self.steps >= 1, "steps must be at least 1", steps=self.steps)
        self._vote()

    def run(self, classifier: Classifier, problem: Problem, tally: Tally, progress: Progress) -> FloatArray:
        """Candidates of least distortion; the image itself where nothing was found."""
        search = DecoupledSearch(iterations=self.steps, jit_compile=self.jit_compile)
        found = search.run(
            classifier,
            problem,
            self._ensemble(classifier, problem, self.members, "search"),
            key=(self, problem.targeted),
            batch_size=self.batch_size,
            tally=tally,
            progress=progress,
        )
        return self._settle(classifier, problem, found, tally)

    def decisions(self, classifier: Classifier, images: FloatArray, predictions: IntArray, tally: Tally) -> IntArray:
        """The region's votes on images."""
        return self._classify(classifier, images, "benign", tally)

    def verify(self, classifier: Classifier, problem: Problem, candidates: FloatArray, tally: Tally) -> BoolArray:
        """Whether the vote of points that nothing else has seen is on the attacker's side.

        An image that comes back as it was is no success, though the vote on it may differ from the first one.
        """
        classes = self._classify(classifier, candidates, "verification", tally)
        turned = classes == problem.goals if problem.targeted else classes != problem.goals
        moved = (candidates != problem.images).any(axis=(1, 2, 3))
        return np.asarray(turned & moved)

    def _settle(self, classifier: Classifier, problem: Problem, found: SearchState, tally: Tally) -> FloatArray:
        """The nearest points along the search's directions at which enough of a larger sample is fooled."""
        ensemble = self._ensemble(classifier, problem, math.ceil(_LOOK_SHARE * self.samples), "settling")
        count = len(problem)
        state = _Settling(
            images=problem.images,
            goals=problem.goals,
            direction=found.direction,
            norm=found.norm,
            below=np.zeros(count, np.float32),
            above=np.full(count, np.inf, np.float32),
            iteration=np.zeros(count, np.int32),
            finished=np.zeros(count, bool),
        )
        tally.forwards += run_active_set(
            classifier,
            (self, problem.targeted, "look"),
            lambda: self._look(ensemble, classifier),
            state,
            members=ensemble.size,
            batch_size=self.batch_size,
            progress=lambda done, total: None,
            jit_compile=self.jit_compile,
        )
        reached = np.where(np.isinf(state.above), 0.0, state.above)
        return np.asarray(along(state.images, state.direction, reached, classifier.bounds))

    def _look(self, ensemble: RegionEnsemble, classifier: Classifier) -> Any:
        def look(state: _Settling) -> tuple[_Settling, Any]:
            points = along(state.images, state.direction, state.norm, ensemble.bounds)
            # All images of a batch came in together, so they are at the same look.
            logits = ensemble.logits(classifier, points, tf.reduce_max(state.iteration))
            _, reached = ensemble.judge(logits, state.goals)
            above = tf.where(reached, tf.minimum(state.above, state.norm), state.above)
            below = tf.where(reached, state.below, tf.maximum(state.below, state.norm))
            stride = _STRIDE ** (2.0 ** tf.cast(state.iteration, tf.float32))
            norm = tf.where(
                tf.math.is_inf(above),
                state.norm * stride,
                tf.where(below > 0, tf.sqrt(above * below), state.norm / stride),
            )
            iteration = state.iteration + 1
            finished = iteration >= _LOOKS
            state = state._replace(norm=norm, below=below, above=above, iteration=iteration, finished=finished)
            return state, tf.constant(1)

        return look

    def _ensemble(self, classifier: Classifier, problem: Problem, count: int, purpose: str) -> RegionEnsemble:
        return RegionEnsemble(
            bounds=classifier.bounds,
            targeted=problem.targeted,
            region=regions.get(self.region, self.radius),
            count=count,
            combine=self.combine,
            share=self.share,
            seed=derive_seed(self.seed, self.name, purpose),
        )

    def _vote(self) -> RegionVote:
        """The defender's vote, no longer than it takes to be sure of its answer."""
        return RegionVote(
            region=regions.get(self.region, self.radius),
            samples=self.samples,
            combine=self.combine,
            stop="never" if self.combine == "mean_logits" else "exact",
        )

    def _classify(self, classifier: Classifier, images: FloatArray, purpose: str, tally: Tally) -> IntArray:
        vote = self._vote()

        def build() -> Any:
            return lambda batch, seed: vote(
                classifier, batch, num_classes=classifier.num_classes, bounds=classifier.bounds, seed=seed
            )

        compiled = classifier.graph(vote, build, [classifier.image_signature, tf.TensorSpec((2,), tf.int32)])
        answer = compiled(images, tf.constant(derive_seed(self.seed, self.name, purpose), tf.int32))
        tally.forwards += int(tf.reduce_sum(answer["samples"]))
        return np.asarray(answer["class"], np.int32)
