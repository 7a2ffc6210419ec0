"""Networks that take images otherwise than as (N, H, W, C) of a fixed size answer as the one that does."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from advkeras.errors import InvalidInputError, UnknownShapeError
from advkeras.models import Classifier
from advkeras.models.intake import intake

from ..commands import error_of, run

SHAPE = (6, 5, 3)
IMAGES = np.random.default_rng(0).uniform(0, 1, (11, *SHAPE)).astype(np.float32)


def plain(shape=SHAPE, batch=None, activation=None):
    """Convolutions, a mean over the image, and so a network for any size."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input(batch_shape=(batch, *shape))
    features = keras.layers.Conv2D(8, 3, activation="tanh")(inputs)
    pooled = keras.layers.GlobalAveragePooling2D()(features)
    dense = keras.layers.Dense(4, activation=activation, kernel_initializer=keras.initializers.RandomNormal(stddev=3.0))
    return keras.Model(inputs, dense(pooled), name="mine")


def behind(shape, prepare):
    """The plain network behind a layer that turns what it takes into images."""
    inputs = keras.Input(shape)
    return keras.Model(inputs, plain()(prepare(inputs)), name="mine")


def gradient(function, images):
    points = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(points)
        total = tf.reduce_sum(tf.sin(function(points)))
    return tape.gradient(total, points).numpy()


KINDS = {
    "any size": lambda: (plain((None, None, 3)), SHAPE),
    "any height": lambda: (plain((None, 5, 3)), SHAPE),
    "fixed batch": lambda: (plain(batch=4), None),
    "flat": lambda: (behind((90,), keras.layers.Reshape(SHAPE)), SHAPE),
    "channels first": lambda: (behind((3, 6, 5), keras.layers.Permute((2, 3, 1))), None),
}


@pytest.mark.parametrize("saved", [None, "keras", "model"])
@pytest.mark.parametrize("kind", KINDS)
def test_any_intake_is_that_of_images(kind, saved, tmp_path):
    network, shape = KINDS[kind]()
    if saved is None:
        classifier = Classifier.from_keras(network, bounds=(0, 1), shape=shape)
    else:
        path = tmp_path / ("mine.keras" if saved == "keras" else "mine")
        network.save(path) if saved == "keras" else network.export(path, verbose=False)
        classifier = Classifier.load(path, bounds=(0, 1), shape=shape)
    expected = plain()
    assert classifier.input_shape == SHAPE
    for images in (IMAGES, IMAGES[:1], IMAGES[:8]):
        np.testing.assert_allclose(classifier.logits(images), expected(images), atol=1e-5)
        np.testing.assert_allclose(gradient(classifier, images), gradient(expected, images), atol=1e-5)


def test_logits_of_a_fixed_batch_are_found_before_the_softmax():
    classifier = Classifier.from_keras(plain(batch=4, activation="softmax"), bounds=(0, 1))
    assert classifier.reading.how == "found before the softmax"
    np.testing.assert_allclose(classifier.logits(IMAGES), plain()(IMAGES), atol=1e-5)


def test_an_image_without_channels_is_grey():
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((6, 5)), keras.layers.Flatten(), keras.layers.Dense(4)])
    classifier = Classifier.from_keras(network, bounds=(0, 1))
    assert classifier.input_shape == (6, 5, 1)
    np.testing.assert_allclose(classifier.logits(IMAGES[..., :1]), network(IMAGES[..., 0]), atol=1e-5)


def test_a_subclassed_network_takes_the_shape_that_is_said():
    class Mine(keras.Model):
        """Has no shape before it is called."""

        def __init__(self):
            super().__init__(name="mine")
            self.network = plain()

        def call(self, images, training=False):
            return self.network(images)

    with pytest.raises(UnknownShapeError, match="'mine' takes images of any size"):
        Classifier.from_keras(Mine(), bounds=(0, 1))
    classifier = Classifier.from_keras(Mine(), bounds=(0, 1), shape=SHAPE)
    np.testing.assert_allclose(classifier.logits(IMAGES), plain()(IMAGES), atol=1e-5)


@pytest.mark.parametrize(
    ("taken", "options", "expected"),
    [
        ((None, 3, 32, 32), {}, (32, 32, 3)),
        ((None, 3, 32, 32), {"channels_first": False}, (3, 32, 32)),
        ((None, 32, 32, 3), {"channels_first": True}, (32, 3, 32)),
        ((None, 3, 3, 3), {"shape": (3, 3, 3)}, (3, 3, 3)),
        ((None, 1, None, None), {"shape": (28, 20, 1)}, (28, 20, 1)),
        ((None, None, None, None), {"shape": (28, 20, 1)}, (28, 20, 1)),
        ((None, 28, None), {"shape": (28, 20, 1)}, (28, 20, 1)),
    ],
)
def test_channels_are_found_by_their_number_and_open_sizes_are_the_datas(taken, options, expected):
    assert intake(taken, name="it", **options).shape == expected


@pytest.mark.parametrize(
    ("taken", "options", "error"),
    [
        ((None, 784), {}, UnknownShapeError),
        ((None, 784), {"shape": (28, 20, 1)}, InvalidInputError),
        ((None, None, None, 3), {}, UnknownShapeError),
        ((None, 4, 28, 28, 1), {}, InvalidInputError),
        ((None,), {}, InvalidInputError),
        ([(None, 28, 28, 1), (None, 3)], {}, InvalidInputError),
    ],
)
def test_what_takes_no_images_or_does_not_say_which_is_refused(taken, options, error):
    with pytest.raises(error):
        intake(taken, name="it", **options)


def test_the_command_line_takes_the_shape_from_the_data(tmp_path):
    plain((None, None, 3), activation="softmax").save(tmp_path / "mine.keras")
    np.savez(tmp_path / "data.npz", images=IMAGES, labels=np.arange(11) % 4)
    what = ("--dataset", tmp_path / "data.npz", "--model", tmp_path / "mine.keras", "--bounds", 0, 1)
    run("attack", "fgsm", *what, "--output", tmp_path / "found.npz")
    assert np.load(tmp_path / "found.npz")["adversarials"].shape == IMAGES.shape
    wrong = error_of("attack", "fgsm", *what, "--channels-first", "--output", tmp_path / "found.npz")
    assert wrong
