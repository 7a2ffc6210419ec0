"""The losses that gradient attacks climb, as TensorFlow functions that depend on no scale of logits or pixels.

Only a gradient's direction is used, so a loss may be any that has the direction of the one that is meant. Those here
keep it where float32 would round it away: ``softmax - onehot`` vanishes once the true class leads by some 17 logits.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import tensorflow as tf

Loss = Literal["cross_entropy", "margin"]

# The standard deviation over the classes to which cross-entropy brings logits: about what a trained network's have. How
# cross-entropy weighs the classes depends on the logits' temperature, which no attack should depend on.
_CROSS_ENTROPY_SPREAD = 10.0


class Slope(NamedTuple):
    """What an attack sees at points.

    Attributes:
        value: (B,) float32, positive where the attack has succeeded.
        gradient: (B, H, W, C) float32, the direction in which to go; finite.
        zero: (B,) bool, whether there is no direction: the gradient is 0 everywhere.
        nonfinite: (B,) bool, whether some of the gradient was NaN or infinite.
    """

    value: Any
    gradient: Any
    zero: Any
    nonfinite: Any


def isolated(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as a graph of its own within the graph that calls it, optimised and executed apart.

    A network's gradient that is inlined into a ``tf.while_loop`` takes up to a fifth longer on CPUs than the same
    gradient outside of it; as a function that is not inlined it does not.
    """
    compiled: Callable[..., Any] = tf.function(function, autograph=False, experimental_attributes={"_noinline": True})
    return compiled


def slope(value: Any, gradient: Any) -> Slope:
    """What a value (B,) and its gradient (B, H, W, C) tell.

    An infinite entry has a direction: it counts as the largest finite one of its image, with its own sign. NaN counts
    as 0.
    """
    axes = list(range(1, gradient.shape.rank))
    finite = tf.reduce_all(tf.math.is_finite(gradient), axis=axes)

    def mended() -> Any:
        kept = tf.where(tf.math.is_finite(gradient), gradient, 0.0)
        largest = tf.reduce_max(tf.abs(kept), axis=axes, keepdims=True)
        size = tf.where(largest > 0, largest, 1.0)
        return tf.where(tf.math.is_inf(gradient), tf.sign(gradient) * size, kept)

    kept = tf.cond(tf.reduce_all(finite), lambda: gradient, mended)
    return Slope(value, kept, tf.reduce_all(kept == 0, axis=axes), ~finite)


def loss_slope(
    function: Callable[[Any], Any], points: Any, goals: Any, *, targeted: bool, loss: Loss = "cross_entropy"
) -> Slope:
    """The adversarial margin at points, and the direction in which a loss grows.

    Args:
        function: images to logits.
        points: (B, H, W, C) float32.
        goals: (B,) int32, the true classes, or the targets.
        targeted: whether the goals are to be reached instead of left.
        loss: ``"cross_entropy"`` or ``"margin"``.
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(points)
        logits = tf.cast(function(points), tf.float32)
        margin = adversarial_margin(logits, goals, targeted=targeted)
        climbed = margin if loss == "margin" else cross_entropy_margin(logits, goals, targeted=targeted)
    return slope(margin, tape.gradient(climbed, points))


def cross_entropy_margin(logits: Any, goals: Any, *, targeted: bool) -> Any:
    """The margin with a soft maximum over the other classes, (B,), whose gradient has cross-entropy's direction.

    The gradient of cross-entropy is that of ``logsumexp(z_j, j != y) - z_y`` times the probability of being wrong, and
    float32 rounds that to 0 where the classifier is sure. Logits are brought to one spread over the classes first, so
    that their temperature, which changes no class, does not decide how the classes behind the first one weigh.

    Args:
        logits: (B, classes) float32.
        goals: (B,) int32, the true classes, or the targets.
        targeted: whether the goals are to be reached instead of left.
    """
    spread = tf.math.reduce_std(logits, axis=-1, keepdims=True)
    scale = tf.stop_gradient(tf.where(spread > 0, _CROSS_ENTROPY_SPREAD / spread, tf.ones_like(spread)))
    chosen_mask = _mask(logits, goals)
    scaled = scale * logits
    chosen = tf.reduce_max(tf.where(chosen_mask, scaled, _lowest(scaled)), axis=-1)
    others = tf.reduce_logsumexp(tf.where(chosen_mask, _lowest(scaled), scaled), axis=-1)
    return chosen - others if targeted else others - chosen


def divergence(logits: Any, reference: Any) -> Any:
    """Kullback-Leibler divergence of the classes' probabilities from a reference, (B,): KL(reference || logits).

    Args:
        logits: (B, classes) float32.
        reference: (B, classes) float32, logits too.
    """
    log_reference = tf.nn.log_softmax(reference)
    return tf.reduce_sum(tf.exp(log_reference) * (log_reference - tf.nn.log_softmax(logits)), axis=-1)


def divergence_slope(function: Callable[[Any], Any], points: Any, reference: Any) -> Slope:
    """How far the answers diverge from a reference, and the direction in which they do (Zhang et al., ICML 2019).

    Args:
        function: images to logits.
        points: (B, H, W, C) float32.
        reference: (B, classes) float32 logits.
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(points)
        diverged = divergence(tf.cast(function(points), tf.float32), tf.cast(reference, tf.float32))
    return slope(diverged, tape.gradient(diverged, points))


def adversarial_margin(logits: Any, goals: Any, *, targeted: bool) -> Any:
    """How far logits (..., classes) are on the attacker's side, (...,): positive once the attack has succeeded.

    The logit margin of Carlini and Wagner (2017), equation 6 without its bound. Untargeted: the largest wrong logit
    minus the true one. Targeted: the target's logit minus the largest other one. NaN where a logit is.

    Args:
        logits: (..., classes) float32.
        goals: (...,) int32, the true classes, or the targets.
        targeted: whether the goals are to be reached instead of left.
    """
    chosen_mask = _mask(logits, goals)
    chosen = tf.reduce_max(tf.where(chosen_mask, logits, _lowest(logits)), axis=-1)
    other = tf.reduce_max(tf.where(chosen_mask, _lowest(logits), logits), axis=-1)
    return chosen - other if targeted else other - chosen


def chosen_logits(logits: Any, classes: Any) -> Any:
    """The logits (...,) of classes, of logits (..., classes): a gather with a gradient that is soon built.

    Args:
        logits: (..., classes).
        classes: (...,) int32, or of a shape that is broadcast to it.
    """
    return tf.reduce_sum(tf.where(_mask(logits, classes), logits, tf.zeros_like(logits)), axis=-1)


def _mask(logits: Any, goals: Any) -> Any:
    return tf.one_hot(goals, tf.shape(logits)[-1], on_value=True, off_value=False, dtype=tf.bool)


def _lowest(logits: Any) -> Any:
    return tf.constant(tf.as_dtype(logits.dtype).min, logits.dtype)
