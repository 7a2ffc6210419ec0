"""What a served model takes and gives: its signatures, and the functions behind those that advkeras writes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from advkeras.boundary.detector import BoundaryDetector
from advkeras.errors import InvalidInputError, first_line
from advkeras.models import Classifier
from advkeras.models.saved_model import point_answers
from advkeras.regions.voting import RegionVote

DEFAULT, BYTES, REGION, REGION_SEEDED, DETECT = "serving_default", "serving_bytes", "region", "region_seeded", "detect"
# The type of a tensor that NumPy has no name for.
UNKNOWN = "unknown"
_INITIALISATION = "__saved_model_init_op"
# Sets a request's seeds apart from the seeds that experiments use.
_SEED_DOMAIN = 0x5EED

Served = tuple[Callable[..., dict[str, Any]], list[Any]]


@dataclass(frozen=True)
class TensorInfo:
    """A tensor of a signature.

    Attributes:
        tensor: its name in the graph.
        dtype: NumPy's name of its type; ``object`` for strings, ``unknown`` for what NumPy has not.
        shape: None for sizes that are free; None where not even their number is said.
    """

    tensor: str
    dtype: str
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True)
class Signature:
    """A signature of a SavedModel.

    Attributes:
        inputs: by their names.
        outputs: by their names.
    """

    inputs: dict[str, TensorInfo]
    outputs: dict[str, TensorInfo]


def signatures_of(folder: Path) -> dict[str, Signature]:
    """The signatures of a SavedModel, read from its file without loading the model.

    Args:
        folder: of a version.

    Raises:
        InvalidInputError: if the file cannot be read.
    """
    saved = saved_model_pb2.SavedModel()
    try:
        saved.ParseFromString((folder / "saved_model.pb").read_bytes())
        definitions = saved.meta_graphs[0].signature_def
    except (OSError, DecodeError, IndexError) as error:
        raise InvalidInputError(f"{folder} is no readable SavedModel: {first_line(error)}") from None
    return {
        name: Signature(infos_of(definition.inputs), infos_of(definition.outputs))
        for name, definition in definitions.items()
        if name != _INITIALISATION
    }


def point(classifier: Classifier) -> Served:
    """``images`` (B, H, W, C) float32 -> ``logits``, ``probabilities`` (B, classes) and ``class`` (B,) int32.

    What the model returns else is answered as well, by its own name where it is not one of those.
    """
    return _point_answers(classifier), [_images(classifier)]


def point_of_bytes(classifier: Classifier) -> Served:
    """``image_bytes`` (B,), encoded PNG or JPEG -> as :func:`point`.

    The 8-bit pixels are scaled to the classifier's bounds; a picture of another size is an error of the request.
    """
    answer = _point_answers(classifier)
    low, high = classifier.bounds

    def decode(encoded: Any) -> Any:
        pixels = tf.io.decode_image(encoded, channels=classifier.input_shape[2], expand_animations=False)
        # Says which shape was received and which is expected.
        fitting = tf.ensure_shape(pixels, classifier.input_shape)
        return low + tf.cast(fitting, tf.float32) / 255.0 * (high - low)

    def serve(image_bytes: Any) -> dict[str, Any]:
        return answer(tf.map_fn(decode, image_bytes, fn_output_signature=tf.float32))

    return serve, [tf.TensorSpec((None,), tf.string, name="image_bytes")]


def region(classifier: Classifier, vote: RegionVote) -> Served:
    """``images`` -> ``class`` (B,) int32, ``votes`` (B, classes) int32, ``agreement``, ``noise`` (B,) float32.

    The points are drawn anew at each request. The noise is one number of those that were added to an image's pixels, by
    which fresh points are told from old ones even where all of them say the same.
    """

    def serve(images: Any) -> dict[str, Any]:
        return _answers(classifier, vote, images, None)

    return serve, [_images(classifier)]


def region_seeded(classifier: Classifier, vote: RegionVote) -> Served:
    """``images``, ``seed`` (B,) int32, one for each image -> as :func:`region`.

    An image's answer depends on the image and its seed alone, so it is the same in whatever batch a server puts it.
    """

    def serve(images: Any, seed: Any) -> dict[str, Any]:
        return _answers(classifier, vote, images, seeds(seed))

    return serve, [_images(classifier), tf.TensorSpec((None,), tf.int32, name="seed")]


def seeds(seed: Any) -> Any:
    """A request's seeds (B,) int32 as those of a region's vote, (B, 2) int32."""
    return tf.stack([seed, tf.fill(tf.shape(seed), _SEED_DOMAIN)], axis=1)


def detect(classifier: Classifier, detector: BoundaryDetector) -> Served:
    """``images`` -> ``probability`` (B,) float32 of being adversarial."""
    function = detector.function(classifier)

    def serve(images: Any) -> dict[str, Any]:
        return {"probability": function(images)}

    return serve, [_images(classifier)]


def _point_answers(classifier: Classifier) -> Callable[[Any], dict[str, Any]]:
    return point_answers(classifier, classifier.reading.others)


def _answers(classifier: Classifier, vote: RegionVote, images: Any, seed: Any | None) -> dict[str, Any]:
    answer = vote(classifier, images, num_classes=classifier.num_classes, bounds=classifier.bounds, seed=seed)
    return {key: answer[key] for key in ("class", "votes", "agreement", "noise")}


def _images(classifier: Classifier) -> Any:
    return tf.TensorSpec((None, *classifier.input_shape), tf.float32, name="images")


def infos_of(tensors: Any) -> dict[str, TensorInfo]:
    """The tensors of a SignatureDef's inputs or outputs."""
    return {
        key: tensor_info(
            info.name,
            info.dtype,
            None if info.tensor_shape.unknown_rank else [dim.size for dim in info.tensor_shape.dim],
        )
        for key, info in tensors.items()
    }


def tensor_info(tensor: str, dtype: int | None, sizes: Sequence[int] | None) -> TensorInfo:
    """A tensor from its protocol buffer's number of the type, and its sizes, of which negative ones are free."""
    try:
        name = np.dtype(tf.dtypes.as_dtype(dtype).as_numpy_dtype).name
    except (TypeError, ValueError, LookupError):
        name = UNKNOWN
    return TensorInfo(tensor, name, None if sizes is None else tuple(each if each >= 0 else None for each in sizes))
