"""A served model as a classifier: what attacks that only ask questions take."""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from advkeras.arrays import pixels_of
from advkeras.errors import plain_text
from advkeras.models import Classifier
from advkeras.models.intake import intake
from advkeras.models.networks import Network
from advkeras.models.reading import BEFORE_SIGMOID, ONE_LOGIT
from advkeras.models.usage import Usage
from advkeras.parameters import require_count
from advkeras.serving import signatures
from advkeras.serving.clients import Client
from advkeras.serving.failures import RefusedError, ServingError, listed
from advkeras.serving.signatures import Signature, TensorInfo

# Of a request's pixels, and of those that a server's metadata may make us prepare, in bytes of float32.
_REQUEST, _LARGEST_REQUEST = 16 * 2**20, 2**30
_PROBE_IMAGES = 8
# What a server says that takes batches of 32: TF Serving's own words, and those of others.
_ALLOWED = re.compile(r"max\w*[ _](?:\w+[ _]){0,2}batch[ _]?size\D{0,20}(\d{1,9})", re.IGNORECASE)
_ABOUT_SIZE = re.compile(r"batch|too large|too big|larger than|exceed|exhausted|out of memory", re.IGNORECASE)


class ServedClassifier(Classifier):
    """A model behind an address: it gives logits and no gradients.

    Any signature will do that maps images to a row of logits or probabilities for each, as :class:`Classifier` takes
    them of a model that is not served.

    Args:
        client: of the served model.
        bounds: lowest and highest pixel value.
        signature: that maps images to logits or probabilities.
        usage: how the model is used, where the signature does not say it.
        single: what a single number for each image is, of the second of two classes, where that is known: a served
            model's graph cannot be looked at.

    Raises:
        ServingError: if the server has no such signature, it does not map images to logits or probabilities, or the
            server does not answer, or something else.
        UnknownOutputError: if it answers with several outputs that may be logits.
        UnknownShapeError: if it leaves the images' shape open, and the usage says none.
    """

    differentiable = False
    # Images in a request, at most, as the batching configuration allows them: the memory is the server's.
    at_once = 256

    def __init__(
        self,
        client: Client,
        *,
        bounds: tuple[float, float],
        signature: str = signatures.DEFAULT,
        usage: Usage = Usage(),  # noqa: B008
        single: Literal["logit", "probability"] | None = None,
    ) -> None:
        self.client = client
        self.signature = signature
        self._single = single
        threshold = 0.5 if usage.threshold is None else usage.threshold
        self._shift = math.log(threshold / (1 - threshold))
        found = _signature(client, signature)
        self.input_name, entry = _image_input(client, signature, found)
        self._outputs = _rows(found)
        self._row: dict[str, tuple[int, ...]] = {}
        self._refused = self._named = False
        where = f"{client.url}: model {plain_text(client.model)}"
        taking = intake(entry.shape, name=where, shape=usage.shape, channels_first=usage.channels_first)
        _require_size(where, taking.shape, taking.batch, usage.shape)
        # The server's network, without the network: what is made of images before they are sent.
        prepared = Network(where, lambda values: values, entry.shape, tf.as_dtype(entry.dtype))
        self._prepare, _ = prepared.on_images(bounds, usage)
        self.at_once = taking.batch or max(1, min(type(self).at_once, _REQUEST // (4 * math.prod(taking.shape))))
        self._fixed = taking.batch is not None
        super().__init__(
            lambda images: self._answers(self._prepare(images)),
            bounds=bounds,
            input_shape=taking.shape,
            name=client.model,
            source=client.url,
            threshold=None if single else usage.threshold,
            output_name=usage.output_name,
            classes=usage.classes,
            levels=usage.levels or prepared.levels(bounds, usage),
        )
        self.usage = usage

    @classmethod
    def beside(cls, client: Client, local: Classifier, *, signature: str = signatures.DEFAULT) -> Self:
        """A served model that should be a local one: it is used as that one is.

        What stands outside of the local model's file (its preprocessing, say) stands outside of the served model, too,
        unless ``advkeras export`` has written that: then it is inside.

        Args:
            client: of the served model.
            local: the model that it should be.
            signature: that maps images to logits or probabilities.

        Raises:
            ServingError: as for the class, or if the images have another shape.
            UnknownOutputError: as for the class.
        """
        found = _signature(client, signature)
        usage = Usage() if _exported(found) else local.usage
        single: dict[str, Literal["logit", "probability"]] = {ONE_LOGIT: "logit", BEFORE_SIGMOID: "probability"}
        return cls(
            client,
            bounds=local.bounds,
            signature=signature,
            usage=replace(
                usage,
                shape=local.input_shape,
                output_name=usage.output_name if usage.output_name in found.outputs else None,
                classes=local.num_classes,
                levels=local.levels,
            ),
            single=None if _exported(found) else single.get(local.reading.how),
        )

    def logits(self, images: npt.ArrayLike, *, batch_size: int | None = None) -> npt.NDArray[np.float32]:
        """Logits (N, classes) float32 of images (N, H, W, C), asked for in batches that the server takes."""
        array, size = pixels_of(images), self.at_once if batch_size is None else batch_size
        require_count(batch_size=size)
        self.require_shape(array.shape)
        parts = [self._function(tf.constant(array[i : i + size])).numpy() for i in range(0, len(array), size)]
        return np.concatenate(parts) if parts else np.empty((0, self.num_classes), np.float32)

    def request(self, images: npt.ArrayLike) -> dict[str, npt.NDArray[Any]]:
        """What the server is sent for images (N, H, W, C)."""
        return {self.input_name: self._prepare(tf.constant(np.asarray(images, np.float32))).numpy()}

    def taken_of(self, wanted: int) -> int:
        """How many images a request may have, of so many wanted, as far as the server has said or shown it."""
        if self._fixed:
            return self.at_once
        return min(wanted, self.at_once) if self._refused else wanted

    def check(self, answer: Mapping[str, npt.NDArray[Any]], images: int) -> dict[str, npt.NDArray[Any]]:
        """The outputs of an answer that have to do with classes.

        Args:
            answer: as the client gives it.
            images: that were sent.

        Raises:
            ServingError: if there is not a row for each, with as many columns as ever.
        """
        kept = {key: answer[key] for key in self._outputs}
        for key, array in kept.items():
            what = (
                f"{self.client.url} answers {plain_text(self.signature)} with {plain_text(key)} of shape {array.shape}"
            )
            if array.ndim not in (1, 2) or len(array) != images or not array.size:
                raise ServingError(f"{what} for {images} images: a row for each is needed")
            row = self._row.setdefault(key, array.shape[1:])
            if array.shape[1:] != row:
                raise ServingError(f"{what}, and with rows of {row} before")
        return kept

    def _answers(self, values: Any) -> dict[str, Any]:
        """What the server answers to images as it takes them, by the names of its outputs."""
        if not tf.executing_eagerly():
            raise NotImplementedError("a served model is no part of a graph")
        array, parts, start = values.numpy(), [], 0
        while start < len(array):
            batch = array[start : start + self.at_once]
            wanted = len(batch)
            if self._fixed:
                batch = np.concatenate([batch, np.repeat(batch[:1], self.at_once - wanted, axis=0)])
            try:
                answer = self.client.predict({self.input_name: batch}, signature=self.signature)
            except RefusedError as error:
                self.at_once = self._smaller(error, len(batch))
                self._refused = True
                continue
            parts.append({key: rows[:wanted] for key, rows in self.check(answer, len(batch)).items()})
            start += wanted
        outputs = {key: np.concatenate([part[key] for part in parts]) for key in self._outputs}
        if self._single and len(outputs) == 1:
            outputs = {key: self._of_two(output) for key, output in outputs.items()}
        return {key: tf.constant(output) for key, output in outputs.items()}

    def _of_two(self, output: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Of a single number the logits of two classes, equal at the threshold; what has more columns stays."""
        if output.size != len(output):
            return output
        values = output.reshape(-1).astype(np.float32)
        second = (_logit(values) if self._single == "probability" else values) - np.float32(self._shift)
        return np.stack([np.zeros_like(second), second], axis=1)

    def _smaller(self, error: RefusedError, sent: int) -> int:
        """How many images the server may take at once that has refused so many; the error, if that is not why."""
        if self._fixed or sent == 1:
            raise error
        found = _ALLOWED.search(str(error))
        if found is not None and 1 <= int(found[1]) < sent and not self._named:
            self._named = True
            return int(found[1])
        if error.about_size or _ABOUT_SIZE.search(str(error)):
            return sent // 2
        raise error


def _signature(client: Client, signature: str) -> Signature:
    found = client.signatures()
    if signature not in found:
        raise ServingError(
            f"{client.url}: model {plain_text(client.model)} has no signature {plain_text(signature)}: it has "
            f"{listed(found)}"
        )
    return found[signature]


def _image_input(client: Client, signature: str, found: Signature) -> tuple[str, TensorInfo]:
    taken = [
        (name, info)
        for name, info in found.inputs.items()
        if _is_number(info.dtype) and (info.shape is None or 2 <= len(info.shape) <= 4)
    ]
    if len(found.inputs) != 1 or not taken or not _rows(found):
        raise ServingError(
            f"{client.url}: signature {plain_text(signature)} of model {plain_text(client.model)} does not map images "
            f"(N, H, W, C) to logits or probabilities: inputs {listed(found.inputs)}, outputs {listed(found.outputs)}"
        )
    return taken[0]


def _rows(found: Signature) -> list[str]:
    """The outputs that may have a row of floating-point numbers for each image."""
    return [
        name
        for name, info in found.outputs.items()
        if _is_number(info.dtype)
        and tf.as_dtype(info.dtype).is_floating
        and (info.shape is None or len(info.shape) in (1, 2))
    ]


def _is_number(dtype: str) -> bool:
    if dtype in ("object", signatures.UNKNOWN):
        return False
    kind = tf.as_dtype(dtype)
    return bool(kind.is_floating or kind.is_integer)


def _exported(found: Signature) -> bool:
    """Whether the signature is one that advkeras writes."""
    return list(found.inputs) == ["images"] and set(found.outputs) >= {"logits", "probabilities", "class"}


def _require_size(
    where: str, shape: tuple[int, int, int], batch: int | None, expected: tuple[int, int, int] | None
) -> None:
    """Believes in a shape that is the expected one, or that at least fits into memory."""
    if expected is not None and shape != expected:
        raise ServingError(f"{where} takes images of {shape}, and those here have {expected}")
    if 4 * math.prod(shape) * (batch or _PROBE_IMAGES) > _LARGEST_REQUEST:
        raise ServingError(f"{where} takes {batch or _PROBE_IMAGES} images of {shape}, which is more than is ever sent")


def _logit(probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The logits of probabilities; a probability that rounds to 0 or 1 is the last number before it."""
    limited = np.clip(probabilities, np.finfo(np.float32).tiny, 1 - np.finfo(np.float32).epsneg)
    return np.asarray(np.log(limited) - np.log1p(-limited), np.float32)
