"""Fast adaptive boundary: projections on the linearised decision boundary, and back (Croce and Hein, ICML 2020)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from advkeras.arrays import FloatArray, IntArray
from advkeras.models import Classifier
from advkeras.models.pixel_grid import beyond, settled
from advkeras.searches.geometry import largest_entry, per_image, where_entries, where_images
from advkeras.searches.gradients import Slope, adversarial_margin, chosen_logits, isolated, slope
from advkeras.searches.norms import NORMS, NormName
from advkeras.searches.noting import columns, noted
from advkeras.searches.problem import Problem

# The paper's alpha_max, eta and beta: how much of a step starts at the image, how far over the boundary it goes, and
# what of the way is left after an example was found.
_FROM_IMAGE, _OVER, _BACK = 0.1, 1.05, 0.9
# Newton's steps to a projection's length, at most: each lets further pixels meet the bounds, and few rounds of that are
# left. An image's length stays as it is once it would grow by less than this share.
_NEWTON_STEPS, _GROWING = 12, 1e-6
# Steps that are taken before finished images leave.
_AT_ONCE = 10


class BoundaryState(NamedTuple):
    """The state of a run on images, each part of which is an image's own."""

    images: Any
    goals: Any
    aims: Any  # the wrong class whose boundary is looked for
    points: Any
    index: Any
    best: Any
    best_norm: Any  # infinite before the first example
    best_step: Any  # at which it was found
    seen: Any  # margins, step by step; no example where it lies farther away than is enough
    zero: Any
    nonfinite: Any
    finished: Any

    @classmethod
    def begin(cls, problem: Problem, starts: FloatArray, aims: IntArray) -> "BoundaryState":
        """The state before the first step.

        Args:
            problem: images and goals.
            starts: (N, H, W, C), the first points.
            aims: (N,) int32.
        """
        count, nothing = len(problem), np.zeros(len(problem), np.int32)
        return cls(
            images=problem.images,
            goals=problem.goals,
            aims=aims,
            points=starts.copy(),
            index=nothing.copy(),
            best=problem.images.copy(),
            best_norm=np.full(count, np.inf, np.float32),
            best_step=np.full(count, -1, np.int32),
            seen=columns(count),
            zero=nothing.copy(),
            nonfinite=nothing.copy(),
            finished=np.zeros(count, bool),
        )


def boundary_steps(classifier: Classifier, *, norm: NormName, nearest: bool = False) -> Callable[..., BoundaryState]:
    """A function from a batch's state, the steps of a run and the norm that is small enough, to the state after some.

    The paper's algorithm 1, for one aim, or towards the class whose linearised boundary is nearest. A step takes a
    gradient at a point, or one for each wrong class, and a forward pass at the next one.
    """
    measure, bounds = NORMS[norm].distance, classifier.bounds

    def towards(points: Any, goals: Any, aims: Any) -> Slope:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(points)
            logits = tf.cast(classifier(points), tf.float32)
            gap = chosen_logits(logits, goals) - chosen_logits(logits, aims)
        return slope(gap, tape.gradient(gap, points))

    def towards_nearest(points: Any, goals: Any, _: Any) -> Slope:
        def ahead(found: Slope) -> Any:
            steepness = NORMS[norm].steepness(found.gradient)
            return tf.where(found.zero, np.inf, tf.math.divide_no_nan(tf.abs(found.value), steepness))

        def look_at(taken: Any, kept: Slope) -> tuple[Any, Slope]:
            met = towards(points, goals, (goals + taken) % classifier.num_classes)
            nearer = ahead(met) < ahead(kept)
            return taken + 1, Slope(
                value=tf.where(nearer, met.value, kept.value),
                gradient=where_images(nearer, met.gradient, kept.gradient),
                zero=tf.where(nearer, met.zero, kept.zero),
                nonfinite=tf.where(nearer, met.nonfinite, kept.nonfinite),
            )

        first = towards(points, goals, (goals + 1) % classifier.num_classes)
        found: Slope = tf.while_loop(
            lambda taken, _: taken < classifier.num_classes, look_at, (tf.constant(2), first), parallel_iterations=1
        )[1]
        return found

    def looked_at(points: Any, images: Any) -> Any:
        """The next points; of pictures those that go as far in L-inf, or the nearest."""
        if classifier.levels is not None and norm == "linf":
            return beyond(images, points, bounds, classifier.levels)
        return settled(points, bounds, classifier.levels)

    look = isolated(towards_nearest if nearest else towards)

    def step(state: BoundaryState, iterations: Any, enough: Any) -> BoundaryState:
        gap, gradient, zero, nonfinite = look(state.points, state.goals, state.aims)
        # The boundary is where the gap, linearised at the point, is 0, wherever one starts from.
        there = gap + tf.reduce_sum(gradient * (state.images - state.points), axis=[1, 2, 3])
        here_moved = onto_hyperplane(state.points, gradient, gap, bounds, norm)
        image_moved = onto_hyperplane(state.images, gradient, there, bounds, norm)
        lengths = measure(here_moved), measure(image_moved)
        share = tf.minimum(tf.math.divide_no_nan(lengths[0], lengths[0] + lengths[1]), _FROM_IMAGE)
        share = per_image(share)
        ahead = (1 - share) * (state.points + _OVER * here_moved) + share * (state.images + _OVER * image_moved)
        ahead = tf.clip_by_value(ahead, *bounds)
        met = looked_at(ahead, state.images)
        margin = adversarial_margin(tf.cast(classifier(met), tf.float32), state.goals, targeted=False)
        reached = measure(met - state.images)
        fooled, nearer = margin > 0, (margin > 0) & (reached < state.best_norm)
        best_norm = tf.where(nearer, reached, state.best_norm)
        within = (enough <= 0) | (reached <= enough)
        counting = tf.where(within, margin, tf.minimum(margin, 0.0))
        return state._replace(
            points=where_images(fooled, state.images + _BACK * (ahead - state.images), ahead),
            index=state.index + 1,
            best=where_images(nearer, met, state.best),
            best_norm=best_norm,
            best_step=tf.where(nearer, state.index, state.best_step),
            seen=noted(state.seen, counting, state.index, iterations),
            zero=state.zero + tf.cast(zero, tf.int32),
            nonfinite=state.nonfinite + tf.cast(nonfinite, tf.int32),
            finished=(state.index + 1 >= iterations) | (best_norm <= enough),
        )

    def kept(after: BoundaryState, before: BoundaryState) -> BoundaryState:
        done = before.finished
        return after._replace(
            best=where_images(done, before.best, after.best),
            best_norm=tf.where(done, before.best_norm, after.best_norm),
            best_step=tf.where(done, before.best_step, after.best_step),
            seen=tf.where(done[:, None], before.seen, after.seen),
            index=tf.where(done, before.index, after.index),
            zero=tf.where(done, before.zero, after.zero),
            nonfinite=tf.where(done, before.nonfinite, after.nonfinite),
            finished=after.finished | done,
        )

    def advance(state: BoundaryState, iterations: Any, enough: Any) -> BoundaryState:
        _, state = tf.while_loop(
            lambda taken, state: (taken < _AT_ONCE) & ~tf.reduce_all(state.finished),
            lambda taken, state: (taken + 1, kept(step(state, iterations, enough), state)),
            (tf.constant(0), state),
            parallel_iterations=1,
        )
        return state

    return advance


def onto_hyperplane(points: Any, normal: Any, value: Any, bounds: tuple[float, float], norm: NormName) -> Any:
    """The least moves that bring points onto hyperplanes, within the bounds: (B, H, W, C).

    The move has the least norm of those that change ``normal . point`` by minus the value; as far as there is room,
    where the bounds leave too little (the paper's problem 2).

    Args:
        points: (B, H, W, C), within the bounds.
        normal: (B, H, W, C).
        value: (B,), of the linear function at the points.
        bounds: lowest and highest pixel value.
        norm: ``"l2"`` or ``"linf"``.
    """
    size = per_image(largest_entry(normal))
    weights = tf.math.divide_no_nan(normal, size)
    # Down where the value is above 0, up where it is below.
    sense = -per_image(tf.sign(value)) * tf.sign(weights)
    room = where_entries(sense > 0, bounds[1] - points) + where_entries(sense <= 0, points - bounds[0])
    steepness = tf.abs(weights)
    wanted = tf.math.divide_no_nan(tf.abs(value), tf.reshape(size, (-1,)))
    pace = steepness if norm == "l2" else tf.ones_like(steepness)

    def moved(length: Any) -> Any:
        return tf.minimum(per_image(length) * pace, room)

    def lengthened(index: Any, length: Any, _: Any) -> tuple[Any, Any, Any]:
        """What is gained is a concave function of the length, linear between bounds: Newton's steps stay below."""
        move = moved(length)
        missing = wanted - tf.reduce_sum(steepness * move, axis=[1, 2, 3])
        gain = tf.reduce_sum(where_entries(move < room, steepness * pace), axis=[1, 2, 3])
        further = tf.math.divide_no_nan(missing, gain)
        growing = further > _GROWING * length
        return index + 1, length + tf.where(growing, further, 0.0), tf.reduce_any(growing)

    _, found, _ = tf.while_loop(
        lambda index, _, growing: (index < _NEWTON_STEPS) & growing,
        lengthened,
        (tf.constant(0), tf.zeros_like(wanted), tf.constant(True)),
        parallel_iterations=1,
    )
    return sense * moved(found)
