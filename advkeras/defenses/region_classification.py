"""Region classification (Cao and Gong, ACSAC 2017): a vote of points around an image, as a Keras layer."""

from typing import Annotated, Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from annotated_types import Interval

from advkeras import regions
from advkeras.attacks.checks import check_places
from advkeras.errors import InvalidInputError, require_increasing
from advkeras.models import Classifier
from advkeras.models.turns import in_turns
from advkeras.parameters import held
from advkeras.randomness import derive_seed, derive_seeds
from advkeras.regions.voting import LARGEST_ROUND, Combination, RegionVote, Stop

# A user's, or one that is derived from it.
_Seed = Annotated[int, Interval(ge=-(2**31), lt=2**32)]


# Keras has no type information, so its classes look like Any to a type checker.
@keras.saving.register_keras_serializable("advkeras")
class RegionClassification(keras.layers.Layer):  # type: ignore[misc]
    """Classifies an image by the vote of points drawn from a region around it.

    Points are drawn in the graph, clipped to the pixel range and classified in chunks, so that memory depends on the
    chunk and not on the number of images or samples. An image whose vote is decided leaves the batch.

    Args:
        classifier: a :class:`~advkeras.models.Classifier`, or a Keras model that maps images to logits.
        radius: half the edge of the hypercube, the ball's Euclidean radius or the Gaussian's standard deviation, in
            pixel units. 0 gives point classification.
        region: ``"hypercube"``, ``"ball"`` or ``"gaussian"``.
        combine: how the points' answers become one: ``"majority"``, ``"mean_softmax"`` or ``"mean_logits"``.
        samples: points drawn for each image, at most.
        stop: when an image's vote may stop before all points are drawn: ``"never"``; ``"exact"``, when the points
            left cannot change the class; ``"confident"``, when a sequential test is sure of it.
        error: of ``"confident"``: probability, at most, that it stops early at a class other than the one that holds
            most of the region.
        bounds: lowest and highest pixel value; those of the classifier by default.
        chunk_size: points classified at once; by default as many as the memory budget holds, and 16 at least.
        seed: of the points, so that the same batch gives the same votes; None draws afresh at each call.
        name: of the layer.

    Call arguments:
        images: (B, H, W, C) float32, in pixel units.
        seed: (2,) int32 tensor, in place of the layer's own seed.

    Input shape:
        (B, H, W, C).

    Output shape:
        A dictionary: ``votes`` (B, classes) int32, points for each class; ``class`` (B,) int32, the class with most
        votes (or the largest mean), the lowest of those that are equal; ``agreement`` (B,) float32, its share of the
        points; ``samples`` (B,) int32, the points drawn.

    Example:
        >>> layer = RegionClassification(Classifier.load("mnist-natural"), radius=0.3, stop="exact")
        >>> layer(images)["class"]

    Raises:
        InvalidInputError: if a parameter makes no sense, or a Keras model comes without bounds.
    """

    def __init__(
        self,
        classifier: Any,
        *,
        radius: float,
        region: str = "hypercube",
        combine: Combination = "majority",
        samples: int = 100,
        stop: Stop = "never",
        error: float = 1e-3,
        bounds: tuple[float, float] | None = None,
        chunk_size: int | None = None,
        seed: int | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, dtype="float32", **kwargs)
        if not isinstance(classifier, Classifier):
            if bounds is None:
                raise InvalidInputError("a Keras model does not say its pixels' bounds: give bounds=(low, high)")
            classifier = Classifier.from_keras(classifier, bounds=bounds)
        self.vote = RegionVote(
            region=regions.get(region, radius),
            combine=combine,
            samples=samples,
            stop=stop,
            error=error,
            chunk_size=max(LARGEST_ROUND, classifier.at_once) if chunk_size is None else chunk_size,
        )
        self.classifier: Classifier = classifier
        self._network = in_turns(classifier, chunk_size or classifier.at_once, of=self.vote.chunk_size)
        if classifier.model is not None:
            self.model = classifier.model  # tracked, so that its weights belong to this layer's
        self.bounds = require_increasing(classifier.bounds if bounds is None else bounds)
        self.seed: int | None = held("seed", seed, _Seed | None)

    def call(self, images: Any, seed: Any | None = None) -> dict[str, Any]:
        """Votes, class, agreement and samples of images; compiled, too, where it is called eagerly."""
        if seed is None and self.seed is not None:
            seed = tf.constant(derive_seed(self.seed, "region classification"), tf.int32)
        if not tf.executing_eagerly():
            return self._voted(images, seed)
        self.classifier.require_shape(images.shape)
        given = [] if seed is None else [tf.cast(seed, tf.int32)]
        specs = [tf.TensorSpec((None,) * (each.shape.rank - 1) + (2,), tf.int32) for each in given]
        answer: dict[str, Any] = self._compiled(specs)(tf.cast(images, tf.float32), *given)
        return answer

    def _compiled(self, specs: list[Any]) -> Any:
        """The vote as a graph that belongs to the classifier, with or without a seed."""
        key = (self.vote, self.bounds, *(each.shape.rank for each in specs))
        return self.classifier.graph(key, lambda: self._voted, [self.classifier.image_signature, *specs])

    def _voted(self, images: Any, seed: Any | None = None) -> dict[str, Any]:
        answer = self.vote(
            self._network,
            images,
            num_classes=self.classifier.num_classes,
            bounds=(self.bounds[0], self.bounds[1]),
            seed=seed,
        )
        return {key: answer[key] for key in ("votes", "class", "agreement", "samples")}

    def compute_output_spec(self, images: Any, seed: Any | None = None) -> dict[str, Any]:
        """Shapes and dtypes of votes, class, agreement and samples."""
        batch = images.shape[0]
        return {
            "votes": keras.KerasTensor((batch, self.classifier.num_classes), "int32"),
            "class": keras.KerasTensor((batch,), "int32"),
            "agreement": keras.KerasTensor((batch,), "float32"),
            "samples": keras.KerasTensor((batch,), "int32"),
        }

    def predict(self, images: npt.ArrayLike, *, places: npt.ArrayLike | None = None) -> dict[str, npt.NDArray[Any]]:
        """Votes, class, agreement and samples of images, as arrays; compiled.

        Args:
            images: (N, H, W, C).
            places: (N,) integers, the images' places in the data set; 0, 1, ... by default. With a seed of the layer's,
                an image's points depend on that and on its place, never on the images beside it.

        Raises:
            InvalidInputError: if shapes, pixels or places do not fit.
        """
        array = self.classifier.check_images(images)
        if self.seed is None:
            votes = self._compiled([])(array)
        else:
            positions = check_places(np.arange(len(array)) if places is None else places, len(array))
            seeds = derive_seeds(self.seed, "region classification", places=positions)
            votes = self._compiled([tf.TensorSpec((None, 2), tf.int32)])(array, seeds)
        return {key: value.numpy() for key, value in votes.items()}

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
            "radius": self.vote.region.radius,
            "region": self.vote.region.name,
            "combine": self.vote.combine,
            "samples": self.vote.samples,
            "stop": self.vote.stop,
            "error": self.vote.error,
            "bounds": list(self.bounds),
            "chunk_size": self.vote.chunk_size,
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
