"""Attacks on what surrounds an example: the least distortion at which enough of the points around it is fooled."""

import abc
import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
import tensorflow as tf
from annotated_types import Interval

from advkeras.arrays import FloatArray, IntArray, Progress, no_progress, rms
from advkeras.attacks.families import MinimumNormAttack
from advkeras.errors import require
from advkeras.models import Classifier
from advkeras.models.counted import Passes
from advkeras.models.turns import in_turns
from advkeras.parameters import Count
from advkeras.randomness import derive_seeds
from advkeras.regions import Region
from advkeras.regions.voting import LARGEST_ROUND, Combination, RegionVote
from advkeras.searches import rivals
from advkeras.searches.active_set import run_active_set
from advkeras.searches.decoupled_step import SearchState
from advkeras.searches.ensembles import NO_AIM, RegionEnsemble
from advkeras.searches.geometry import along
from advkeras.searches.problem import Problem
from advkeras.searches.single_search import SingleSearch

# Before the budget is spent, short searches go towards whichever class leads and towards each of so many of the nearest
# classes by a linear estimate, for so many steps with so many members.
_AIMS, _TRIAL_STEPS, _TRIAL_MEMBERS = 2, 10, 1
# They are left out where they would take more than this share of the gradients, or leave none for the search.
_TRIAL_SHARE = 0.5
# Looks at the vote along the direction that the search ends with, and their points as a share of the final vote's.
_LOOKS, _LOOK_SHARE = 5, 0.8
# By how much the norm changes after the first look, then by its square, and so on, as long as the vote has been seen on
# one side only.
_STRIDE = 1.1


class _Settling(NamedTuple):
    """How far to go along each image's direction; every field's first axis is the image."""

    images: Any
    goals: Any
    seeds: Any
    direction: Any
    norm: Any  # of the next look
    below: Any  # largest norm at which the vote was not clear; 0 if there is none
    above: Any  # smallest norm at which it was; infinite if there is none
    iteration: Any
    finished: Any


Share = Annotated[float, Interval(ge=0.5, lt=1)]


@dataclass(frozen=True, kw_only=True)
class SurroundingsAttack(MinimumNormAttack):
    """The least distortion at which a share of the points around the example is fooled; a base of attacks.

    The decoupled search runs on fresh points around the example, clipped to the bounds, and ends with a direction.
    Along it the norm is settled by larger samples. A subclass says which points, and what is a success.

    Which class is the nearest is found out first, untargeted, by short searches: the class that leads by logits at the
    image often is not.

    Args:
        samples: points that the last, independent look draws.
        members: points drawn at each step of the search.
        share: of the points to fool, at least a half; for means, as much clearer than chance as such a share of
            votes is (:class:`RegionEnsemble`).
        gradients: of each image's points, at most, and at least one for each of the members.
        jit_compile: compile the attack's loop by XLA. Measure it: on CPUs it is mostly slower.
    """

    samples: Count = 100
    members: Count = 3
    share: Share = 0.73
    gradients: Count = 200
    jit_compile: bool = False

    work: ClassVar[str] = "gradients"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._vote(LARGEST_ROUND)
        require(
            self.gradients >= self.members,
            "gradients must be at least as many as members",
            gradients=self.gradients,
            members=self.members,
        )

    @property
    def unconstrained(self) -> bool:
        """Never: what surrounds an example cannot always be fooled."""
        return False

    @abc.abstractmethod
    def surroundings(self) -> Region:
        """Where the points around an example are drawn from."""

    def combination(self) -> Combination:
        """How the answers of the points become one."""
        return "majority"

    @property
    def passes(self) -> Passes:
        """Beside the search, a few looks at the points settle the norm, and the last one verifies it."""
        forwards, gradients = super().passes
        return Passes(forwards + round((_LOOKS * _LOOK_SHARE + 1) * self.samples), gradients)

    def run(self, classifier: Classifier, problem: Problem, progress: Progress) -> FloatArray:
        """Candidates of least distortion; the image itself where nothing was found."""
        ranked = 0 if problem.targeted else rivals.count(classifier)
        trials = min(_AIMS, ranked)
        one = _TRIAL_STEPS * _TRIAL_MEMBERS
        aiming = one + ranked + trials * one
        if not ranked or aiming > _TRIAL_SHARE * self.gradients or self.gradients - aiming < self.members:
            found = self._search(classifier, problem, self.gradients // self.members, self.members, progress)
            return self._settle(classifier, problem, found.direction, found.norm)
        direction, norm = np.zeros_like(problem.images), np.zeros(len(problem), np.float32)
        first = self._search(classifier, problem, _TRIAL_STEPS, _TRIAL_MEMBERS)
        turning = self._single(classifier, problem, _TRIAL_MEMBERS).turns(first)
        spent = np.where(turning, one, aiming)
        aims = np.full(len(problem), NO_AIM, np.int32)
        aims[~turning] = self._aims(classifier, problem, np.flatnonzero(~turning), first, trials)
        for gradients in np.unique(spent):
            chosen = np.flatnonzero(spent == gradients)
            steps = (self.gradients - int(gradients)) // self.members
            found = self._search(
                classifier, problem.where(chosen), steps, self.members, aims=aims[chosen], kappa=first.kappa[chosen]
            )
            direction[chosen], norm[chosen] = found.direction, found.norm
        progress(len(problem), len(problem))
        return self._settle(classifier, problem, direction, norm)

    def _aims(self, classifier: Classifier, problem: Problem, chosen: Any, first: SearchState, trials: int) -> IntArray:
        """The class to go towards for some of the images, by short searches; NO_AIM for whichever leads.

        Args:
            classifier: what is attacked.
            problem: images and goals.
            chosen: indices of the images.
            first: where a short search of all images towards whichever class leads has ended.
            trials: classes to try.
        """
        nowhere = np.full(len(chosen), NO_AIM, np.int32)
        if not len(chosen):
            return nowhere
        images = np.repeat(chosen, trials)
        classes, _ = rivals.nearest(classifier, problem.where(chosen), nowhere, norm="l2", batch_size=self.batch_size)
        aims = classes[:, :trials]
        found = self._search(classifier, problem.where(images), _TRIAL_STEPS, _TRIAL_MEMBERS, aims=aims.reshape(-1))
        distances = np.column_stack(
            [_reached(first, classifier)[chosen], _reached(found, classifier).reshape(-1, trials)]
        )
        return np.asarray(np.column_stack([nowhere, aims])[np.arange(len(chosen)), distances.argmin(axis=1)])

    def _search(
        self,
        classifier: Classifier,
        problem: Problem,
        steps: int,
        members: int,
        progress: Progress = no_progress,
        *,
        aims: IntArray | None = None,
        kappa: FloatArray | None = None,
    ) -> SearchState:
        return self._single(classifier, problem, members).once(
            problem,
            iterations=steps,
            seeds=derive_seeds(self.seed, self.name, "search", steps, places=problem.places),
            aims=aims,
            kappa=kappa,
            progress=progress,
        )

    def _single(self, classifier: Classifier, problem: Problem, members: int) -> SingleSearch:
        return SingleSearch(
            classifier=classifier,
            ensemble=self._ensemble(classifier, problem, members),
            norm="l2",
            batch_size=self.batch_size,
            jit_compile=self.jit_compile,
        )

    def _settle(self, classifier: Classifier, problem: Problem, direction: FloatArray, norm: FloatArray) -> FloatArray:
        """The nearest points along the search's directions at which enough of a larger sample is fooled."""
        ensemble = self._ensemble(classifier, problem, math.ceil(_LOOK_SHARE * self.samples))
        count = len(problem)
        state = _Settling(
            images=problem.images,
            goals=problem.goals,
            seeds=derive_seeds(self.seed, self.name, "settling", places=problem.places),
            direction=direction,
            norm=norm,
            below=np.zeros(count, np.float32),
            above=np.full(count, np.inf, np.float32),
            iteration=np.zeros(count, np.int32),
            finished=np.zeros(count, bool),
        )
        run_active_set(
            classifier,
            ("settling", ensemble.key),
            lambda: self._look(ensemble, classifier),
            state,
            members=ensemble.size,
            batch_size=self.batch_size,
            progress=no_progress,
            jit_compile=self.jit_compile,
        )
        reached = np.where(np.isinf(state.above), 0.0, state.above)
        return np.asarray(along(state.images, state.direction, reached, classifier.bounds, classifier.levels))

    def _look(self, ensemble: RegionEnsemble, classifier: Classifier) -> Any:
        def look(state: _Settling) -> _Settling:
            points = along(state.images, state.direction, state.norm, ensemble.bounds, ensemble.levels)
            # All images of a batch came in together, so they are at the same look.
            logits = ensemble.logits(classifier, points, state.seeds, tf.reduce_max(state.iteration), ())
            reached = ensemble.judge(logits, state.goals, tf.fill(tf.shape(state.goals), NO_AIM), ()).reached
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
            return state._replace(norm=norm, below=below, above=above, iteration=iteration, finished=finished)

        return look

    def _vote(self, at_once: int) -> RegionVote:
        """The points' vote, no longer than it takes to be sure of its answer."""
        return RegionVote(
            region=self.surroundings(),
            samples=self.samples,
            combine=self.combination(),
            stop="never" if self.combination() == "mean_logits" else "exact",
            # A smaller one would draw other points.
            chunk_size=max(LARGEST_ROUND, at_once),
        )

    def _votes(self, classifier: Classifier, images: FloatArray, problem: Problem, purpose: str) -> IntArray:
        """The class that most points around each image (N, H, W, C) have, of a sample of their own: (N,)."""
        at_once = self.batch_size or classifier.at_once
        vote = self._vote(at_once)
        network = in_turns(classifier, at_once, of=vote.chunk_size)

        def build() -> Any:
            return lambda batch, seeds: vote(
                network, batch, num_classes=classifier.num_classes, bounds=classifier.bounds, seed=seeds
            )

        compiled = classifier.graph(
            (vote, at_once), build, [classifier.image_signature, tf.TensorSpec((None, 2), tf.int32)]
        )
        answer = compiled(images, derive_seeds(self.seed, self.name, purpose, places=problem.places))
        return np.asarray(answer["class"], np.int32)

    def _ensemble(self, classifier: Classifier, problem: Problem, count: int) -> RegionEnsemble:
        return RegionEnsemble(
            bounds=classifier.bounds,
            levels=classifier.levels,
            targeted=problem.targeted,
            region=self.surroundings(),
            count=count,
            combine=self.combination(),
            share=self.share,
        ).within(self.batch_size or classifier.at_once)


def _reached(found: SearchState, classifier: Classifier) -> FloatArray:
    """RMS of the points at which searches have ended, (N,)."""
    points = np.asarray(along(found.images, found.direction, found.norm, classifier.bounds, classifier.levels))
    return rms(points - found.images)
