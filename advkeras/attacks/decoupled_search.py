"""A search for the least distortion that keeps direction and norm apart, and needs no weight between two losses.

In the manner of DDN (Rony et al., CVPR 2019) and FMN (Pintor et al., NeurIPS 2021). At each iteration the direction
moves towards the gradient at the present point, and the norm grows or shrinks by a factor that depends only on whether
the goal is reached there. Both steps get smaller along half a cosine. The point is the image moved by that norm along
the direction, within the bounds, so that on a linear classifier the search ends next to the exact projection.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from advkeras.attacks.base import Problem, Progress, Tally
from advkeras.attacks.batches import run_active_set
from advkeras.attacks.ensembles import Ensemble
from advkeras.attacks.geometry import along, length, per_image
from advkeras.attacks.gradients import isolated
from advkeras.models import Classifier
from advkeras.randomness import derive_seed

# The gradient's share of the direction, and the norm's change, at the beginning and at the end. (The first iteration of
# all takes the gradient's direction, and as its norm the distance at which the gradient expects the goal.)
_BLEND = (1.0, 0.02)
_GROWTH = (0.5, 0.005)
# The first step goes to where the gradient expects the goal, but no farther than this RMS, pixels scaled to [0, 1].
_FIRST_RMS = 0.05
# The norm never gets smaller than this RMS, pixels scaled to [0, 1], so that it can grow again.
_LEAST_RMS = 1e-4
# Iterations between two looks at which images are finished.
_ITERATIONS_PER_CALL = 10


class SearchState(NamedTuple):
    """What the search knows of each image; every field's first axis is the image. Lengths are in pixel units."""

    images: Any
    goals: Any
    direction: Any
    norm: Any  # Euclidean
    iteration: Any
    best: Any  # the nearest point that reached the goal; the image, as long as there is none
    best_norm: Any  # infinite before the first success
    finished: Any


@dataclass(frozen=True, kw_only=True)
class DecoupledSearch:
    """Minimises ``|x' - x|`` over the x' whose ensemble reaches the goal.

    Args:
        iterations: gradients of each image's ensemble.
        jit_compile: compile by XLA.
    """

    iterations: int
    jit_compile: bool = False

    def run(
        self,
        classifier: Classifier,
        problem: Problem,
        ensemble: Ensemble,
        *,
        key: Any,
        batch_size: int,
        tally: Tally,
        progress: Progress,
    ) -> SearchState:
        """Runs the search.

        Args:
            classifier: what to attack.
            problem: images and goals.
            ensemble: what to fool around each point.
            key: stands for the ensemble and its parameters, so that the compiled search is used again.
            batch_size: members, over all images, that go through the network at once.
            tally: counts the work.
            progress: called with the number of images done and to do.

        Returns:
            The final state of all images, as arrays.
        """
        state = _initial(problem)
        tally.gradients += run_active_set(
            classifier,
            (self, key),
            lambda: self._advance(classifier, ensemble),
            state,
            members=ensemble.size,
            batch_size=batch_size,
            progress=progress,
            jit_compile=self.jit_compile,
        )
        return state

    def _advance(self, classifier: Classifier, ensemble: Ensemble) -> Any:
        @isolated
        def climb(points: Any, goals: Any, iteration: Any) -> tuple[Any, Any, Any]:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(points)
                objective, reached = ensemble.judge(ensemble.logits(classifier, points, iteration), goals)
            return objective, reached, tape.gradient(objective, points)

        def advance(state: SearchState) -> tuple[SearchState, Any]:
            def unfinished(taken: Any, state: SearchState) -> Any:
                return (taken < _ITERATIONS_PER_CALL) & tf.reduce_any(~state.finished)

            def iterate(taken: Any, state: SearchState) -> tuple[Any, SearchState]:
                return taken + 1, self._iterate(climb, ensemble.bounds, state)

            taken, state = tf.while_loop(unfinished, iterate, (tf.constant(0), state), parallel_iterations=1)
            return state, taken

        return advance

    def _iterate(self, climb: Callable[..., Any], bounds: tuple[float, float], state: SearchState) -> SearchState:
        low, high = bounds
        full_length = math.sqrt(math.prod(state.images.shape[1:])) * (high - low)
        # All images of a batch came in together, so the offsets of the first one's iteration are those of all.
        iteration = tf.reduce_max(state.iteration)
        points = along(state.images, state.direction, state.norm, bounds)
        objective, reached, gradient = climb(points, state.goals, iteration)
        steepness = length(gradient)
        distance = length(points - state.images)
        better = reached & (distance < state.best_norm) & ~state.finished

        first = state.iteration == 0
        progress = tf.cast(state.iteration, tf.float32) / self.iterations
        # Where the classifier is flat, somewhere is better than nowhere.
        random = tf.random.stateless_normal(
            tf.shape(points)[1:], tf.constant(derive_seed(0, "flat"), tf.int32) + tf.stack([0, iteration])
        )
        uphill = tf.where(
            per_image(steepness > 1e-20),
            gradient / per_image(tf.maximum(steepness, 1e-20)),
            random[None] / tf.norm(random),
        )
        blend = per_image(tf.where(first, 1.0, _annealed(_BLEND, progress)))
        growth = _annealed(_GROWTH, progress)
        expected = tf.minimum(tf.maximum(-objective, 0.0) / tf.maximum(steepness, 1e-20), _FIRST_RMS * full_length)
        norm = tf.where(first, expected, state.norm * tf.where(reached, 1.0 - growth, 1.0 + growth))
        return state._replace(
            direction=(1.0 - blend) * state.direction + blend * uphill,
            norm=tf.clip_by_value(norm, _LEAST_RMS * full_length, full_length),
            iteration=state.iteration + 1,
            best=tf.where(per_image(better), points, state.best),
            best_norm=tf.where(better, distance, state.best_norm),
            finished=state.iteration + 1 >= self.iterations,
        )


def _annealed(ends: tuple[float, float], progress: Any) -> Any:
    return ends[1] + (ends[0] - ends[1]) * (1.0 + tf.cos(math.pi * progress)) / 2.0


def _initial(problem: Problem) -> SearchState:
    count = len(problem)
    return SearchState(
        images=problem.images,
        goals=problem.goals,
        direction=np.zeros_like(problem.images),
        norm=np.zeros(count, np.float32),
        iteration=np.zeros(count, np.int32),
        best=problem.images.copy(),
        best_norm=np.full(count, np.inf, np.float32),
        finished=np.zeros(count, bool),
    )
