"""The zoo's networks in other number types."""

from typing import Any

import keras
import tensorflow as tf

from advkeras.datasets import registry
from advkeras.models import Classifier, architectures


def keras_copy(classifier: Classifier, dataset: str, policy: str) -> Any:
    """The Keras model of a classifier of the zoo, with the same weights, under another policy of number types."""
    usual = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    network = architectures.build(classifier.card.architecture, registry.get(dataset))
    keras.config.set_dtype_policy(usual)
    loaded = tf.saved_model.load(str(classifier.folder))
    variables = loaded.signatures["serving_default"].variables
    known = {"/".join(each.name.split(":")[0].split("/")[-2:]): each for each in variables}
    for weight in network.weights:
        weight.assign(known["/".join(weight.path.split("/")[-2:])].numpy())
    return network
