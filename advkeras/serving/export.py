"""Writing a classifier as it is to be served: all signatures, warm-up requests and the model card in one version."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from advkeras import provenance
from advkeras.arrays import PICTURE_CHANNELS
from advkeras.boundary.detector import BoundaryDetector
from advkeras.datasets import pictures
from advkeras.errors import require
from advkeras.models import Classifier, ModelCard, layout, lite, saved_model
from advkeras.regions.voting import RegionVote
from advkeras.serving import signatures

WARM_UP = "tf_serving_warmup_requests"


def export(
    classifier: Classifier,
    parent: Path,
    *,
    vote: RegionVote,
    detector: BoundaryDetector | None = None,
    name: str | None = None,
) -> Path:
    """Writes the next version of a SavedModel with every signature; never a half-written version.

    ``serving_default``, ``region`` and ``region_seeded``, ``serving_bytes`` where images have the channels of
    pictures, and ``detect`` where a detector is given, as :mod:`advkeras.serving.signatures` defines them. Nothing in
    it needs XLA, no seed is baked in, and the memory of a vote depends on its chunk.

    Args:
        classifier: what is served.
        parent: the folder above the versions, as TF Serving takes it.
        vote: of region classification.
        detector: of adversarial examples, trained on this classifier's boundaries.
        name: of the model in its card and its warm-up requests; the folder's by default.

    Returns:
        The version's folder.

    Raises:
        InvalidInputError: if it is a LiteRT model, the folder cannot be written, the detector does not fit the
            classifier, or the classifier's variables cannot be followed.
    """
    require(
        classifier.source is None or not classifier.source.endswith(lite.SUFFIX),
        "a LiteRT model cannot be exported: export the model that it was made of",
        source=classifier.source,
    )
    name = name or parent.resolve().name
    answering = classifier.without_gradients()
    served = {
        signatures.DEFAULT: signatures.point(answering),
        signatures.REGION: signatures.region(answering, vote),
        signatures.REGION_SEEDED: signatures.region_seeded(answering, vote),
    }
    if classifier.input_shape[2] in PICTURE_CHANNELS:
        served[signatures.BYTES] = signatures.point_of_bytes(answering)
    if detector is not None:
        served[signatures.DETECT] = signatures.detect(answering, detector)
    # A global seed would become part of every random operation of the graph.
    tf.random.set_seed(None)

    def complete(folder: Path) -> None:
        write_warm_up(folder, classifier, name)
        replace(card_of(classifier, vote, detector, name), checksum=layout.checksum(folder)).write(folder)

    holding = [*classifier.holding, *([detector.network] if detector else [])]
    return saved_model.write(served, parent, holding=holding, complete=complete)


def card_of(classifier: Classifier, vote: RegionVote, detector: BoundaryDetector | None, name: str) -> ModelCard:
    """The classifier's card, or what is known of one that has none, with what the signatures do."""
    card = classifier.card or ModelCard.unknown(
        name=name,
        bounds=classifier.bounds,
        input_shape=classifier.input_shape,
        num_classes=classifier.num_classes,
    )
    region = {
        "region": vote.region.name,
        "radius": vote.region.radius,
        "samples": vote.samples,
        "combine": vote.combine,
        "stop": vote.stop,
        "error": vote.error,
        "chunk_size": vote.chunk_size,
    }
    serving: dict[str, Any] = {"command": provenance.command_line(), "region": region}
    if detector is not None:
        serving["detector"] = detector.search.get_config()
    return replace(card, name=name, serving=serving)


def write_warm_up(folder: Path, classifier: Classifier, name: str) -> bool:
    """Writes a request for each signature, which TF Serving sends itself when it loads the model.

    Args:
        folder: of the version.
        classifier: that is served.
        name: of the model.

    Returns:
        Whether tensorflow-serving-api is there, which defines the format.
    """
    if find_spec("tensorflow_serving") is None:
        return False
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    extra = folder / "assets.extra"
    extra.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(extra / WARM_UP)) as writer:
        for signature_name, signature in signatures.signatures_of(folder).items():
            request = predict_pb2.PredictRequest()
            request.model_spec.name = name
            request.model_spec.signature_name = signature_name
            for key in signature.inputs:
                request.inputs[key].CopyFrom(tf.make_tensor_proto(_sample(key, classifier)))
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())
    return True


def _sample(key: str, classifier: Classifier) -> Any:
    low, high = classifier.bounds
    image = np.full((1, *classifier.input_shape), (low + high) / 2, np.float32)
    if key == "image_bytes":
        return np.array(pictures.encoded(image, classifier.bounds), object)
    return np.zeros(1, np.int32) if key == "seed" else image
