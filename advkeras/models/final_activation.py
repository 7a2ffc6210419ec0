"""What goes into the softmax or the sigmoid with which a network's graph ends, if it ends with one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, cast

from advkeras.models.graphs import GRAPH_ERRORS, Graph, trace

# Operations between the activation and the output that change no order of classes.
_PASSED_THROUGH = frozenset({"Identity", "Cast", "Reshape", "Squeeze", "StopGradient", "EnsureShape", "CheckNumerics"})


# A layer without an activation ends with one of these.
_LINEAR = frozenset({"MatMul", "BiasAdd", "Add", "AddV2", "Conv2D", "Einsum", "BatchMatMulV2"})


@dataclass(frozen=True)
class FinalActivation:
    """What was found.

    Attributes:
        kind: of the activation; linear, where there is none.
        function: from images to what goes into it. It shares the network's variables.
    """

    kind: Literal["Softmax", "Sigmoid", "Linear"]
    function: Callable[[Any], Any]


def find(function: Callable[[Any], Any], shape: tuple[int, ...], batch: int | None = None) -> FinalActivation | None:
    """Looks behind the last operations of a function from images to its outputs.

    Args:
        function: takes images (N, H, W, C) float32, and returns one tensor.
        shape: (H, W, C).
        batch: images that it takes at once; None for any number.

    Returns:
        None where the function ends with something else than a softmax, a sigmoid or a layer without an activation, or
        cannot be made a graph.
    """
    try:
        graph = Graph(trace(function, (batch, *shape)))
        last = _behind(graph.outputs[0].op)
        if last.type == "Exp" and _behind(last.inputs[0].op).type == "LogSoftmax":
            # Logarithms of probabilities are logits, too.
            return FinalActivation("Softmax", graph.between([graph.entry], last.inputs[0]))
        if last.type in ("Softmax", "Sigmoid"):
            kind = cast(Literal["Softmax", "Sigmoid"], last.type)
            return FinalActivation(kind, graph.between([graph.entry], last.inputs[0]))
        if last.type in _LINEAR:
            return FinalActivation("Linear", function)
    except GRAPH_ERRORS:
        pass
    return None


def _behind(operation: Any) -> Any:
    """The operation, or the nearest before it that is more than a change of form."""
    while operation.type in _PASSED_THROUGH:
        operation = operation.inputs[0].op
    return operation
