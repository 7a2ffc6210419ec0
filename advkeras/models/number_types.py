"""Networks that compute in other number types than float32: whole numbers at the input, half precision within."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from advkeras.models.graphs import GRAPH_ERRORS, Graph, computes_in, trace

# By how much what is found behind a cast may differ from what the network returns.
_TOLERANCE = 1e-5
# Half precision ends at 2^16; the gradient of a logit is seldom larger than what comes in times 2^this at any layer.
_MARGIN = 3
_LARGEST = 14


def rounded(images: Any) -> Any:
    """The nearest whole numbers, float32; their gradient is that of the images."""
    return images + tf.stop_gradient(tf.round(images) - images)


def taking_float32(
    network: Callable[[Any], Any], shape: tuple[int | None, ...], dtype: tf.DType, example: Any
) -> Callable[[Any], Any]:
    """The network as a function of float32 tensors.

    Whole numbers have no gradient. So where the network makes floating-point numbers of them at once, these are put in
    where they arise: the nearest whole numbers, with the gradient that they have there.

    Args:
        network: takes a tensor of the number type, and returns tensors in any structure.
        shape: of the tensor, with the batch; None where a size is free.
        dtype: the number type.
        example: a float32 tensor to compare with.
    """
    if dtype == tf.float32:
        return network
    if dtype.is_floating:
        return lambda values: network(tf.cast(values, dtype))

    def cast(values: Any) -> Any:
        return network(tf.cast(tf.round(values), dtype))

    behind = _behind_the_cast(network, shape, dtype)
    if behind is None:
        return cast
    found = behind

    def bypassing(values: Any) -> Any:
        return found(rounded(values))

    pairs = zip(tf.nest.flatten(bypassing(example)), tf.nest.flatten(cast(example)), strict=True)
    same = all(np.allclose(ours, theirs, atol=_TOLERANCE, rtol=_TOLERANCE, equal_nan=True) for ours, theirs in pairs)
    return bypassing if same else cast


def _behind_the_cast(
    network: Callable[[Any], Any], shape: tuple[int | None, ...], dtype: tf.DType
) -> Callable[[Any], Any] | None:
    """From float32 values to what the network returns, past the casts of its input; None if it does more with it."""
    try:
        traced = trace(network, shape, dtype)
        graph = Graph(traced)
        takers = graph.behind(graph.entry)
        if not takers or any(each.type != "Cast" or not each.outputs[0].dtype.is_floating for each in takers):
            return None
        kinds = {each.outputs[0].dtype for each in takers}
        if len(kinds) != 1:
            return None
        inner = graph.between([each.outputs[0] for each in takers], graph.outputs)
        [kind] = kinds
    except GRAPH_ERRORS:
        return None
    return lambda values: tf.nest.pack_sequence_as(
        traced.structured_outputs, inner(tf.cast(values, kind)), expand_composites=True
    )


def scaled(function: Callable[[Any], Any], shape: tuple[int, ...], batch: int | None, example: Any) -> Any:
    """The function with a gradient that does not vanish in half precision; itself, where it does not compute in that.

    Numbers below 6e-8 are zero in float16. So what the logits' gradient is multiplied by is made as large as half
    precision takes, image by image, and the images' gradient is divided by it, in float32: loss scaling (Micikevicius
    et al., ICLR 2018), without a loss.

    Args:
        function: from images (N, H, W, C) float32 to logits (N, classes) float32.
        shape: (H, W, C).
        batch: images that it takes at once; None for any number.
        example: images to choose the largest factor on.
    """
    try:
        if not computes_in(trace(function, (batch, *shape)), tf.float16):
            return function
    except GRAPH_ERRORS:
        return function
    for power in range(_LARGEST, 0, -1):
        largest = _with_largest(function, 2.0**power)
        with tf.GradientTape() as tape:
            tape.watch(example)
            logits = largest(example)
        signs = tf.cast(tf.where(tf.range(logits.shape[1]) % 2 == 0, 1, -1), tf.float32)
        gradient = tape.gradient(logits, example, output_gradients=tf.ones_like(logits) * signs)
        if gradient is None:
            return function
        if bool(tf.reduce_all(tf.math.is_finite(gradient))):
            return _with_largest(function, 2.0 ** max(power - _MARGIN, 0))
    return function


def _with_largest(function: Callable[[Any], Any], largest: float) -> Callable[[Any], Any]:
    """The function whose upstream gradient is so large for each image that its greatest entry is the largest."""

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def whole(images: Any) -> Any:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            logits = function(images)

        def backwards(upstream: Any, variables: Any = None) -> Any:
            most = tf.reduce_max(tf.abs(upstream), axis=1, keepdims=True)
            factor = tf.where((most > 0) & tf.math.is_finite(most), largest / most, 1.0)
            gradient = tape.gradient(logits, images, output_gradients=upstream * factor)
            gradient = gradient / factor[:, :, tf.newaxis, tf.newaxis]
            # The networks' variables are not trained through a classifier.
            return (gradient, [None] * len(variables)) if variables is not None else gradient

        return logits, backwards

    return whole  # type: ignore[no-any-return]
