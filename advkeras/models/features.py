"""What a classifier's last layer sees: its features, of which another last layer can make another classifier."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from advkeras.models.classifier import Classifier
from advkeras.models.networks import keras_network

LOGITS, PENULTIMATE = "logits", "activations before the last layer"


def features_of(classifier: Classifier) -> tuple[Callable[[Any], Any], str]:
    """A function from images (N, H, W, C) to features (N, F) float32, and what those are, in words.

    The activations before the last dense layer, where the classifier is a Keras model whose layers are known; its
    logits otherwise, as of a SavedModel, whose layers are not.
    """
    cut = _before_last(classifier.model)
    if cut is None:
        return classifier.__call__, LOGITS
    function, taking = keras_network(cut).on_images(classifier.bounds, classifier.usage)
    if taking.batch is not None:
        return classifier.__call__, LOGITS

    def features(images: Any) -> Any:
        found = tf.cast(function(images), tf.float32)
        return tf.reshape(found, (tf.shape(found)[0], cut.output_shape[-1]))

    return features, PENULTIMATE


def _before_last(model: Any) -> Any:
    """The model up to its last dense layer; None where there is none, or its layers are not known."""
    layers, outputs = getattr(model, "layers", ()), getattr(model, "outputs", None)
    last = next((layer for layer in reversed(layers) if layer.weights), None)
    if not isinstance(last, keras.layers.Dense) or not outputs or len(outputs) != 1 or len(model.inputs) != 1:
        return None
    inside = last.input
    return keras.Model(model.inputs[0], inside) if len(inside.shape) == 2 and inside.shape[-1] is not None else None
