"""The search of Carlini and Wagner (S&P 2017): distance plus weighted attack loss, with a binary search on the weight.

The paper's OptBrittle, OptStrong and OptMargin are this search with other margins and ensembles.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import tensorflow as tf

from advkeras.arrays import FloatArray, Progress
from advkeras.models import Classifier
from advkeras.models.pixel_grid import settled
from advkeras.parameters import Count, Positive, hold_fields
from advkeras.searches.active_set import run_active_set
from advkeras.searches.ensembles import FixedEnsemble
from advkeras.searches.geometry import per_image, where_images
from advkeras.searches.gradients import isolated, slope
from advkeras.searches.noting import columns, noted, stride_of
from advkeras.searches.problem import Problem

# Adam (Kingma and Ba, ICLR 2015) with its usual constants.
_BETA_1, _BETA_2, _ADAM_EPSILON = 0.9, 0.999, 1e-8
# Keeps the change of variable finite where a pixel lies on a bound.
_TANH_SCALE = 0.999999
# Iterations between two looks at which images are finished.
_ITERATIONS_PER_CALL = 2
# A distortion that falls by less than this share counts as stalled.
_STALL_SHARE = 1e-3
# A step of the weight is given up when its loss has not fallen below this share of the loss a tenth before.
_ABORT_SHARE = 0.9999
# No shorter window than this: the loss hardly falls at first, while pixels leave the bounds along tanh's flat ends.
_SHORTEST_WINDOW = 50
# Above this, no upper bound of the weight is known yet (Carlini and Wagner's code).
_NO_UPPER_BOUND = 1e9


class _State(NamedTuple):
    """What the search knows of each image; every field's first axis is the image."""

    images: Any  # scaled to [0, 1]
    goals: Any
    variable: Any  # the tanh variable
    moment_1: Any
    moment_2: Any
    iteration: Any  # within the present weight
    weight_step: Any
    weight: Any
    lower: Any
    upper: Any
    succeeded: Any  # with the present weight
    checked_loss: Any
    best: Any  # scaled to [0, 1]
    best_distance: Any  # squared L2 distance, pixels scaled to [0, 1]; infinite before the first success
    best_step: Any  # over all weights, at which it was found
    seen: Any  # margins, step by step, over all weights
    reference: Any  # the best distance when it last fell markedly
    stalled: Any  # iterations since then
    zero: Any  # gradients of the attack loss without a direction, where there should be one
    nonfinite: Any
    finished: Any


@dataclass(frozen=True, kw_only=True)
class PenaltySearch:
    """Minimises ``|x' - x|^2 / distance_scale + c * sum_i max(-k, -margin(x' + v_i))`` over x'.

    This is equation (4) of He et al. (2018), after Carlini and Wagner (S&P 2017), section V.

    Pixels are scaled to [0, 1] inside, so that the bounds change nothing. A candidate counts when every member
    x' + v_i is misclassified by the margin k.

    Args:
        learning_rate: of Adam, in the tanh variable.
        initial_weight: first weight c.
        weight_steps: steps of the binary search on c: it halves towards the lower bound after a success and grows
            tenfold while nothing has succeeded.
        iterations: at most so many for each weight; given up earlier when the loss has not fallen over a tenth of
            them, and at least 50.
        distance_scale: what the squared distance is divided by. 1 is the equation as printed; the authors' code
            divides by 255^2 on MNIST, too, where pixels already lie in [0, 1].
        patience: an image is finished once it has succeeded and its distortion has not fallen by 0.1% in so many
            iterations; None runs the whole search.
    """

    learning_rate: Positive = 0.2
    initial_weight: Positive = 2.0
    weight_steps: Count = 5
    iterations: Count = 100
    distance_scale: Positive = 1.0
    patience: Count | None = None

    kind: ClassVar[str] = "penalty"
    norm: ClassVar[str] = "l2"
    work: ClassVar[str] = "iterations"

    def __post_init__(self) -> None:
        hold_fields(self)

    @property
    def _steps(self) -> int:
        """Iterations with all weights."""
        return self.weight_steps * self.iterations

    def with_work(self, factor: int) -> "PenaltySearch":
        """The same search with so many times the iterations, and the patience."""
        patience = self.patience and factor * self.patience
        return replace(self, iterations=factor * self.iterations, patience=patience)

    def run(
        self,
        classifier: Classifier,
        problem: Problem,
        ensemble: FixedEnsemble,
        *,
        seed: int = 0,
        batch_size: int,
        progress: Progress,
        jit_compile: bool = False,
    ) -> FloatArray:
        """Runs the search.

        Args:
            classifier: what to attack.
            problem: images and goals.
            ensemble: the members x' + v_i, and the margin k.
            seed: not used: nothing here is random.
            batch_size: members, over all images, that go through the network at once.
            progress: called with the number of images done and to do.
            jit_compile: compile by XLA.

        Returns:
            The candidates of least distortion (N, H, W, C); the image itself where there was none.
        """
        low, high = classifier.bounds
        state = self._initial((problem.images - low) / (high - low), problem.goals)
        run_active_set(
            classifier,
            (self, ensemble.key),
            lambda: self._advance(classifier, ensemble),
            state,
            ensemble.shared,
            members=ensemble.size,
            batch_size=batch_size,
            progress=progress,
            jit_compile=jit_compile,
        )
        problem.weak.add(state.zero, state.nonfinite)
        steps = np.minimum(state.weight_step * self.iterations + state.iteration, self._steps)
        problem.recorder.add(state.seen, steps, stride=stride_of(self._steps), best=state.best_step)
        # Scaled there and back, an image would not come out as it went in.
        nothing = np.isinf(state.best_distance)[:, None, None, None]
        return np.where(nothing, problem.images, np.asarray(low + state.best * (high - low), np.float32))

    def _initial(self, images: FloatArray, goals: Any) -> _State:
        count = len(goals)

        def full(value: float) -> FloatArray:
            return np.full(count, value, np.float32)

        return _State(
            images=images,
            goals=goals,
            variable=_to_variable(images).numpy(),
            moment_1=np.zeros_like(images),
            moment_2=np.zeros_like(images),
            iteration=np.zeros(count, np.int32),
            weight_step=np.zeros(count, np.int32),
            weight=full(self.initial_weight),
            lower=full(0.0),
            upper=full(_NO_UPPER_BOUND),
            succeeded=np.zeros(count, bool),
            checked_loss=full(np.inf),
            best=images.copy(),
            best_distance=full(np.inf),
            best_step=np.full(count, -1, np.int32),
            seen=columns(count),
            reference=full(np.inf),
            stalled=np.zeros(count, np.int32),
            zero=np.zeros(count, np.int32),
            nonfinite=np.zeros(count, np.int32),
            finished=np.zeros(count, bool),
        )

    def _advance(self, classifier: Classifier, ensemble: FixedEnsemble) -> Any:
        low, high = ensemble.bounds

        @isolated
        def descend(variable: Any, images: Any, goals: Any, weight: Any, *shared: Any) -> tuple[Any, ...]:
            inside = (tf.tanh(variable) + 1.0) / 2.0
            points = settled(inside, (0.0, 1.0), ensemble.levels)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(points)
                # Nothing of this ensemble is random.
                logits = ensemble.logits(classifier, low + points * (high - low), None, None, shared)
                beyond = ensemble.beyond(ensemble.margins(logits, goals), shared)
                missed = tf.reduce_sum(tf.maximum(-beyond, 0.0), axis=1)
            uphill = slope(missed, tape.gradient(missed, points))
            distance = tf.reduce_sum(tf.square(points - images), axis=[1, 2, 3])
            by_points = 2.0 * (points - images) / self.distance_scale + per_image(weight) * uphill.gradient
            gradient = by_points * (1.0 - tf.square(2.0 * inside - 1.0)) / 2.0  # of tanh, by the variable
            loss = distance / self.distance_scale + weight * missed
            margin = tf.reduce_min(beyond, axis=1)
            return points, distance, margin, loss, gradient, uphill.zero & ~(margin > 0), uphill.nonfinite

        def advance(state: _State, *shared: Any) -> _State:
            def unfinished(taken: Any, state: _State) -> Any:
                return (taken < _ITERATIONS_PER_CALL) & tf.reduce_any(~state.finished)

            def iterate(taken: Any, state: _State) -> tuple[Any, _State]:
                return taken + 1, self._next_weight(self._iterate(descend, state, shared))

            _, state = tf.while_loop(unfinished, iterate, (tf.constant(0), state), parallel_iterations=1)
            return state

        return advance

    def _iterate(self, descend: Callable[..., Any], state: _State, shared: tuple[Any, ...]) -> _State:
        """One step of Adam, and the bookkeeping of the best candidate."""
        points, distance, margin, loss, gradient, zero, nonfinite = descend(
            state.variable, state.images, state.goals, state.weight, *shared
        )
        fooled = (margin > 0) & ~state.finished
        better = fooled & (distance < state.best_distance)
        markedly = fooled & (distance < state.reference * (1.0 - _STALL_SHARE) ** 2)
        step = state.weight_step * self.iterations + state.iteration
        live = tf.cast(
            ~state.finished, tf.int32
        )  # One that is finished goes on to the end of the call, and counts nothing.
        iteration = state.iteration + live
        moment_1 = _BETA_1 * state.moment_1 + (1 - _BETA_1) * gradient
        moment_2 = _BETA_2 * state.moment_2 + (1 - _BETA_2) * tf.square(gradient)
        steps = tf.cast(tf.maximum(iteration, 1), tf.float32)
        rate = self.learning_rate * tf.sqrt(1 - _BETA_2**steps) / (1 - _BETA_1**steps)
        change = per_image(rate) * moment_1 / (tf.sqrt(moment_2) + _ADAM_EPSILON)
        look = iteration % max(_SHORTEST_WINDOW, self.iterations // 10) == 0
        given_up = look & (loss > _ABORT_SHARE * state.checked_loss)
        return state._replace(
            variable=state.variable - change,
            moment_1=moment_1,
            moment_2=moment_2,
            # A weight that is given up jumps to its last iteration, where the next weight is chosen.
            iteration=tf.where(given_up, tf.maximum(iteration, self.iterations), iteration),
            succeeded=state.succeeded | fooled,
            checked_loss=tf.where(look, loss, state.checked_loss),
            best=where_images(better, points, state.best),
            best_distance=tf.where(better, distance, state.best_distance),
            best_step=tf.where(better, step, state.best_step),
            seen=noted(state.seen, tf.where(state.finished, -math.inf, margin), step, self._steps),
            reference=tf.where(markedly, distance, state.reference),
            stalled=tf.where(markedly | tf.math.is_inf(state.reference), 0, state.stalled + 1),
            zero=state.zero + live * tf.cast(zero, tf.int32),
            nonfinite=state.nonfinite + live * tf.cast(nonfinite, tf.int32),
        )

    def _next_weight(self, state: _State) -> _State:
        """For images that are through with a weight: the binary search's next one, from the start again."""
        over = state.iteration >= self.iterations
        upper = tf.where(over & state.succeeded, tf.minimum(state.upper, state.weight), state.upper)
        lower = tf.where(over & ~state.succeeded, tf.maximum(state.lower, state.weight), state.lower)
        following = tf.where(upper < _NO_UPPER_BOUND, (lower + upper) / 2, state.weight * 10.0)
        weight_step = tf.where(over, state.weight_step + 1, state.weight_step)
        finished = state.finished | (weight_step >= self.weight_steps)
        if self.patience is not None:
            finished |= state.stalled >= self.patience
        nothing = tf.zeros_like(state.images)
        return state._replace(
            variable=where_images(over, _to_variable(state.images), state.variable),
            moment_1=where_images(over, nothing, state.moment_1),
            moment_2=where_images(over, nothing, state.moment_2),
            iteration=tf.where(over, 0, state.iteration),
            weight_step=weight_step,
            weight=tf.where(over, following, state.weight),
            lower=lower,
            upper=upper,
            succeeded=state.succeeded & ~over,
            checked_loss=tf.where(over, np.float32(np.inf), state.checked_loss),
            finished=finished,
        )


def _to_variable(images: Any) -> Any:
    return tf.atanh((2.0 * images - 1.0) * _TANH_SCALE)
