"""Logits, whatever a network returns: before its softmax or sigmoid, of its one output, or logarithms of what it says.

A softmax rounds to 0 and 1 where the network is sure, and has no gradient there. So attacks want what goes into it.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from advkeras.errors import InvalidInputError, first_line
from advkeras.models.chosen_output import choose, named
from advkeras.models.final_activation import FinalActivation, find
from advkeras.models.reading import AS_RETURNED, BEFORE_SIGMOID, BEFORE_SOFTMAX, OF_PROBABILITIES, ONE_LOGIT, Reading
from advkeras.models.usage import Usage

# Probabilities below are as good as none: the logarithm of the least normal float32.
_LEAST = 2.0**-126
# By how much probabilities may differ from the softmax of the logits found: two steps of their number type near 1.
_TOLERANCES = {"float16": 2.0**-9, "bfloat16": 2.0**-6}
_TOLERANCE = 2.0**-10
# What the only output of a network is called where both it and what is read from it are wanted.
RETURNED = "returned"
# What is answered by these names is made of the logits.
ANSWERED = frozenset({"logits", "probabilities", "class"})
# By what share of the largest output two calls may differ.
_ROUNDING = 1e-4


def read(
    function: Callable[[Any], Any],
    probes: npt.NDArray[np.float32],
    *,
    name: str,
    usage: Usage = Usage(),  # noqa: B008
    batch: int | None = None,
) -> Reading:
    """How to have logits of a classifier.

    Args:
        function: what it returns for images (N, H, W, C) float32: a row for each, of logits or probabilities of two
            classes or more, or the logit or the probability of the second of two; or several outputs, one of them that.
        probes: images (N, H, W, C) to try it on.
        name: of the classifier, for messages.
        usage: which output is taken, of how many classes, and the threshold of a single one.
        batch: images that it takes at once, as many as the probes; None for any number.

    Raises:
        UnknownOutputError: if several outputs may be it, and the number of classes is not known.
        InvalidInputError: if it does not take the probes, or returns something else.
    """
    returned = _called(function, probes, name)
    chosen = choose(function, returned, name=name, wanted=usage.output_name, classes=usage.classes)
    outputs, again = (_outputs(chosen.function, probes, name) for _ in range(2))
    reading = _read(chosen.function, probes, outputs, name=name, threshold=usage.threshold, batch=batch)
    # Infinite numbers are left out.
    with np.errstate(over="ignore", invalid="ignore"):
        outputs, again = outputs.astype(np.float32), again.astype(np.float32)
        finite = np.isfinite(outputs) & np.isfinite(again)
        difference = float(np.abs(outputs - again).max(initial=0, where=finite))
    # Threads may add up in another order.
    rounding = _ROUNDING * float(np.abs(outputs).max(initial=0, where=finite))
    read_so = replace(
        reading,
        logits=lambda images: tf.cast(reading.logits(images), tf.float32),
        random=difference if difference > rounding else 0.0,
        output=chosen.name,
        guessed=chosen.guessed,
    )
    return read_so if batch else replace(read_so, others=_others(function, named(returned), read_so))


def _others(function: Callable[[Any], Any], names: Iterable[str], reading: Reading) -> Callable[[Any], dict[str, Any]]:
    """What the function returns beside logits, and beside probabilities that are their softmax."""
    taken = reading.output if reading.output is not None else ""
    told = {taken} if reading.how in (AS_RETURNED, BEFORE_SOFTMAX) else set()
    kept = [name for name in names if name not in told | ANSWERED]
    if not kept:
        return lambda images: {}

    def others(images: Any) -> dict[str, Any]:
        outputs = named(function(images))
        return {name or RETURNED: outputs[name] for name in kept}

    return others


def _read(
    function: Callable[[Any], Any],
    probes: npt.NDArray[np.float32],
    outputs: npt.NDArray[Any],
    *,
    name: str,
    threshold: float | None,
    batch: int | None,
) -> Reading:
    if outputs.ndim == 1 or outputs.shape[1] == 1:
        threshold = 0.5 if threshold is None else threshold
        return _of_one(function, probes, outputs.reshape(-1), name=name, threshold=threshold, batch=batch)
    if threshold is not None:
        raise InvalidInputError(f"a threshold is for one output. Received: {name}, which returns {outputs.shape[1]}")
    tolerance = _tolerance(outputs)
    if outputs.min() < 0 or outputs.max() > 1 + tolerance:
        return Reading(function, AS_RETURNED)
    before = find(function, probes.shape[1:], batch)
    whole = np.allclose(outputs.astype(np.float32).sum(axis=1), 1.0, atol=tolerance)
    if before is not None and before.kind == "Sigmoid" and _explains(before, probes, outputs):
        raise InvalidInputError(
            f"{name} ends with {outputs.shape[1]} independent sigmoids (multi-label): attacks need classes that "
            "exclude each other"
        )
    if before is not None and before.kind == "Softmax" and _explains(before, probes, outputs):
        classes = outputs.shape[1]  # which a reshape behind the softmax may have made of its input's
        return Reading(lambda images: tf.reshape(before.function(images), (-1, classes)), BEFORE_SOFTMAX)
    if not whole:
        return Reading(function, AS_RETURNED)
    return Reading(
        lambda images: tf.math.log(tf.maximum(tf.cast(function(images), tf.float32), _LEAST)),
        OF_PROBABILITIES,
        saturated=float((outputs < _LEAST).any(axis=1).mean()),
    )


def _of_one(
    function: Callable[[Any], Any],
    probes: npt.NDArray[np.float32],
    outputs: npt.NDArray[Any],
    *,
    name: str,
    threshold: float,
    batch: int | None,
) -> Reading:
    """Of one output z the logits are 0 and z, moved so that they are equal at the threshold."""
    shift, how, logit = float(np.log(threshold / (1 - threshold))), ONE_LOGIT, function
    if outputs.min() >= 0 and outputs.max() <= 1:
        before = find(function, probes.shape[1:], batch)
        if before is not None and before.kind == "Linear":
            pass
        elif before is None or before.kind != "Sigmoid" or not _explains(before, probes, outputs):
            raise InvalidInputError(
                f"{name} returns one number in [0, 1] for each image, and no sigmoid is found that it comes from: "
                "whether it is a probability or a logit cannot be told. Return the logit"
            )
        else:
            how, logit = BEFORE_SIGMOID, before.function

    def logits(images: Any) -> Any:
        second = tf.reshape(tf.cast(logit(images), tf.float32), (-1,)) - shift
        return tf.stack([tf.zeros_like(second), second], axis=1)

    return Reading(logits, how)


def _called(function: Callable[[Any], Any], probes: npt.NDArray[np.float32], name: str) -> Any:
    try:
        return keras.tree.map_structure(tf.convert_to_tensor, function(tf.constant(probes)))
    except (ValueError, TypeError, tf.errors.OpError) as error:
        shape = ", ".join(map(str, probes.shape[1:]))
        raise InvalidInputError(f"{name} does not take images of shape (N, {shape}): {first_line(error)}") from error


def _outputs(function: Callable[[Any], Any], probes: npt.NDArray[np.float32], name: str) -> npt.NDArray[Any]:
    returned = _called(function, probes, name)
    if returned.shape.rank not in (1, 2) or len(returned) != len(probes) or not returned.shape.num_elements():
        raise InvalidInputError(
            f"{name} must return one row for each image: logits or probabilities of its classes. "
            f"Received: shape {tuple(returned.shape)} for {len(probes)} images"
        )
    if not returned.dtype.is_floating:
        raise InvalidInputError(
            f"{name} must return logits or probabilities of its classes. Received: {returned.dtype.name}"
        )
    outputs: npt.NDArray[Any] = returned.numpy()
    if np.isnan(outputs.reshape(len(probes), -1)).any(axis=1).all():
        raise InvalidInputError(f"{name} returns NaN for {len(probes)} of {len(probes)} made-up images")
    return outputs


def _tolerance(outputs: npt.NDArray[Any]) -> float:
    return _TOLERANCES.get(outputs.dtype.name, _TOLERANCE)


def _explains(before: FinalActivation, probes: npt.NDArray[np.float32], outputs: npt.NDArray[Any]) -> bool:
    """Whether the activation of what was found is what the function returns."""
    found = tf.cast(before.function(tf.constant(probes)), tf.float32)
    activated = tf.nn.softmax(found) if before.kind == "Softmax" else tf.sigmoid(found)
    return np.allclose(np.reshape(activated, outputs.shape), outputs.astype(np.float32), atol=_tolerance(outputs))
