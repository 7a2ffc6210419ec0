"""Auto-PGD: projected gradient ascent whose step follows the progress of the loss (Croce and Hein, ICML 2020)."""

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
import tensorflow as tf

from advkeras.arrays import FloatArray, IntArray
from advkeras.models import Classifier
from advkeras.searches.geometry import per_image, unit, where_images
from advkeras.searches.gradients import adversarial_margin, chosen_logits, isolated, slope
from advkeras.searches.norms import NormName
from advkeras.searches.noting import columns, noted
from advkeras.searches.problem import Problem
from advkeras.searches.projected_gradient import looked_at, projection

AutoLoss = Literal["cross_entropy", "dlr"]

# The share of the last step that is new, and that goes on as the one before (the paper's alpha).
_NEW = 0.75
# The loss must have risen in more than this share of the steps since the last checkpoint (the paper's rho).
_RISING = 0.75
# The first gap between checkpoints, by how much each is shorter than the one before, and the last; shares of the steps.
_FIRST, _SHORTER, _SHORTEST = 0.22, 0.03, 0.06
# Classes that the difference of logits ratio needs, without an aim and with one.
_CLASSES, _AIMED_CLASSES = 3, 4
# Steps that are taken before finished images leave.
_AT_ONCE = 10
# The standard deviation over the classes to which cross-entropy brings an image's logits: see searches/gradients.py.
_SPREAD = 10.0


class AutoState(NamedTuple):
    """The state of a run on images, each part of which is an image's own.

    ``objective`` is what is climbed; ``margin`` says how far a point is on the attacker's side.
    """

    images: Any
    goals: Any
    aims: Any  # the class that a targeted loss climbs to; NO_AIM for the loss that has none
    points: Any  # where the path is
    previous: Any
    scale: Any  # of the logits
    step: Any  # in units of epsilon
    index: Any  # points that were looked at
    objective: Any  # at the last point
    highest: Any  # objective
    highest_points: Any
    highest_gradient: Any
    rises: Any  # since the last checkpoint
    checked: Any  # index of the last checkpoint
    halved: Any  # at the last checkpoint
    checked_highest: Any  # the highest objective then
    found: Any  # the point of the largest margin
    margin: Any  # there
    seen: Any  # margins, step by step
    zero: Any
    nonfinite: Any
    finished: Any

    @classmethod
    def begin(cls, problem: Problem, starts: FloatArray, aims: IntArray) -> "AutoState":
        """The state before the first point.

        Args:
            problem: images and goals.
            starts: (N, H, W, C), the first points.
            aims: (N,) int32.
        """
        count, images = len(problem), problem.images
        lowest = np.full(count, np.finfo(np.float32).min, np.float32)
        nothing, never = np.zeros(count, np.int32), np.zeros(count, bool)
        return cls(
            images=images,
            goals=problem.goals,
            aims=aims,
            points=starts.copy(),
            previous=starts.copy(),
            scale=np.ones(count, np.float32),
            step=np.full(count, 2.0, np.float32),
            index=nothing.copy(),
            objective=lowest.copy(),
            highest=lowest.copy(),
            highest_points=starts.copy(),
            highest_gradient=np.zeros_like(images),
            rises=nothing.copy(),
            checked=nothing.copy(),
            halved=never.copy(),
            checked_highest=lowest.copy(),
            found=images.copy(),
            margin=np.full(count, -np.inf, np.float32),
            seen=columns(count),
            zero=nothing.copy(),
            nonfinite=nothing.copy(),
            finished=never.copy(),
        )


def checkpoints(iterations: int) -> list[int]:
    """The steps after which the length of a step is looked at (the paper's section 3.1)."""
    places, share, gap = [], _FIRST, _FIRST
    while share <= 1.0:
        places.append(math.ceil(share * iterations - 1e-9))
        gap = max(gap - _SHORTER, _SHORTEST)
        share += gap
    return sorted(set(places) - {0})


def auto_steps(
    classifier: Classifier, *, iterations: int, norm: NormName, loss: AutoLoss, targeted: bool, samples: int = 1
) -> Callable[..., AutoState]:
    """A function from the state of a batch, and the radius of the ball, to the state some steps later.

    The points that are met are pictures where the classifier takes only those; an image is finished at the first one
    that fools, or after all steps. Losses, logits and gradients are the means of so many samples of what the classifier
    answers.
    """
    places, bounds, direct = (
        tf.constant(checkpoints(iterations)),
        classifier.bounds,
        tf.sign if norm == "linf" else unit,
    )
    look = isolated(lambda *given: _look(classifier, *given, loss=loss, targeted=targeted, samples=samples))

    def step(state: AutoState, epsilon: Any) -> AutoState:
        met = looked_at(state.images, state.points, bounds, classifier.levels, norm)
        scale, objective, margin, gradient, zero, nonfinite = look(
            met, state.goals, state.aims, state.scale, state.index == 0
        )
        state = state._replace(seen=noted(state.seen, margin, state.index, iterations + 1))
        state = _noted(state, met, scale, objective, margin, gradient, zero, nonfinite)
        points, gradient, state = _checked(state, gradient, places)
        project = projection(state.images, epsilon, bounds, norm)
        ahead = project(points + per_image(epsilon * state.step) * direct(gradient))
        mixed = project(points + _NEW * (ahead - points) + (1 - _NEW) * (points - state.previous))
        # The first step has none before it.
        moved = where_images(state.index == 1, ahead, mixed)
        finished = (state.margin > 0) | (state.index > iterations)
        return state._replace(points=moved, previous=points, finished=finished)

    def kept(after: AutoState, before: AutoState) -> AutoState:
        """What was finished found nothing more, whatever company it has been in."""
        done = before.finished
        return after._replace(
            found=where_images(done, before.found, after.found),
            margin=tf.where(done, before.margin, after.margin),
            seen=tf.where(done[:, None], before.seen, after.seen),
            index=tf.where(done, before.index, after.index),
            zero=tf.where(done, before.zero, after.zero),
            nonfinite=tf.where(done, before.nonfinite, after.nonfinite),
        )

    def advance(state: AutoState, epsilon: Any) -> AutoState:
        _, state = tf.while_loop(
            lambda taken, state: (taken < _AT_ONCE) & ~tf.reduce_all(state.finished),
            lambda taken, state: (taken + 1, kept(step(state, epsilon), state)),
            (tf.constant(0), state),
            parallel_iterations=1,
        )
        return state

    return advance


def _look(
    classifier: Classifier,
    points: Any,
    goals: Any,
    aims: Any,
    scale: Any,
    first: Any,
    *,
    loss: AutoLoss,
    targeted: bool,
    samples: int,
) -> tuple[Any, ...]:
    """Scale, objective, margin and gradient at points, and which gradients are zero or not finite."""

    def answer(scale: Any = None) -> tuple[Any, ...]:
        """Of one answer the logits' scale, the logits, the objective and its gradient."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(points)
            logits = tf.cast(classifier(points), tf.float32)
            scale = scaling(logits) if scale is None else scale
            if loss == "cross_entropy":
                objective = _cross_entropy(scale[:, None] * logits, goals, targeted=targeted)
            else:
                objective = logit_ratio(logits, goals, aims, targeted=targeted)
        return scale, logits, objective, tape.gradient(objective, points)

    def scaling(logits: Any) -> Any:
        spread = tf.math.reduce_std(logits, axis=-1)
        return tf.stop_gradient(tf.where(first & (spread > 0), tf.math.divide_no_nan(_SPREAD, spread), scale))

    scaled, *sums = answer()
    if samples > 1:
        _, *sums = tf.while_loop(
            lambda taken, *_: taken < samples,
            lambda taken, *sums: (taken + 1, *map(tf.add, sums, answer(scaled)[1:])),
            (tf.constant(1), *sums),
            parallel_iterations=1,
        )
        sums = [each / samples for each in sums]
    logits, objective, gradient = sums
    found = slope(objective, gradient)
    margin = adversarial_margin(logits, goals, targeted=targeted)
    return scaled, objective, margin, found.gradient, found.zero, found.nonfinite


def _cross_entropy(logits: Any, goals: Any, *, targeted: bool) -> Any:
    """A function of cross-entropy that rises with it, and that float32 does not round: see searches/gradients.py."""
    mask = tf.one_hot(goals, tf.shape(logits)[-1], on_value=True, off_value=False, dtype=tf.bool)
    chosen = chosen_logits(logits, goals)
    others = tf.reduce_logsumexp(tf.where(mask, tf.constant(logits.dtype.min, logits.dtype), logits), axis=-1)
    return chosen - others if targeted else others - chosen


def logit_ratio(logits: Any, goals: Any, aims: Any, *, targeted: bool) -> Any:
    """The difference of logits ratio, DLR, which no scale of the logits changes: (B,).

    Without an aim the best wrong logit minus the true one (or, targeted, the target's minus the best other one), with
    an aim that class's logit minus the true one, over the gap between the first and the third logit, or with an aim
    between the first and the mean of the third and the fourth. Croce and Hein (ICML 2020), equations 6 and 7. With
    fewer than three classes, or four with an aim, there is no such gap, and the difference itself is climbed.

    Args:
        logits: (B, classes) float32.
        goals: (B,) int32.
        aims: (B,) int32; NO_AIM for none.
        targeted: whether the goals are to be reached.
    """
    classes = logits.shape[-1]
    ordered = tf.sort(logits, axis=-1, direction="DESCENDING")
    aimed = aims >= 0
    first, one = ordered[:, 0], tf.ones_like(ordered[:, 0])
    gap = tf.where(
        aimed,
        first - (ordered[:, 2] + ordered[:, 3]) / 2 if classes >= _AIMED_CLASSES else one,
        first - ordered[:, 2] if classes >= _CLASSES else one,
    )
    margin = adversarial_margin(logits, goals, targeted=targeted)
    towards = chosen_logits(logits, tf.maximum(aims, 0)) - chosen_logits(logits, goals)
    return tf.where(aimed, towards, margin) / (gap + 1e-12)


def _noted(
    state: AutoState, met: Any, scale: Any, objective: Any, margin: Any, gradient: Any, zero: Any, nonfinite: Any
) -> AutoState:
    """The state with what a point has told."""
    higher, farther = objective > state.highest, margin > state.margin
    rose = (state.index > 0) & (objective > state.objective)
    return state._replace(
        scale=scale,
        index=state.index + 1,
        objective=objective,
        highest=tf.where(higher, objective, state.highest),
        highest_points=where_images(higher, state.points, state.highest_points),
        highest_gradient=where_images(higher, gradient, state.highest_gradient),
        rises=state.rises + tf.cast(rose, tf.int32),
        found=where_images(farther, met, state.found),
        margin=tf.where(farther, margin, state.margin),
        zero=state.zero + tf.cast(zero, tf.int32),
        nonfinite=state.nonfinite + tf.cast(nonfinite, tf.int32),
    )


def _checked(state: AutoState, gradient: Any, places: Any) -> tuple[Any, Any, AutoState]:
    """Where to go on from, with which gradient, and the state with the step's length; looked at where it is time to.

    The step is halved, and the path goes on from its highest point, where the objective has risen too rarely since the
    last checkpoint, or where neither the step nor the highest objective has changed there.
    """
    taken = state.index - 1
    now = tf.reduce_any(taken[:, None] == places[None], axis=1)
    rarely = tf.cast(state.rises, tf.float32) <= _RISING * tf.cast(taken - state.checked, tf.float32)
    stuck = (state.checked > 0) & ~state.halved & (state.checked_highest >= state.highest)
    halve = now & (rarely | stuck)
    points = where_images(halve, state.highest_points, state.points)
    gradient = where_images(halve, state.highest_gradient, gradient)
    state = state._replace(
        step=tf.where(halve, state.step / 2, state.step),
        rises=tf.where(now, 0, state.rises),
        checked=tf.where(now, taken, state.checked),
        halved=tf.where(now, halve, state.halved),
        checked_highest=tf.where(now, state.highest, state.checked_highest),
    )
    return points, gradient, state
