"""The decision boundary classifier (He, Li and Song, ICLR 2018, section 6): is an image adversarial?"""

import os
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from advkeras.arrays import FloatArray
from advkeras.boundary.distances import BoundarySearch
from advkeras.boundary.features import BoundaryFeatures
from advkeras.boundary.found import Boundaries
from advkeras.boundary.threshold import balanced_threshold
from advkeras.errors import InvalidInputError, first_line, plain_text, require
from advkeras.files import require_writable_folder, room_in, scratch_prefix, write_atomically
from advkeras.models import Classifier
from advkeras.models.networks import load_keras_file
from advkeras.parameters import require_count
from advkeras.randomness import derive_generator, derive_seed

_KERNEL, _STRIDE = 8, 4
# Momentum of the weights' exponential average.
_AVERAGING = 0.99
# The fewest directions after which the second convolution has one place.
_LEAST_DIRECTIONS = (_KERNEL - 1) * _STRIDE + _KERNEL
_FEATURES, _LOGITS = "boundary_features", "logits"
_SCALED_DISTANCES, _SCALED_PURITIES = "scaled_distances", "scaled_purities"


class BoundaryDetector:
    """Tells adversarial examples from benign images by the decision boundaries around them.

    Args:
        network: maps ``distances`` (B, D) and ``adjacent`` (B, D), as :class:`Boundaries` has them, to two logits,
            benign and adversarial; made by :meth:`build`, or loaded.
    """

    def __init__(self, network: Any) -> None:
        self.network = network
        self._features: BoundaryFeatures = network.get_layer(_FEATURES)

    @property
    def search(self) -> BoundarySearch:
        """The search for boundaries that the network was trained on."""
        return self._features.search

    @property
    def weights(self) -> list[npt.NDArray[Any]]:
        """All that training changes."""
        return [np.asarray(values) for values in self.network.get_weights()]

    @weights.setter
    def weights(self, values: Sequence[npt.NDArray[Any]]) -> None:
        self.network.set_weights(list(values))
        for name in (_SCALED_DISTANCES, _SCALED_PURITIES):
            self.network.get_layer(name).finalize_state()

    @classmethod
    def build(cls, search: BoundarySearch, classifier: Classifier, *, seed: int = 0) -> "BoundaryDetector":
        """An untrained detector: two convolutions over the sorted distances, the purities, a dense layer.

        Args:
            search: for the boundaries.
            classifier: whose boundaries.
            seed: of the initial weights and of dropout.

        Raises:
            InvalidInputError: if there are too few directions for two convolutions, or more than images have features.
        """
        require(
            search.directions >= _LEAST_DIRECTIONS,
            f"a detector needs at least {_LEAST_DIRECTIONS} directions",
            directions=search.directions,
        )
        search.directions_for(classifier)  # says so, if there are too many
        distances = keras.Input((search.directions,), name="distances")
        adjacent = keras.Input((search.directions,), dtype="int32", name="adjacent")
        ordered, purities = BoundaryFeatures(
            search.get_config(),
            classifier.num_classes,
            bounds=classifier.bounds,
            input_shape=classifier.input_shape,
            name=_FEATURES,
        )(distances, adjacent)
        scaled = keras.layers.Normalization(axis=None, name=_SCALED_DISTANCES)(ordered)
        scaled_purities = keras.layers.Normalization(name=_SCALED_PURITIES)(purities)
        features = keras.layers.Reshape((search.directions, 1))(scaled)
        for layer, filters in enumerate((8, 16)):
            convolution = keras.layers.Conv1D(
                filters, _KERNEL, strides=_STRIDE, activation="relu", kernel_initializer=_initial(seed, layer)
            )
            features = keras.layers.Dropout(0.5, seed=_number(seed, layer))(convolution(features))
        features = keras.layers.Concatenate()([keras.layers.Flatten()(features), scaled_purities])
        dense = keras.layers.Dense(32, activation="relu", kernel_initializer=_initial(seed, 2))
        features = keras.layers.Dropout(0.5, seed=_number(seed, 2))(dense(features))
        logits = keras.layers.Dense(2, kernel_initializer=_initial(seed, 3), name=_LOGITS)(features)
        return cls(keras.Model({"distances": distances, "adjacent": adjacent}, logits, name="boundary_detector"))

    def fit(
        self,
        benign: Boundaries,
        adversarial: Boundaries,
        *,
        steps: int = 2_000,
        batch_size: int = 128,
        seed: int = 0,
        callbacks: Any = (),
    ) -> None:
        """Trains the network on batches that are half benign, half adversarial (He et al. 2018, section 6).

        Distances and purities are shifted and scaled to mean 0 and variance 1 over the training images, and the weights
        are averaged over the last hundred steps or so, which makes the seed matter less. In the end the logits are
        shifted so that at a probability of a half the larger of the two shares of errors on the training
        images is least, since a network that is trained with dropout is surer of one kind without it.

        Args:
            benign: around benign images that are classified correctly.
            adversarial: around successful adversarial examples.
            steps: of Adam, at a rate of 0.001.
            batch_size: boundaries in a step, an even number.
            seed: of the batches.
            callbacks: of Keras.

        Raises:
            InvalidInputError: if there is nothing of either kind, or nothing to do.
        """
        require_count(steps=steps)
        require(
            batch_size >= 2 and batch_size % 2 == 0,
            "batch_size must be an even number of at least 2",
            batch_size=batch_size,
        )
        kinds = {"benign": benign, "adversarial": adversarial}
        for kind, boundaries in kinds.items():
            require(len(boundaries.classes) > 0, f"there must be {kind} images to train on", images=0)
        inputs = [self._inputs(boundaries) for boundaries in kinds.values()]
        self._adapt({name: np.concatenate([each[name] for each in inputs]) for name in inputs[0]})
        halves = [
            _shuffled(inputs[label], label, batch_size // 2, steps, derive_generator(seed, "detector", kind))
            for label, kind in enumerate(kinds)
        ]
        batches = tf.data.Dataset.zip(*halves).map(
            lambda *pair: tf.nest.map_structure(lambda *parts: tf.concat(parts, 0), *pair)
        )
        self.network.compile(
            optimizer=keras.optimizers.Adam(1e-3, use_ema=True, ema_momentum=_AVERAGING),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        self.network.fit(batches, epochs=1, shuffle=False, verbose=0, callbacks=list(callbacks))
        bias = self.network.get_layer(_LOGITS).bias
        bias.assign_sub([0.0, balanced_threshold(*(self._margins(boundaries) for boundaries in kinds.values()))])

    def _adapt(self, inputs: dict[str, npt.NDArray[Any]]) -> None:
        """Fits shift and scale of distances and purities."""
        ordered, purities = self._features(inputs["distances"], inputs["adjacent"])
        self.network.get_layer(_SCALED_DISTANCES).adapt(np.asarray(ordered))
        self.network.get_layer(_SCALED_PURITIES).adapt(np.asarray(purities))

    def score(self, boundaries: Boundaries) -> FloatArray:
        """The probability that each image is adversarial, (N,) float32."""
        return np.asarray(tf.sigmoid(self._margins(boundaries)), np.float32)

    def _margins(self, boundaries: Boundaries) -> FloatArray:
        """By how much the logit of adversarial is above that of benign, (N,) float32."""
        if not len(boundaries.classes):
            return np.zeros(0, np.float32)
        logits = self.network.predict(self._inputs(boundaries), verbose=0, batch_size=256)
        return np.asarray(logits[:, 1] - logits[:, 0], np.float32)

    def function(self, classifier: Classifier) -> Any:
        """Images (B, H, W, C) to the probability (B,) that they are adversarial, as one TensorFlow function."""
        self.check(classifier)
        walk = self.search.graph_function(classifier)

        def detect(images: Any) -> Any:
            distances, adjacent = walk(images)
            logits = self.network({"distances": distances, "adjacent": adjacent}, training=False)
            return tf.nn.softmax(logits)[:, 1]

        return detect

    def check(self, classifier: Classifier) -> None:
        """Makes sure that the classifier takes and returns the same as the one that the detector was trained on.

        Raises:
            InvalidInputError: if not.
        """
        trained = self._features
        classifier.check_takes(
            trained.images_shape,
            trained.bounds,
            trained.num_classes,
            otherwise="the detector was trained on another kind of classifier",
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a .keras file, whole or not at all, the parameters of the search included.

        Raises:
            InvalidInputError: if the folder cannot be written, or the disk is full.
        """
        folder = Path(path).parent
        require_writable_folder(folder)
        with room_in(folder), tempfile.TemporaryDirectory(prefix=scratch_prefix(), dir=folder) as scratch:
            written = Path(scratch) / "detector.keras"
            try:
                self.network.save(written)
                with zipfile.ZipFile(written) as archive:
                    whole = archive.testzip() is None
            except (OSError, zipfile.BadZipFile, zlib.error) as error:
                raise InvalidInputError(f"cannot write {path}: {first_line(error)}") from error
            require(whole, "a detector was cut off as it was written", path=str(path))
            write_atomically(path, written.read_bytes())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "BoundaryDetector":
        """Reads what :meth:`save` has written.

        Raises:
            InvalidInputError: if the file cannot be read or holds something else.
        """
        if not Path(path).is_file():
            raise InvalidInputError(f"there is no detector {path}")
        try:
            return cls(load_keras_file(Path(path)))
        except (AttributeError, ValueError) as error:
            reason = plain_text(first_line(error.__cause__ or error))
            raise InvalidInputError(f"{path} is no detector: {reason}") from error

    @staticmethod
    def _inputs(boundaries: Boundaries) -> dict[str, npt.NDArray[Any]]:
        return {"distances": boundaries.distances, "adjacent": boundaries.adjacent}


def _shuffled(
    inputs: dict[str, npt.NDArray[Any]], label: int, batch_size: int, batches: int, generator: np.random.Generator
) -> Any:
    """Batches of the inputs, all of them in one order, then in another, and the label."""
    count = len(next(iter(inputs.values())))
    rounds = -(-batches * batch_size // count)
    order = np.concatenate([generator.permutation(count) for _ in range(rounds)])
    tensors = {name: tf.constant(values) for name, values in inputs.items()}

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
    def look_up(indices: Any) -> Any:
        return {name: tf.gather(values, indices) for name, values in tensors.items()}, tf.fill((batch_size,), label)

    return tf.data.Dataset.from_tensor_slices(order).batch(batch_size, drop_remainder=True).take(batches).map(look_up)


def _number(seed: int, layer: int) -> int:
    return abs(derive_seed(seed, "detector", layer)[0])


def _initial(seed: int, layer: int) -> Any:
    return keras.initializers.GlorotUniform(seed=_number(seed, layer))
