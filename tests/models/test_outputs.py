"""Logits are had from whatever a network returns: they and their gradients are those of the network before it."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from advkeras.errors import InvalidInputError
from advkeras.models import Classifier
from advkeras.models.reading import AS_RETURNED, BEFORE_SIGMOID, BEFORE_SOFTMAX, OF_PROBABILITIES, ONE_LOGIT

from ..commands import run

SHAPE = (6, 5, 1)
IMAGES = np.random.default_rng(0).uniform(0, 1, (7, *SHAPE)).astype(np.float32)


def body(classes=4):
    keras.utils.set_random_seed(0)
    network = keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Conv2D(3, 3, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.5),
            keras.layers.Flatten(),
            keras.layers.Dense(classes, kernel_initializer=keras.initializers.RandomNormal(stddev=3.0)),
        ],
        name="body",
    )
    network.layers[1].set_weights([np.ones(3), np.zeros(3), np.full(3, 0.2), np.full(3, 0.5)])
    return network


def ending(layer, classes=4):
    """The network behind another layer: nested, as transfer learning has it."""
    inputs = keras.Input(SHAPE)
    return keras.Model(inputs, layer(body(classes)(inputs)), name="ended")


def with_activation(activation, classes=4):
    """The same network, whose last layer has the activation."""
    network = body(classes)
    network.layers[-1].activation = keras.activations.get(activation)
    return network


class Subclassed(keras.Model):
    """A network that is no graph of layers."""

    def __init__(self):
        super().__init__(name="subclassed")
        self.body = body()

    def call(self, images, training=False):
        return tf.nn.softmax(self.body(images, training=training))


def saved_by_keras(network, folder):
    network.export(folder, verbose=False)
    return folder


def saved_by_tensorflow(network, folder):
    serve = tf.function(
        lambda images: {"probabilities": network(images, training=False)},
        input_signature=[tf.TensorSpec((None, *SHAPE), tf.float32, name="images")],
    )
    module = tf.Module()
    module.network = network
    tf.saved_model.save(module, str(folder), signatures=serve)
    return folder


def saved_as(suffix):
    def save(network, folder):
        path = folder.with_suffix(suffix)
        network.save(path)
        return path

    return save


def gradient(function, images):
    points = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(points)
        total = tf.reduce_sum(function(points) * tf.constant([1.0, -2.0, 3.0, 0.5])[: function(points).shape[1]])
    return tape.gradient(total, points).numpy()


def assert_like(classifier, expected):
    np.testing.assert_allclose(classifier.logits(IMAGES), expected(IMAGES), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(gradient(classifier, IMAGES), gradient(expected, IMAGES), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "network",
    [
        lambda: with_activation("softmax"),
        lambda: ending(keras.layers.Softmax()),
        lambda: ending(keras.layers.Activation("softmax")),
        Subclassed,
    ],
    ids=["activation", "layer", "nested", "subclassed"],
)
def test_logits_are_found_before_a_softmax(network):
    model = network()
    classifier = Classifier(lambda images: model(images, training=False), bounds=(0, 1), input_shape=SHAPE, name="mine")
    assert classifier.reading.how == BEFORE_SOFTMAX
    assert classifier.num_classes == 4
    assert classifier.differentiable
    plain = body()
    assert_like(classifier, lambda images: plain(images, training=False))


def test_a_reshape_behind_the_softmax_is_one_before_it_too():
    """As fully convolutional networks end: a softmax over the channels, then no height and width."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input(SHAPE)
    found = keras.layers.Conv2D(4, SHAPE[:2])(inputs)
    plain = keras.Model(inputs, keras.layers.Reshape((4,))(found))
    classifier = Classifier.from_keras(
        keras.Model(inputs, keras.layers.Reshape((4,))(keras.layers.Softmax()(found))), bounds=(0, 1)
    )
    assert (classifier.reading.how, classifier.num_classes) == (BEFORE_SOFTMAX, 4)
    assert classifier.predict(IMAGES).shape == (7,)
    assert_like(classifier, lambda images: plain(images, training=False))


@pytest.mark.parametrize(
    "save", [saved_by_keras, saved_by_tensorflow, saved_as(".keras"), saved_as(".h5")],
    ids=["model.export", "tf.saved_model.save", ".keras", ".h5"],
)  # fmt: skip
def test_logits_are_found_in_what_was_saved(save, tmp_path):
    classifier = Classifier.load(save(with_activation("softmax"), tmp_path / "mine"), bounds=(0, 1))
    assert classifier.reading.how == BEFORE_SOFTMAX
    plain = body()
    assert_like(classifier, lambda images: plain(images, training=False))


def test_what_is_found_has_the_networks_own_variables():
    network = with_activation("softmax")
    classifier = Classifier.from_keras(network, bounds=(0, 1))
    before = classifier.logits(IMAGES)
    network.layers[-1].bias.assign_add([1.0, 2.0, 3.0, 4.0])
    np.testing.assert_allclose(classifier.logits(IMAGES) - before, np.tile([1.0, 2.0, 3.0, 4.0], (7, 1)), atol=1e-4)


@pytest.mark.parametrize("threshold", [None, 0.5, 0.9])
@pytest.mark.parametrize(("activation", "how"), [("sigmoid", BEFORE_SIGMOID), (None, ONE_LOGIT)])
def test_one_output_is_two_classes(activation, how, threshold):
    classifier = Classifier.from_keras(with_activation(activation, classes=1), bounds=(0, 1), threshold=threshold)
    assert (classifier.reading.how, classifier.num_classes) == (how, 2)
    plain = body(classes=1)
    shift = np.log(9.0) if threshold == 0.9 else 0.0

    def expected(images):
        second = plain(images, training=False) - shift
        return tf.concat([tf.zeros_like(second), second], axis=1)

    assert_like(classifier, expected)
    probabilities = tf.sigmoid(plain(IMAGES, training=False))[:, 0].numpy()
    np.testing.assert_array_equal(classifier.predict(IMAGES), probabilities > (threshold or 0.5))


def test_log_softmax_returns_logits():
    classifier = Classifier.from_keras(with_activation("log_softmax"), bounds=(0, 1))
    assert classifier.reading.how == AS_RETURNED


def test_where_no_softmax_is_found_logarithms_stand_in():
    def shares(logits):
        powers = tf.exp(logits - tf.reduce_max(logits, axis=1, keepdims=True))
        return powers / tf.reduce_sum(powers, axis=1, keepdims=True)

    classifier = Classifier.from_keras(ending(keras.layers.Lambda(shares)), bounds=(0, 1))
    assert classifier.reading.how == OF_PROBABILITIES
    plain = body()
    np.testing.assert_allclose(
        classifier.logits(IMAGES), tf.nn.log_softmax(plain(IMAGES, training=False)), rtol=1e-3, atol=1e-3
    )


def test_logits_that_look_like_probabilities_are_left_alone():
    network = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(2)])
    network.layers[-1].set_weights([np.zeros((30, 2)), np.array([0.3, 0.5])])
    assert Classifier.from_keras(network, bounds=(0, 1)).reading.how == AS_RETURNED


@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        (lambda: with_activation("sigmoid"), {}, "ends with 4 independent sigmoids"),
        (lambda: with_activation("softmax"), {"threshold": 0.3}, "a threshold is for one output"),
        (lambda: with_activation("sigmoid", classes=1), {"threshold": 1.0}, r"threshold must lie in \(0, 1\)"),
        (lambda: with_activation("hard_sigmoid", classes=1), {}, "cannot be told"),
    ],
)  # fmt: skip
def test_what_says_no_classes_is_refused(network, options, message):
    with pytest.raises(InvalidInputError, match=message):
        Classifier.from_keras(network(), bounds=(0, 1), **options)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_answer_that_is_no_number_is_not_random(value):
    plain = body()

    def logits(images):
        dark = tf.reduce_mean(images, axis=[1, 2, 3]) < 0.5
        return tf.where(dark[:, None], value, plain(images, training=False))

    assert Classifier(logits, bounds=(0, 1), input_shape=SHAPE, name="mine").reading.random == 0


def test_a_model_that_was_exported_with_its_augmentation_is_named(tmp_path):
    network = keras.Sequential([keras.Input(SHAPE), keras.layers.RandomFlip(), *body().layers, keras.layers.Softmax()])
    classifier = Classifier.load(saved_by_keras(network, tmp_path / "flipping"), bounds=(0, 1))
    assert classifier.reading.random > 1e-3
    assert Classifier.from_keras(network, bounds=(0, 1)).reading.random == 0
    np.savez(tmp_path / "data.npz", images=IMAGES, labels=np.arange(7) % 4)
    given = ("--dataset", tmp_path / "data.npz", "--model", tmp_path / "flipping", "--bounds", 0, 1)
    said = run("attack", "fgsm", *given, "--output", tmp_path / "found.npz").stderr
    assert "flipping answers differently at every call" in said
    # And wherever its figures are shown.
    table = run("evaluate", "--attack", "fgsm", *given, "--output", tmp_path / "run").stdout
    report = run("report", tmp_path / "run").stdout
    markdown = run("report", "--markdown", tmp_path / "run").stdout
    for text in (table, report, markdown):
        assert "random-outputs: flipping answers differently at every call" in " ".join(text.split())
    flags = json.loads((tmp_path / "run" / "results.json").read_text())["flags"]
    assert "figures mean little" in next(flag["line"] for flag in flags if flag["name"] == "random-outputs")


def test_the_table_says_how_logits_were_had(tmp_path):
    with_activation("softmax").save(tmp_path / "mine.keras")
    np.savez(tmp_path / "data.npz", images=IMAGES, labels=np.arange(7) % 4)
    result = run(
        *("evaluate", "--dataset", tmp_path / "data.npz", "--model", tmp_path / "mine.keras", "--bounds", 0, 1),
        *("--attack", "fgsm", "--output", tmp_path / "run", "--no-convergence-check"),
    )
    assert "Logits of mine: found before the softmax." in " ".join(result.stdout.split())
