"""What goes into the softmax or the sigmoid with which a network's graph ends."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, cast

import tensorflow as tf
from tensorflow.python.framework import convert_to_constants

# Operations between the activation and the output that change no order of classes.
_PASSED_THROUGH = frozenset({"Identity", "Cast", "Reshape", "Squeeze", "StopGradient", "EnsureShape", "CheckNumerics"})


@dataclass(frozen=True)
class FinalActivation:
    """What was found.

    Attributes:
        kind: of the activation.
        function: from images to what goes into it. It shares the network's variables.
    """

    kind: Literal["Softmax", "Sigmoid"]
    function: Callable[[Any], Any]


def find(function: Callable[[Any], Any], shape: tuple[int, ...], batch: int | None = None) -> FinalActivation | None:
    """Looks behind the last operations of a function from images to its outputs.

    Args:
        function: takes images (N, H, W, C) float32, and returns one tensor.
        shape: (H, W, C).
        batch: images that it takes at once; None for any number.

    Returns:
        None where the function does not end with a softmax or a sigmoid, or cannot be made a graph.
    """
    try:
        traced = tf.function(function, autograph=False).get_concrete_function(
            tf.TensorSpec((batch, *shape), tf.float32)
        )
        return _before_the_last(traced)
    except (AttributeError, LookupError, NotImplementedError, TypeError, ValueError, tf.errors.OpError):
        return None


def _before_the_last(traced: Any) -> FinalActivation | None:
    # An activation hides in the functions that a graph calls, until they are inlined. TensorFlow offers that, without
    # freezing the variables, only here.
    inlined = convert_to_constants._run_inline_graph_optimization(
        traced, lower_control_flow=False, aggressive_inlining=True
    )
    whole = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(inlined, name=""), [])
    last = whole.graph.get_operation_by_name(traced.outputs[0].op.name)
    while last.type in _PASSED_THROUGH:
        last = last.inputs[0].op
    if last.type not in ("Softmax", "Sigmoid"):
        return None
    images, *_ = traced.inputs
    captured = [whole.graph.get_tensor_by_name(tensor.name) for tensor in traced.graph.internal_captures]
    # The captured variables are handed over at each call: what is found has no copies of them.
    pruned = whole.prune(feeds=[whole.graph.get_tensor_by_name(images.name), *captured], fetches=last.inputs[0])

    def before(points: Any) -> Any:
        return pruned(points, *traced.captured_inputs)

    before.traced = traced  # type: ignore[attr-defined]
    return FinalActivation(cast(Literal["Softmax", "Sigmoid"], last.type), before)
