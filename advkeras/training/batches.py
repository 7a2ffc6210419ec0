"""What a training step is fed with: shuffled, augmented batches."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from advkeras.arrays import FloatArray, IntArray

_LARGEST_SHIFT = 0.125


def shuffled_batches(
    images: FloatArray, labels: IntArray, *, batch_size: int, seed: int, augmentation: str = "none"
) -> Any:
    """Batches of all images in an order that changes with each epoch; the last, partial batch is left out.

    A training that is continued after a stop goes through the orders from the first one again.

    Args:
        images: (N, H, W, C) float32.
        labels: (N,) int32.
        batch_size: images in a batch.
        seed: of the orders and of the augmentation.
        augmentation: ``"none"``; or ``"standard"``: random flips from left to right, and shifts by up to an eighth of
            height and width, with the lowest pixel value where the image ends.
    """
    plain = tf.autograph.experimental.do_not_convert
    order = tf.data.Dataset.range(len(labels)).shuffle(len(labels), seed=seed, reshuffle_each_iteration=True)
    table = tf.constant(images), tf.constant(np.asarray(labels, np.int32))
    batches = order.batch(batch_size, drop_remainder=True).map(
        plain(lambda chosen: (tf.gather(table[0], chosen), tf.gather(table[1], chosen)))
    )
    if augmentation == "standard":
        layers = keras.Sequential(
            [
                keras.layers.RandomFlip("horizontal", seed=seed),
                keras.layers.RandomTranslation(
                    _LARGEST_SHIFT,
                    _LARGEST_SHIFT,
                    fill_mode="constant",
                    fill_value=float(images.min()),
                    interpolation="nearest",
                    seed=seed + 1,
                ),
            ]
        )
        batches = batches.map(plain(lambda images, labels: (layers(images, training=True), labels)))
    # There is nothing to tune, and a tuner may hold up the end of an epoch for a minute, deaf to signals.
    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.prefetch(4).with_options(options)
