"""The loop of projected gradient descent, to be compiled into an attack, a training step or a validation."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from advkeras.models.pixel_grid import settled
from advkeras.searches.geometry import length, per_image, pictures_within, unit, where_images
from advkeras.searches.gradients import Slope, isolated
from advkeras.searches.norms import NormName
from advkeras.searches.noting import WIDTH, noted


class Climbed(NamedTuple):
    """What a run has found.

    Attributes:
        points: (B, H, W, C) float32, of the highest value that was met.
        value: (B,) float32, there.
        zero: (B,) int32, gradients that gave no direction.
        nonfinite: (B,) int32, gradients in which something was not finite.
        seen: (B, WIDTH) float32, the values that were met, step by step, the last point's included.
    """

    points: Any
    value: Any
    zero: Any
    nonfinite: Any
    seen: Any


def projected_gradient(
    climb: Callable[[Any, Any], Slope],
    value: Callable[[Any, Any], Any],
    images: Any,
    goals: Any,
    *,
    epsilon: Any,
    step: Any,
    iterations: Any,
    bounds: tuple[float, float],
    start: Any | None = None,
    drift: Any | None = None,
    norm: NormName = "linf",
    momentum: float = 0.0,
    levels: int | None = None,
) -> Climbed:
    """Steps along gradients within a ball, as a TensorFlow function; the best of the points that were met.

    Args:
        climb: from points (B, H, W, C) and goals to the value there and the direction in which to go.
        value: from the same to the value alone, (B,), for the last point.
        images: (B, H, W, C) float32.
        goals: (B, ...), what the gradient needs to know of each image.
        epsilon: scalar float32, radius of the ball.
        step: scalar float32, length of a step.
        iterations: number of steps.
        bounds: lowest and highest pixel value.
        start: (B, H, W, C) offsets from the images; None starts at the images.
        drift: (B, H, W, C), where to go as long as a gradient is zero; None stays.
        norm: ``"linf"`` or ``"l2"``.
        momentum: the share of the step before in each step (Croce and Hein, ICML 2020, take 0.25).
        levels: how many values a pixel may have; any number by default. The points that are looked at are those next to
            where the steps lead.
    """
    project, direct = projection(images, epsilon, bounds, norm), tf.sign if norm == "linf" else unit
    slope_at = isolated(climb)
    nothing = tf.zeros_like(images[:, 0, 0, 0], tf.int32)

    def better(points: Any, value: Any, index: Any, found: Climbed) -> Climbed:
        higher = value > found.value
        return found._replace(
            points=where_images(higher, points, found.points),
            value=tf.where(higher, value, found.value),
            seen=noted(found.seen, value, index, iterations + 1),
        )

    def stepped(index: Any, points: Any, before: Any, gradient: Any) -> Any:
        ahead = project(points + step * direct(gradient))
        if not momentum:
            return ahead
        # The first step has none before it.
        share = tf.where(index > 0, momentum, 0.0)
        return project(ahead + share * (2 * points - before - ahead))

    def advance(index: Any, points: Any, before: Any, found: Climbed) -> tuple[Any, Any, Any, Climbed]:
        met = looked_at(images, points, bounds, levels, norm)
        slope = slope_at(met, goals)
        found = better(met, slope.value, index, found)
        found = found._replace(
            zero=found.zero + tf.cast(slope.zero, tf.int32),
            nonfinite=found.nonfinite + tf.cast(slope.nonfinite, tf.int32),
        )
        gradient = slope.gradient if drift is None else where_images(slope.zero, drift, slope.gradient)
        return index + 1, stepped(index, points, before, gradient), points, found

    first = images if start is None else project(images + start)
    nowhere = Climbed(
        first,
        tf.fill(tf.shape(nothing), tf.float32.min),
        nothing,
        nothing,
        tf.fill((tf.shape(nothing)[0], WIDTH), tf.constant(-math.inf)),
    )
    _, points, _, found = tf.while_loop(
        lambda index, *_: index < iterations, advance, (tf.constant(0), first, first, nowhere), parallel_iterations=1
    )
    last = looked_at(images, points, bounds, levels, norm)
    return better(last, value(last, goals), iterations, found)


def last_iterate(
    climb: Callable[[Any, Any], Slope],
    images: Any,
    goals: Any,
    *,
    epsilon: Any,
    step: Any,
    iterations: int,
    bounds: tuple[float, float],
    start: Any,
) -> Any:
    """The point at which so many steps within an L-inf ball end, (B, H, W, C), as training takes it.

    Its value is not looked at, which saves a forward pass. The arguments are those of :func:`projected_gradient`.
    """
    project = projection(images, epsilon, bounds, "linf")
    slope_at = isolated(climb)
    _, points = tf.while_loop(
        lambda index, _: index < iterations,
        lambda index, points: (index + 1, project(points + step * tf.sign(slope_at(points, goals).gradient))),
        (tf.constant(0), project(images + start)),
        parallel_iterations=1,
    )
    return tf.stop_gradient(points)


def looked_at(images: Any, points: Any, bounds: tuple[float, float], levels: int | None, norm: NormName) -> Any:
    """The points (B, H, W, C), or the pictures next to them, which in L2 are no farther from the images."""
    if levels is None:
        return points
    if norm == "linf":
        return settled(points, bounds, levels)
    offset = points - images
    return pictures_within(images, offset, length(offset), bounds, levels)


def projection(images: Any, epsilon: Any, bounds: tuple[float, float], norm: NormName) -> Callable[[Any], Any]:
    """A function from points (B, H, W, C) to the nearest ones within a ball around images and within the bounds."""

    def project(points: Any) -> Any:
        offset = points - images
        if norm == "linf":
            offset = tf.clip_by_value(offset, -epsilon, epsilon)
        else:
            offset *= per_image(tf.minimum(1.0, tf.math.divide_no_nan(epsilon, length(offset))))
            # divide_no_nan gives 0 for an offset of 0, which stays 0.
        return tf.clip_by_value(images + offset, *bounds)

    return project
