"""The losses that gradient attacks climb, as TensorFlow functions, and how their graphs are kept fast in a loop."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def isolated(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as a graph of its own within the graph that calls it, optimised and executed apart.

    A network's gradient that is inlined into a ``tf.while_loop`` takes up to a fifth longer on CPUs than the same
    gradient outside of it; as a function that is not inlined it does not.
    """
    compiled: Callable[..., Any] = tf.function(function, autograph=False, experimental_attributes={"_noinline": True})
    return compiled


def cross_entropy_gradient(function: Callable[[Any], Any], images: Any, goals: Any, *, targeted: bool) -> Any:
    """The direction in which the attacker's cross-entropy grows: (B, H, W, C).

    Args:
        function: images to logits.
        images: (B, H, W, C) float32.
        goals: (B,) int32, the true classes, or the targets.
        targeted: whether the goals are to be reached instead of left.
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=goals, logits=function(images))
    gradient = tape.gradient(loss, images)
    return -gradient if targeted else gradient


def divergence(logits: Any, reference: Any) -> Any:
    """Kullback-Leibler divergence of the classes' probabilities from a reference, (B,): KL(reference || logits).

    Args:
        logits: (B, classes) float32.
        reference: (B, classes) float32, logits too.
    """
    log_reference = tf.nn.log_softmax(reference)
    return tf.reduce_sum(tf.exp(log_reference) * (log_reference - tf.nn.log_softmax(logits)), axis=-1)


def divergence_gradient(function: Callable[[Any], Any], images: Any, reference: Any) -> Any:
    """The direction in which the answers diverge from a reference (Zhang et al., ICML 2019, TRADES): (B, H, W, C).

    Args:
        function: images to logits.
        images: (B, H, W, C) float32.
        reference: (B, classes) float32 logits.
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        diverged = divergence(function(images), reference)
    return tape.gradient(diverged, images)


def adversarial_margin(logits: Any, goals: Any, *, targeted: bool) -> Any:
    """How far logits (..., classes) are on the attacker's side, (...,): positive once the attack has succeeded.

    The logit margin of Carlini and Wagner (2017), equation 6 without its bound. Untargeted: the largest wrong logit
    minus the true one. Targeted: the target's logit minus the largest other one.

    Args:
        logits: (..., classes) float32.
        goals: (...,) int32, the true classes, or the targets.
        targeted: whether the goals are to be reached instead of left.
    """
    chosen_mask = tf.one_hot(goals, tf.shape(logits)[-1], on_value=True, off_value=False, dtype=tf.bool)
    lowest = tf.constant(-1e30, logits.dtype)
    chosen = tf.reduce_max(tf.where(chosen_mask, logits, lowest), axis=-1)
    other = tf.reduce_max(tf.where(chosen_mask, lowest, logits), axis=-1)
    return chosen - other if targeted else other - chosen
