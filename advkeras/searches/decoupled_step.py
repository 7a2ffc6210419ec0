"""The steps of a search that keeps direction and norm apart and needs no weight between two losses.

In the manner of DDN (Rony et al., CVPR 2019) and FMN (Pintor et al., NeurIPS 2021). At each iteration the direction
moves towards the gradient at the present point, and the norm grows or shrinks by a factor that depends only on whether
the goal is reached there. Both steps get smaller along half a cosine. The point is the image moved by that norm along
the direction, within the bounds, so that on a linear classifier the search ends next to the exact projection.

Where the gradients of successive points have little to do with each other, as on adversarially trained networks, the
points that are looked at are moved by noise. Its RMS is a multiple of the present perturbation's and shrinks along the
same half cosine; the last fifth of the iterations has none. Every size is relative to the perturbation, so neither
pixels nor logits have a scale to be tuned.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from advkeras.models import Classifier
from advkeras.models.pixel_grid import settled, step_of
from advkeras.randomness import derive_seed
from advkeras.regions import Gaussian
from advkeras.searches.ensembles import Ensemble
from advkeras.searches.geometry import per_image, unit, where_images
from advkeras.searches.gradients import isolated, slope
from advkeras.searches.norms import Norm
from advkeras.searches.noting import noted

# The first step goes to where the gradient expects the goal, but no farther than this share of the whole range.
_FIRST_SHARE = 0.05
# The norm never gets smaller than this share of the range, so that it can grow again.
_LEAST_SHARE = 1e-4
# Iterations between two looks at which images are finished.
_ITERATIONS_PER_CALL = 10
# Iterations, after the first, over which it is heard how much gradients agree: the mean cosine between one and those
# before it.
LISTENING = 6
# How many it takes until that is known.
LISTENED = LISTENING + 1

# There is no noise once the half cosine, which falls from 1 to 0, is below this.
_QUIET = 0.1

_FLIPS = derive_seed(0, "decoupled search", "flips")


class _Pace(NamedTuple):
    """How large the steps of a search are at its beginning and at its end.

    The first iteration of all takes the gradient's direction, and as its norm the distance at which the gradient
    expects the goal.

    Attributes:
        blend: the gradient's share of the direction.
        growth: the norm's change.
        power: of the half cosine as which the norm's change falls.
    """

    blend: tuple[float, float]
    growth: tuple[float, float]
    power: float = 1.0


# A single point's direction may stay agile, so that its norm can settle early. Several members do not take that: their
# searches would end 2% farther away.
_POINT = _Pace(blend=(1.0, 0.05), growth=(0.5, 0.001), power=1.25)
_MEMBERS = _Pace(blend=(1.0, 0.02), growth=(0.5, 0.001))
# Where there is noise, or may be, a half to begin with ends 4% nearer on mnist-pgd than the whole.
_NOISY = _Pace(blend=(0.4, 0.02), growth=(0.5, 0.005))


class SearchState(NamedTuple):
    """What the search knows of each image; every field's first axis is the image. Lengths are in pixel units."""

    images: Any
    goals: Any
    aims: Any  # the class to climb towards
    seeds: Any
    noise: Any  # of RMS 1
    kappa: Any  # RMS of the noise over that of the perturbation; negative until it has been found out
    direction: Any
    momentum: Any
    norm: Any
    agreement: Any  # sum of the cosines between a gradient and the average of those before it
    iteration: Any
    best: Any  # the nearest point that reached the goal; the image, as long as there is none
    best_norm: Any  # infinite before the first success
    best_step: Any  # the iteration at which it was found
    seen: Any  # margins, step by step
    crossing: Any  # least RMS, noise apart, at which the ensemble was misclassified, if not by the confidence asked for
    zero: Any  # gradients without a direction
    nonfinite: Any
    finished: Any

    def where(self, chosen: Any) -> "SearchState":
        """The state of the images that a mask (N,) or indices choose."""
        return SearchState(*(values[chosen] for values in self))


def steps(classifier: Classifier, ensemble: Ensemble, norm: Norm) -> Any:
    """A function, to be compiled, from the state of a batch, and what is shared, to the state some iterations later.

    Shared are the iterations of the whole search, the one before which to stop, and what the ensemble shares.
    """

    @isolated
    def climb(points: Any, goals: Any, aims: Any, seeds: Any, iteration: Any, *shared: Any) -> tuple[Any, ...]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(points)
            logits = ensemble.logits(classifier, points, seeds, iteration, shared)
            verdict = ensemble.judge(logits, goals, aims, shared)
            objective = verdict.objective
        return (
            *verdict,
            *slope(objective, tape.gradient(objective, points))[1:],
        )

    def advance(state: SearchState, iterations: Any, until: Any, *shared: Any) -> SearchState:
        def unfinished(taken: Any, state: SearchState) -> Any:
            return (taken < _ITERATIONS_PER_CALL) & tf.reduce_any(~state.finished)

        def iterate(taken: Any, state: SearchState) -> tuple[Any, SearchState]:
            return taken + 1, _iterate(climb, norm, ensemble, state, (iterations, until), shared)

        _, state = tf.while_loop(unfinished, iterate, (tf.constant(0), state), parallel_iterations=1)
        return state

    # Base noise is drawn once, where an image comes in.
    def with_noise(state: SearchState, iterations: Any, until: Any, *shared: Any) -> SearchState:
        drawn = tf.cond(
            tf.reduce_any(state.iteration == 0),
            lambda: Gaussian(1.0).offsets_by_image(classifier.input_shape, state.seeds),
            lambda: state.noise,
        )
        return advance(state._replace(noise=drawn), iterations, until, *shared)

    return with_noise


def _iterate(
    climb: Callable[..., Any],
    norm: Norm,
    ensemble: Ensemble,
    state: SearchState,
    schedule: tuple[Any, Any],
    shared: tuple[Any, ...],
) -> SearchState:
    iterations, until = schedule
    bounds, levels = ensemble.bounds, ensemble.levels
    full = norm.largest(state.images.shape[1:], bounds)
    least = _LEAST_SHARE * full if levels is None else max(_LEAST_SHARE * full, step_of(bounds, levels))
    # All images of a batch came in together, so they are at the same iteration.
    iteration = tf.reduce_max(state.iteration)
    first = iteration == 0
    cosine = (1.0 + tf.cos(math.pi * tf.cast(iteration, tf.float32) / tf.cast(iterations, tf.float32))) / 2.0

    led = norm.point(state.images, state.direction, state.norm, bounds)
    offset = led - state.images
    size = tf.sqrt(tf.reduce_mean(tf.square(offset), axis=[1, 2, 3]))
    # A goal beyond the boundary may be far away; the noise stays as large as it is useful at the boundary.
    fading = tf.where(cosine < _QUIET, 0.0, cosine)
    spread = tf.maximum(state.kappa, 0.0) * fading * tf.minimum(size, state.crossing)
    centers = led
    if levels is not None:
        # A picture lies beside where the direction leads; with noise, pictures are all around it.
        beside = norm.point(state.images, state.direction, state.norm, bounds, levels)
        centers = where_images(spread > 0, led, beside)
    points = settled(centers + per_image(spread) * _varied(state.noise, iteration), bounds, levels)
    objective, margin, reached, crossed, gradient, zero, nonfinite = climb(
        points, state.goals, state.aims, state.seeds, iteration, *shared
    )
    distance = norm.distance(points - state.images)
    better = reached & (distance < state.best_norm) & ~state.finished

    # Where the classifier is flat, somewhere is better than nowhere.
    uphill = where_images(zero, state.noise, gradient)
    cosines = tf.reduce_sum(unit(uphill) * unit(state.momentum), axis=[1, 2, 3])
    listening = (iteration >= 1) & (iteration <= LISTENING)
    agreement = state.agreement + tf.where(listening, cosines, 0.0)
    found_out = (state.kappa < 0) & (iteration == LISTENING)
    kappa = tf.where(found_out, ensemble.noise * _noisiness(agreement / LISTENING, norm.agreement), state.kappa)

    still, pace = kappa == 0, _POINT if ensemble.size == 1 else _MEMBERS
    share = tf.where(still, _between(pace.blend, cosine), _between(_NOISY.blend, cosine))
    growth = tf.where(still, _between(pace.growth, cosine**pace.power), _between(_NOISY.growth, cosine))
    direction, momentum = norm.turn(
        state.direction,
        tf.math.divide_no_nan(offset, per_image(state.norm)),
        state.momentum,
        uphill,
        tf.where(first, 1.0, share),
    )
    expected = tf.minimum(
        tf.math.divide_no_nan(tf.maximum(-objective, 0.0), norm.steepness(gradient)), _FIRST_SHARE * full
    )
    expected = tf.where(zero, _FIRST_SHARE * full, expected)
    changed = state.norm * tf.where(reached, 1.0 - growth, 1.0 + growth)
    return state._replace(
        kappa=kappa,
        direction=direction,
        momentum=momentum,
        norm=tf.clip_by_value(tf.where(first, expected, changed), least, full),
        agreement=agreement,
        iteration=state.iteration + 1,
        best=where_images(better, points, state.best),
        best_norm=tf.where(better, distance, state.best_norm),
        best_step=tf.where(better, iteration, state.best_step),
        seen=noted(state.seen, margin, iteration, iterations),
        crossing=tf.where(crossed, tf.minimum(size, state.crossing), state.crossing),
        zero=state.zero + tf.cast(zero, tf.int32),
        nonfinite=state.nonfinite + tf.cast(nonfinite, tf.int32),
        finished=state.iteration + 1 >= until,
    )


def _noisiness(agreement: Any, ends: tuple[float, float]) -> Any:
    """How much of the noise there is, by the mean cosine between successive gradients: (B,) to (B,), from 0 to 1."""
    disagreeing, agreeing = ends
    return tf.clip_by_value((agreeing - agreement) / (agreeing - disagreeing), 0.0, 1.0)


def _varied(noise: Any, iteration: Any) -> Any:
    """Base noise (B, H, W, C), turned by as many features and with as many signs flipped as an iteration says.

    So every image has noise of its own at each iteration, at the cost of drawing one image's.
    """
    features = math.prod(noise.shape[1:])
    seed = tf.constant(_FLIPS, tf.int32)
    signs = tf.sign(tf.random.stateless_uniform((features,), seed + tf.stack([0, iteration]), -1.0, 1.0))
    turns = tf.random.stateless_uniform((), seed + tf.stack([1, iteration]), 0, features, tf.int32)
    flat = tf.roll(tf.reshape(noise, (-1, features)), turns, axis=1) * signs
    return tf.reshape(flat, tf.shape(noise))


def _between(ends: tuple[float, float], height: Any) -> Any:
    return ends[1] + (ends[0] - ends[1]) * height
