"""A served model as a classifier: what attacks that only ask questions take."""

from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from advkeras.models import Classifier
from advkeras.serving import signatures
from advkeras.serving.clients import Client, ServingError


class ServedClassifier(Classifier):
    """A model behind an address: it gives logits and no gradients.

    Args:
        client: of the served model.
        bounds: lowest and highest pixel value.
        signature: that maps images to logits.

    Raises:
        ServingError: if the server has no such signature, it does not map images to logits, or it does not answer.
    """

    differentiable = False
    # Images in a request, as the batching configuration allows them: the memory is the server's.
    at_once = 256

    def __init__(self, client: Client, *, bounds: tuple[float, float], signature: str = signatures.DEFAULT) -> None:
        self.client = client
        self.signature = signature
        self.input_name, shape = _image_input(client, signature)
        super().__init__(
            lambda images: tf.constant(self.logits(images.numpy())),
            bounds=bounds,
            input_shape=shape,
            name=client.model,
            source=client.url,
        )

    def logits(self, images: npt.ArrayLike, *, batch_size: int | None = None) -> npt.NDArray[np.float32]:
        """Logits (N, classes) float32 of images (N, H, W, C), asked for in batches."""
        array, size = np.asarray(images, np.float32), batch_size or self.at_once
        parts = [
            self.client.predict({self.input_name: array[i : i + size]}, signature=self.signature)["logits"]
            for i in range(0, len(array), size)
        ]
        return np.concatenate(parts).astype(np.float32) if parts else np.empty((0, self.num_classes), np.float32)


def _image_input(client: Client, signature: str) -> tuple[str, tuple[int, int, int]]:
    found = client.signatures()
    if signature not in found:
        raise ServingError(
            f"{client.url}: model {client.model} has no signature {signature}: it has {', '.join(sorted(found))}"
        )
    inputs: dict[str, Any] = found[signature].inputs
    name = next(iter(inputs), "")
    shape: tuple[Any, ...] = inputs[name].shape if name else ()
    if len(inputs) != 1 or len(shape) != 4 or None in shape[1:] or "logits" not in found[signature].outputs:
        raise ServingError(
            f"{client.url}: signature {signature} of model {client.model} does not map images (N, H, W, C) to logits: "
            f"inputs {', '.join(inputs)}, outputs {', '.join(found[signature].outputs)}"
        )
    return name, (shape[1], shape[2], shape[3])
