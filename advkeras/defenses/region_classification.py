"""Region classification (Cao and Gong, ACSAC 2017): a majority vote over points around an image, as a Keras layer."""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from advkeras.errors import InvalidInputError
from advkeras.models import Classifier
from advkeras.randomness import derive_seed
from advkeras.regions import Hypercube


# Keras has no type information, so its classes look like Any to a type checker.
@keras.saving.register_keras_serializable("advkeras")
class RegionClassification(keras.layers.Layer):  # type: ignore[misc]
    """Classifies an image by majority vote over points drawn uniformly from the hypercube around it.

    Points are drawn in the graph, clipped to the pixel range and classified in chunks, so that memory depends on the
    chunk and not on the number of images or samples.

    Args:
        classifier: a :class:`~advkeras.models.Classifier`, or a Keras model that maps images to logits.
        radius: half the edge of the hypercube, in pixel units. 0 gives point classification.
        samples: points drawn for each image.
        bounds: lowest and highest pixel value; those of the classifier by default.
        chunk_size: points classified at once.
        seed: of the points, so that the same batch gives the same votes; None draws afresh at each call.
        name: of the layer.

    Call arguments:
        images: (B, H, W, C) float32, in pixel units.
        seed: (2,) int32 tensor, in place of the layer's own seed.

    Input shape:
        (B, H, W, C).

    Output shape:
        A dictionary: ``votes`` (B, classes) int32, points for each class; ``class`` (B,) int32, the class with most
        votes, the lowest of those that are equal; ``agreement`` (B,) float32, its share of the votes.

    Example:
        >>> layer = RegionClassification(Classifier.load("mnist-natural"), radius=0.3)
        >>> layer(images)["class"]

    Raises:
        InvalidInputError: if a parameter makes no sense, or a Keras model comes without bounds.
    """

    def __init__(
        self,
        classifier: Any,
        *,
        radius: float,
        samples: int = 100,
        bounds: tuple[float, float] | None = None,
        chunk_size: int = 256,
        seed: int | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, dtype="float32", **kwargs)
        if samples < 1:
            raise InvalidInputError(f"samples must be at least 1. Received: samples={samples}")
        if chunk_size < 1:
            raise InvalidInputError(f"chunk_size must be at least 1. Received: chunk_size={chunk_size}")
        if not isinstance(classifier, Classifier):
            if bounds is None:
                raise InvalidInputError("a Keras model does not say its pixels' bounds: give bounds=(low, high)")
            classifier = Classifier.from_keras(classifier, bounds=bounds)
        self.classifier: Classifier = classifier
        if classifier.model is not None:
            self.model = classifier.model  # tracked, so that its weights belong to this layer's
        self.region = Hypercube(float(radius))
        self.samples = samples
        self.bounds = tuple(bounds or classifier.bounds)
        self.chunk_size = chunk_size
        self.seed = seed

    def call(self, images: Any, seed: Any | None = None) -> dict[str, Any]:
        """Votes, class and agreement of images."""
        if seed is None and self.seed is not None:
            seed = tf.constant(derive_seed(self.seed, "region classification"), tf.int32)
        count = tf.shape(images)[0]
        points = count * self.samples

        def vote(start: Any, votes: Any) -> tuple[Any, Any]:
            image = tf.range(start, tf.minimum(start + self.chunk_size, points)) // self.samples
            chosen = tf.gather(images, image)
            offsets = self.region.offsets(tf.shape(chosen), None if seed is None else seed + tf.stack([0, start]))
            logits = self.classifier(tf.clip_by_value(chosen + offsets, *self.bounds))
            classes = tf.argmax(logits, axis=1, output_type=tf.int32)
            ballots = tf.tensor_scatter_nd_add(votes, tf.stack([image, classes], axis=1), tf.ones_like(classes))
            return start + self.chunk_size, ballots

        votes = tf.zeros((count, self.classifier.num_classes), tf.int32)
        _, votes = tf.while_loop(lambda start, _: start < points, vote, (tf.constant(0), votes), parallel_iterations=1)
        return {
            "votes": votes,
            "class": tf.argmax(votes, axis=1, output_type=tf.int32),
            "agreement": tf.reduce_max(tf.cast(votes, tf.float32), axis=1) / self.samples,
        }

    def compute_output_spec(self, images: Any, seed: Any | None = None) -> dict[str, Any]:
        """Shapes and dtypes of votes, class and agreement."""
        batch = images.shape[0]
        return {
            "votes": keras.KerasTensor((batch, self.classifier.num_classes), "int32"),
            "class": keras.KerasTensor((batch,), "int32"),
            "agreement": keras.KerasTensor((batch,), "float32"),
        }

    def predict(self, images: npt.ArrayLike) -> dict[str, npt.NDArray[Any]]:
        """Votes, class and agreement of images (N, H, W, C), as arrays; compiled."""
        if not hasattr(self, "_compiled"):
            self._compiled = tf.function(self.call, input_signature=[self.classifier.image_signature])
        return {key: value.numpy() for key, value in self._compiled(np.asarray(images, np.float32)).items()}

    def get_config(self) -> dict[str, Any]:
        """The layer's parameters; the model itself, or the place that the classifier was loaded from."""
        model = getattr(self, "model", None)
        if model is None and self.classifier.source is None:
            raise InvalidInputError(
                f"{self.classifier.name} was made from a function and cannot be written down: give the layer a Keras "
                "model, or a Classifier that was loaded"
            )
        return {
            **super().get_config(),
            "classifier": self.classifier.source if model is None else keras.saving.serialize_keras_object(model),
            "radius": self.region.radius,
            "samples": self.samples,
            "bounds": list(self.bounds),
            "chunk_size": self.chunk_size,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "RegionClassification":
        """The inverse of :meth:`get_config`."""
        config = dict(config)
        config.pop("dtype", None)
        bounds = tuple(config.pop("bounds"))
        classifier = config.pop("classifier")
        if isinstance(classifier, str):
            classifier = Classifier.load(classifier, bounds=bounds)
        else:
            classifier = keras.saving.deserialize_keras_object(classifier)
        return cls(classifier, bounds=bounds, **config)
