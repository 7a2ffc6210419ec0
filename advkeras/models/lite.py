"""LiteRT models (.tflite), in floating-point numbers or quantised: classifiers without gradients."""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from advkeras.errors import AdvkerasError, InvalidInputError, first_line
from advkeras.models.networks import Network

SUFFIX = ".tflite"

# Operations at the end that only change the number type.
_CASTS = frozenset({"QUANTIZE", "DEQUANTIZE", "CAST", "RESHAPE"})
# Quantised probabilities are whole multiples of this (LiteRT's quantisation specification).
_STEP = 1 / 256


def lite_network(path: Path) -> Network:
    """A LiteRT model as a network of floating-point numbers.

    Quantised inputs and outputs are scaled as the model says. Probabilities, which quantisation keeps from summing to
    one, are divided by their sum; the one output of a sigmoid becomes its logit.

    Raises:
        AdvkerasError: if LiteRT is not installed.
        InvalidInputError: if the file cannot be read, or has not one input.
    """
    model = _LiteModel(path)
    return Network(f"the LiteRT model {path}", model, model.shape, holding=[model])


class _LiteModel:
    """A LiteRT model as a TensorFlow function, run by its interpreter."""

    def __init__(self, path: Path) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter  # type: ignore[import-untyped]
        except ImportError:
            raise AdvkerasError(f"{path} needs LiteRT: pip install 'advkeras[lite]'") from None
        try:
            with _quiet():
                self._interpreter = Interpreter(str(path))
                inputs = self._interpreter.get_input_details()
                self._outputs = {each["name"]: each for each in self._interpreter.get_output_details()}
                self._input = inputs[0]
                self.shape = [int(size) if size >= 0 else None for size in self._input["shape_signature"]]
                self._batch = 0
                self._lock = threading.Lock()
                self._last = self._last_operation()
                self._resize_to(int(self._input["shape"][0]))
        except (ValueError, RuntimeError, LookupError) as error:
            raise InvalidInputError(f"{path} is no readable LiteRT model: {first_line(error)}") from None
        if len(inputs) != 1:
            raise InvalidInputError(f"{path} must take one batch of images. Received: {len(inputs)} inputs")

    def __call__(self, values: Any) -> dict[str, Any] | Any:
        """What the model returns for a tensor; by name where it has several outputs."""
        found = tf.nest.flatten(tf.numpy_function(self._run, [values], [tf.float32] * len(self._outputs)))
        for tensor, details in zip(found, self._outputs.values(), strict=True):
            tensor.set_shape([values.shape[0], *details["shape"][1:]])
        named = dict(zip(self._outputs, found, strict=True))
        return named if len(named) > 1 else next(iter(named.values()))

    def _run(self, values: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
        with self._lock:
            self._resize_to(len(values))
            self._interpreter.set_tensor(self._input["index"], _quantised(values, self._input))
            self._interpreter.invoke()
            outputs = [_in_floats(self._interpreter.get_tensor(each["index"]), each) for each in self._outputs.values()]
        return [self._read(output) for output in outputs]

    def _read(self, output: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        if self._last == "SOFTMAX" and output.ndim == 2 and len(self._outputs) == 1:
            return np.asarray(output / output.sum(axis=1, keepdims=True), np.float32)
        if self._last == "LOGISTIC" and output.size == len(output):
            sure = np.clip(output, _STEP / 2, 1 - _STEP / 2) if self._is_quantised() else output
            limited = np.clip(sure, np.finfo(np.float32).tiny, 1 - np.finfo(np.float32).epsneg)
            return np.asarray(np.log(limited) - np.log1p(-limited), np.float32)
        return output

    def _is_quantised(self) -> bool:
        return any(not np.issubdtype(each["dtype"], np.floating) for each in self._outputs.values())

    def _resize_to(self, batch: int) -> None:
        if batch != self._batch:
            self._interpreter.resize_tensor_input(self._input["index"], [batch, *self._input["shape"][1:]])
            self._interpreter.allocate_tensors()
            self._batch = batch

    def _last_operation(self) -> str:
        """The kind of the last operation, behind casts; empty where the interpreter does not say it."""
        try:
            kinds = [each["op_name"] for each in self._interpreter._get_ops_details()]
        except (AttributeError, LookupError):
            return ""
        return next((kind for kind in reversed(kinds) if kind not in _CASTS), "")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the interpreter writes to standard error, past Python, of how it goes about its work."""
    try:
        kept = os.dup(2)
    except OSError:  # There is none.
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nowhere)
        os.close(kept)


def _quantised(values: npt.NDArray[np.float32], details: Mapping[str, Any]) -> npt.NDArray[Any]:
    """Numbers of the type of a tensor, scaled as it says."""
    kind = np.dtype(details["dtype"])
    if np.issubdtype(kind, np.floating):
        return values.astype(kind)
    scale, zero = details["quantization"]
    scaled = values / scale + zero if scale else values
    limits = np.iinfo(kind)
    return np.clip(np.rint(scaled), limits.min, limits.max).astype(kind)


def _in_floats(values: npt.NDArray[Any], details: Mapping[str, Any]) -> npt.NDArray[np.float32]:
    """The inverse of :func:`_quantised`."""
    scale, zero = details["quantization"]
    if np.issubdtype(values.dtype, np.floating) or not scale:
        return values.astype(np.float32)
    return np.asarray((values.astype(np.float32) - zero) * scale, np.float32)
