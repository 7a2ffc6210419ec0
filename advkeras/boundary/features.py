"""What is known of the decision boundaries around an image, as the detector takes it."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from advkeras.arrays import NO_CLASS
from advkeras.boundary.distances import BoundarySearch

_PURITIES = 3


# Keras has no type information, so its classes look like Any to a type checker.
@keras.saving.register_keras_serializable("advkeras")
class BoundaryFeatures(keras.layers.Layer):  # type: ignore[misc]
    """What the detector sees of the boundaries around an image.

    Args:
        search: the parameters of the search that found them, as :meth:`BoundarySearch.get_config` gives them.
        num_classes: of the classifier.
        bounds: of its images' pixels.
        input_shape: of its images, (H, W, C).
        name: of the layer.

    Call arguments:
        distances: (B, D) float32, RMS in pixel units; infinite where no boundary was met.
        adjacent: (B, D) int32, the class beyond the boundary; -1 where none was met.

    Output shape:
        The distances, sorted and as shares of the search's reach, (B, D); the purities of the top 1, 2 and 3 adjacent
        classes, (B, 3), 0 where no boundary was met; of two classes the third one's is 1.
    """

    def __init__(
        self,
        search: dict[str, Any],
        num_classes: int,
        *,
        bounds: Sequence[float],
        input_shape: Sequence[int],
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, dtype="float32", **kwargs)
        self.search = BoundarySearch(**search)
        self.num_classes = num_classes
        self.bounds = (float(bounds[0]), float(bounds[1]))
        self.images_shape = tuple(input_shape)

    def call(self, distances: Any, adjacent: Any) -> tuple[Any, Any]:
        """Sorted distances and purities."""
        met = tf.cast(adjacent != NO_CLASS, tf.float32)
        shares = tf.where(adjacent != NO_CLASS, distances / self.search.reach, 1.0)
        # Of NO_CLASS one_hot makes zeros.
        counts = tf.reduce_sum(tf.one_hot(adjacent, self.num_classes), axis=1)
        largest = tf.sort(counts, axis=1, direction="DESCENDING")[:, :_PURITIES]
        purities = tf.math.divide_no_nan(tf.cumsum(largest, axis=1), tf.reduce_sum(met, axis=1, keepdims=True))
        missing = max(0, _PURITIES - self.num_classes)
        return tf.sort(shares, axis=1), tf.pad(purities, [[0, 0], [0, missing]], constant_values=1.0)

    def compute_output_spec(self, distances: Any, adjacent: Any) -> tuple[Any, Any]:
        """Shapes of sorted distances and purities."""
        batch = distances.shape[0]
        return (
            keras.KerasTensor((batch, self.search.directions), "float32"),
            keras.KerasTensor((batch, _PURITIES), "float32"),
        )

    def get_config(self) -> dict[str, Any]:
        """The search's parameters and what the classifier takes and returns."""
        return {
            **super().get_config(),
            "search": self.search.get_config(),
            "num_classes": self.num_classes,
            "bounds": list(self.bounds),
            "input_shape": list(self.images_shape),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "BoundaryFeatures":
        """The inverse of :meth:`get_config`."""
        config = dict(config)
        config.pop("dtype", None)
        return cls(**config)
