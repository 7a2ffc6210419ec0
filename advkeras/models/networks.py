"""Models as they were saved: functions of a tensor of their own shape and number type."""

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from advkeras import limits
from advkeras.errors import InvalidInputError, first_line, plain_text, require, require_increasing
from advkeras.models.intake import Intake, intake
from advkeras.models.number_types import taking_float32
from advkeras.models.usage import Usage

_PROBE_IMAGES = 8
# What Keras says of Python code in a file is an advice to give this argument.
_HINT = "safe_mode"
# Bytes that are read at once of an archive's table of contents; how much larger weights are than what Keras writes.
_AT_ONCE, _EXPANSION = 2**22, 20


@dataclass(frozen=True)
class Network:
    """A model as it was saved.

    Attributes:
        name: for messages.
        call: from a tensor to a tensor or to several, in any structure.
        shape: of the tensor, with the batch, None where a size is free; None where it is not said.
        dtype: of the tensor.
        holding: the objects that the variables belong to.
    """

    name: str
    call: Callable[[Any], Any]
    shape: Sequence[Any] | None
    dtype: tf.DType = tf.float32
    holding: Sequence[Any] = ()

    def on_images(self, bounds: tuple[float, float], usage: Usage) -> tuple[Callable[[Any], Any], Intake]:
        """The function from images (N, H, W, C) float32 to what the network returns, and how it takes them.

        Args:
            bounds: lowest and highest pixel value.
            usage: what is said of how the network is used.

        Raises:
            UnknownShapeError: if the network leaves open what only the images say.
            InvalidInputError: if it takes no images, or none with such bounds.
        """
        bounds = require_increasing(bounds)
        taking = intake(self.shape, name=self.name, shape=usage.shape, channels_first=usage.channels_first)
        if self.dtype.is_integer and usage.preprocessing is None:
            require(
                bounds[1] - bounds[0] >= 2,
                f"{self.name} takes whole numbers ({self.dtype.name}), of which there are two within the bounds: give "
                "the bounds of its pixels, 0 to 255 for most",
                bounds=bounds,
            )

        preprocess = usage.preprocess(bounds)

        def prepare(images: Any) -> Any:
            return taking.prepare(preprocess(images))

        noise = np.random.default_rng(0).uniform(*bounds, (taking.batch or _PROBE_IMAGES, *taking.shape))
        try:
            example = tf.convert_to_tensor(prepare(tf.constant(noise, tf.float32)))
        except InvalidInputError:
            raise
        except Exception as error:  # of a function that is the user's
            raise InvalidInputError(
                f"{self.name}: images of shape {taking.shape} cannot be preprocessed so: {first_line(error)}"
            ) from error
        inner = taking_float32(self.call, (taking.batch, *example.shape[1:]), self.dtype, example)
        return lambda images: inner(prepare(images)), taking

    def levels(self, bounds: tuple[float, float], usage: Usage) -> int | None:
        """How many values a pixel has where the network takes whole numbers; None for any number."""
        whole = self.dtype.is_integer and usage.preprocessing is None
        return int(bounds[1] - bounds[0]) + 1 if whole and np.equal(np.mod(bounds, 1), 0).all() else None


def keras_network(model: Any) -> Network:
    """A Keras model as such a network; several outputs have the names that it gives them."""
    try:
        shape = model.input_shape
    except (AttributeError, ValueError):  # a subclassed model that has not said it
        shape = None
    inputs = getattr(model, "inputs", None)
    dtype = tf.as_dtype(inputs[0].dtype) if inputs else tf.float32
    names = getattr(model, "output_names", None)

    def call(values: Any) -> Any:
        outputs = model(values, training=False)
        if names is None or not isinstance(outputs, (list, tuple)) or len(names) != len(outputs):
            return outputs
        return dict(zip(names, outputs, strict=True))

    return Network(f"model {model.name!r}", call, shape, dtype, [model])


def load_keras_file(path: Path, *, trust: bool = False) -> Any:
    """The Keras model in a .keras or .h5 file.

    Args:
        path: of the file.
        trust: run Python code that the file holds, the function of a Lambda layer for example.

    Raises:
        InvalidInputError: if it cannot be read, or holds Python code and is not trusted.
    """
    _require_plausible(path)
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=not trust)
    # What a damaged file raises depends on the layers in it, and is no part of Keras's interface.
    except Exception as error:
        if not trust and _HINT in str(error):
            raise InvalidInputError(
                f"{path} holds Python code that would run here, the function of a Lambda layer: give --trust-model (in "
                "Python, trust=True) if you trust where the file is from"
            ) from None
        raise InvalidInputError(f"{path} is no readable Keras file: {plain_text(first_line(error))}") from error


def _require_plausible(path: Path) -> None:
    """Refuses a file of another kind, and a .keras file, an archive, whose parts unpack to far more than they take."""
    kind = path.suffix.lower()
    if kind not in (".keras", ".h5", ".hdf5"):
        raise InvalidInputError(f"{path} is no model: give a SavedModel's folder, or a .keras, .h5 or .tflite file")
    try:
        with path.open("rb") as stream, zipfile.ZipFile(limits.Wary(stream, _AT_ONCE)) as archive:
            parts = {info.filename: (info.file_size, info.compress_size) for info in archive.infolist()}
    except OSError as error:
        raise InvalidInputError(f"cannot read {path}: {error.strerror or first_line(error)}") from None
    except (ValueError, zipfile.BadZipFile, NotImplementedError) as error:
        if kind == ".keras":
            raise InvalidInputError(
                f"{path} is no readable Keras file: it is empty, cut off or of another kind ({first_line(error)})"
            ) from None
        return
    limits.require_room(parts.get("config.json", (0, 0))[0], limits.RECORD, f"{path}: its config.json")
    swollen = sum(size for size, packed in parts.values() if size > _EXPANSION * max(1, packed))
    limits.require_room(swollen, limits.UNIT, f"what {path} unpacks to")
