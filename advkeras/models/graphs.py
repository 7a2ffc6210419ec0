"""A network's TensorFlow graph, entered and left elsewhere than at its ends."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import convert_to_constants, op_def_registry

# Operations that TensorFlow calls stateful, and that leave everything as it is.
_READING = frozenset({"Placeholder", "ReadVariableOp", "PartitionedCall", "StatefulPartitionedCall"})
_PYTHON = frozenset({"PyFunc", "PyFuncStateless", "EagerPyFunc"})

# What TensorFlow raises where a function cannot be made a graph, or where the graph has no such place.
GRAPH_ERRORS = (
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    TypeError,
    ValueError,
    tf.errors.OpError,
)


def trace(function: Callable[[Any], Any], shape: Sequence[int | None], dtype: tf.DType = tf.float32) -> Any:
    """The concrete function of a function of one tensor, whose shape is given with the batch."""
    return tf.function(function, autograph=False).get_concrete_function(tf.TensorSpec(shape, dtype))


def computes_in(traced: Any, dtype: tf.DType) -> bool:
    """Whether any operation of a concrete function, or of those that it calls, has to do with a number type."""
    return any(value.type == dtype.as_datatype_enum for node in _nodes(traced) for value in node.attr.values())


def runs_python(traced: Any) -> bool:
    """Whether a concrete function calls back into Python, which no server has."""
    return any(node.op in _PYTHON for node in _nodes(traced))


def inlined(traced: Any) -> Callable[[Any], Any]:
    """A concrete function of one tensor, with all that it calls inlined; as it is, where that cannot be or matters.

    TensorFlow changes the graph of a function that calls others when it takes a gradient, so that every further one
    adds up zeros for all that the first one kept. What keeps state is left as it is, and so are loops, conditions and
    what is compiled by XLA, whose functions stay functions.
    """
    unchanged: Callable[[Any], Any] = traced
    if any(_is_stateful(node.op) for node in _nodes(traced)):
        return unchanged
    try:
        graph = Graph(traced)
        if graph.calls_functions:
            return unchanged
        return graph.between([graph.entry], tf.nest.pack_sequence_as(traced.structured_outputs, graph.outputs))
    except GRAPH_ERRORS:
        return unchanged


def _is_stateful(kind: str) -> bool:
    known = op_def_registry.get(kind)
    return kind not in _READING and (known is None or known.is_stateful)


def _nodes(traced: Any) -> Iterator[Any]:
    """The operations of a concrete function and of those that it calls."""
    graph = traced.graph.as_graph_def()
    return chain(graph.node, *(function.node_def for function in graph.library.function))


class Graph:
    """The graph of a concrete function, with all that it calls inlined.

    Attributes:
        entry: the tensor that is the function's argument.
        outputs: the tensors that it returns.
        calls_functions: whether some of what it calls could not be inlined.
    """

    def __init__(self, traced: Any) -> None:
        # What is looked for hides in the functions that a graph calls, until they are inlined. TensorFlow offers that,
        # without freezing the variables, only here.
        definition = convert_to_constants._run_inline_graph_optimization(
            traced, lower_control_flow=False, aggressive_inlining=True
        )
        self._traced = traced
        values = [value for node in definition.node for value in node.attr.values()]
        self.calls_functions = any(value.HasField("func") or value.list.func for value in values)
        self._whole = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(definition, name=""), [])
        self.entry = self._tensor(traced.inputs[0])
        self.outputs = [self._tensor(tensor) for tensor in traced.outputs]

    def _tensor(self, tensor: Any) -> Any:
        return self._whole.graph.get_tensor_by_name(tensor.name)

    def behind(self, tensor: Any) -> list[Any]:
        """The operations that take a tensor, behind identities."""
        found = []
        for operation in tensor.consumers():
            found += self.behind(operation.outputs[0]) if operation.type == "Identity" else [operation]
        return found

    def between(self, entries: Sequence[Any], ends: Any) -> Callable[[Any], Any]:
        """The function from one value, put in at all of the entries, to what arises at the ends (one or several).

        It shares the network's variables.
        """
        captured = [self._tensor(tensor) for tensor in self._traced.graph.internal_captures]
        # What is inlined waits for its argument, even where it no longer uses it.
        waited_for = [] if any(entry is self.entry for entry in entries) else [self.entry]
        # The captured variables are handed over at each call: what is found has no copies of them.
        pruned = self._whole.prune(feeds=[*waited_for, *entries, *captured], fetches=ends)

        def run(value: Any) -> Any:
            unused = [tf.cast(value, self.entry.dtype) for _ in waited_for]
            return pruned(*unused, *[value] * len(entries), *self._traced.captured_inputs)

        return run
