"""One network in all the ways in which people keep theirs: classes, gradients and attacks are those of its logits."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from advkeras.attacks import PGD, DecoupledSearch, OptBrittle
from advkeras.models import Classifier

SHAPE, CLASSES = (7, 6, 1), 4
FEATURES = 42
GENERATOR = np.random.default_rng(0)
# Pixels of 8 bits, so that networks of whole numbers take the same images.
IMAGES = (GENERATOR.integers(40, 216, (12, *SHAPE)) / 255).astype(np.float32)
HIDDEN = [GENERATOR.standard_normal((FEATURES, 24)) * 0.5, GENERATOR.standard_normal(24) * 0.1]
OUTER = [GENERATOR.standard_normal((24, CLASSES)) * 1.5, np.zeros(CLASSES)]
LAYERS = keras.layers


class Doubled(keras.layers.Layer):
    """A layer of one's own: twice the sum, halved again."""

    def call(self, values):
        return (values + values) / 2


@keras.saving.register_keras_serializable("tests")
class Registered(Doubled):
    """The same, known to Keras."""


class Subclassed(keras.Model):
    """No graph of layers."""

    def __init__(self):
        super().__init__(name="subclassed")
        self.body = sequential()

    def call(self, images, training=False):
        return tf.nn.softmax(self.body(images, training=training))


class Module(tf.Module):
    """No Keras at all."""

    def __init__(self, end=tf.identity):
        super().__init__()
        self.hidden, self.outer = (
            [tf.Variable(tf.constant(part, tf.float32)) for part in layer] for layer in (HIDDEN, OUTER)
        )
        self.end = end

    @tf.function(input_signature=[tf.TensorSpec((None, *SHAPE), tf.float32)])
    def __call__(self, images):
        hidden = tf.tanh(tf.reshape(images - 0.5, (-1, FEATURES)) @ self.hidden[0] + self.hidden[1])
        return self.end(hidden @ self.outer[0] + self.outer[1])


def normalisation():
    """Batch normalisation that, as it has been trained, changes nothing."""
    layer = LAYERS.BatchNormalization(epsilon=1e-3)
    layer.build((None, 24))
    layer.set_weights([np.full(24, 2.0), np.full(24, 0.3), np.full(24, 0.3), np.full(24, 4.0 - 1e-3)])
    return layer


def sequential(*between, first=(), last=(), activation=None, classes=CLASSES, dtype=None):
    """The network, with layers before it, in its middle and behind it."""
    hidden, outer = LAYERS.Dense(24, activation="tanh", dtype=dtype), LAYERS.Dense(classes, activation, dtype=dtype)
    centred = LAYERS.Rescaling(1.0, offset=-0.5, dtype=dtype)
    model = keras.Sequential([*first, centred, LAYERS.Flatten(dtype=dtype), hidden, *between, outer, *last])
    model.build((None, *SHAPE))
    hidden.set_weights(HIDDEN)
    outer.set_weights(OUTER if classes == CLASSES else [OUTER[0][:, :1], OUTER[1][:1]])
    return model


def taking(shape, prepare, inner=None, batch=None, dtype="float32"):
    """The network behind another intake."""
    images = keras.Input(shape, batch_size=batch, dtype=dtype)
    return keras.Model(images, (inner or sequential(activation="softmax"))(prepare(images)))


def returning(outputs):
    """The network with several outputs."""
    images = keras.Input(SHAPE)
    logits = sequential()(images)
    return keras.Model(images, outputs(logits))


def policy(name):
    keras.config.set_dtype_policy(name)
    try:
        return sequential(activation="softmax")
    finally:
        keras.config.set_dtype_policy("float32")


def loaded(save, **options):
    """By way of a file or a folder."""

    def make(folder):
        return Classifier.load(save(folder), bounds=(0.0, 1.0), **options)

    return make


def kept(model, name):
    def save(folder):
        model().save(folder / name)
        return folder / name

    return save


def exported(model):
    def save(folder):
        model().export(folder / "served", verbose=False)
        return folder / "served"

    return save


def by_tensorflow(module):
    def save(folder):
        made = module()
        tf.saved_model.save(made, str(folder / "served"), signatures=made.__call__.get_concrete_function())
        return folder / "served"

    return save


def by_version_1(folder):
    """As TensorFlow 1 wrote it: a graph in a session, no functions."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        images = tf.compat.v1.placeholder(tf.float32, (None, *SHAPE), "images")
        variables = [
            tf.compat.v1.get_variable(f"v{n}", initializer=tf.constant(part, tf.float32))
            for n, part in enumerate((*HIDDEN, *OUTER))
        ]
        hidden = tf.tanh(tf.reshape(images - 0.5, (-1, FEATURES)) @ variables[0] + variables[1])
        answers = tf.nn.softmax(hidden @ variables[2] + variables[3])
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.saved_model.simple_save(session, str(folder / "old"), {"images": images}, {"answers": answers})
    return folder / "old"


def wrapped(model, **options):
    return lambda folder: Classifier.from_keras(model(), **{"bounds": (0.0, 1.0), **options})


def function(model):
    return lambda folder: Classifier(model(), bounds=(0.0, 1.0), input_shape=SHAPE, name="function")


def by_python():
    module = Module()
    return lambda images: module(images) + 0.0


def softmaxed():
    return sequential(activation="softmax")


KINDS = {
    "logits": wrapped(sequential),
    "softmax in the last layer": wrapped(softmaxed),
    "a softmax layer": wrapped(lambda: sequential(last=[LAYERS.Softmax()])),
    "an activation layer": wrapped(lambda: sequential(last=[LAYERS.Activation("softmax")])),
    "log_softmax": wrapped(lambda: sequential(activation="log_softmax")),
    "softmax and a name for it": wrapped(lambda: sequential(last=[LAYERS.Softmax(), LAYERS.Identity()])),
    "nested": wrapped(lambda: taking(SHAPE, lambda images: images)),
    "nested twice": wrapped(lambda: taking(SHAPE, lambda images: images, taking(SHAPE, lambda images: images))),
    "batch normalisation": wrapped(lambda: sequential(normalisation(), activation="softmax")),
    "dropout": wrapped(lambda: sequential(LAYERS.Dropout(0.5), activation="softmax")),
    "noise in training": wrapped(lambda: sequential(LAYERS.GaussianNoise(1.0), activation="softmax")),
    "augmentation": wrapped(
        lambda: sequential(first=[LAYERS.RandomFlip(), LAYERS.RandomRotation(0.2)], activation="softmax")
    ),
    "subclassed": wrapped(Subclassed, shape=SHAPE),
    "a layer of one's own": wrapped(lambda: sequential(Doubled(), activation="softmax")),
    "a registered layer, .keras": loaded(kept(lambda: sequential(Registered(), activation="softmax"), "net.keras")),
    ".keras": loaded(kept(softmaxed, "net.keras")),
    ".h5": loaded(kept(softmaxed, "net.h5")),
    "SavedModel by Keras": loaded(exported(softmaxed)),
    "SavedModel of a module": loaded(by_tensorflow(Module)),
    "SavedModel of a module with softmax": loaded(by_tensorflow(lambda: Module(tf.nn.softmax))),
    "SavedModel of TensorFlow 1": loaded(by_version_1),
    "a function": function(Module),
    "a function with softmax": function(lambda: Module(tf.nn.softmax)),
    "a Python function": function(by_python),
    "float16": wrapped(lambda: policy("float16")),
    "mixed_float16": wrapped(lambda: policy("mixed_float16")),
    "float64": wrapped(lambda: policy("float64")),
    "float64 images": wrapped(lambda: taking(SHAPE, lambda images: keras.ops.cast(images, "float32"), dtype="float64")),
    "float16 images": wrapped(lambda: taking(SHAPE, lambda images: keras.ops.cast(images, "float32"), dtype="float16")),
    "channels first": wrapped(lambda: taking((1, 7, 6), LAYERS.Permute((2, 3, 1))), channels_first=True),
    "no channels": wrapped(lambda: taking((7, 6), LAYERS.Reshape(SHAPE))),
    "flat": wrapped(lambda: taking((FEATURES,), LAYERS.Reshape(SHAPE)), shape=SHAPE),
    "any size": wrapped(lambda: taking((None, None, 1), LAYERS.Reshape(SHAPE)), shape=SHAPE),
    "batches of five": wrapped(lambda: taking(SHAPE, lambda images: images, batch=5)),
    "outputs, one called logits": wrapped(
        lambda: returning(lambda logits: {"logits": logits, "probabilities": keras.ops.softmax(logits)})
    ),
    "outputs, one chosen": wrapped(
        lambda: returning(lambda logits: {"a": keras.ops.softmax(logits), "b": -logits}), output_name="a"
    ),
    "outputs, one that fits": wrapped(
        lambda: returning(lambda logits: [logits[:, :2], keras.ops.softmax(logits), logits[:, :3]]), classes=CLASSES
    ),
    "outputs, one by its place": wrapped(
        lambda: returning(lambda logits: [-logits, keras.ops.softmax(logits)]), output_name="1"
    ),
    "preprocessing outside": wrapped(
        lambda: taking(SHAPE, LAYERS.Rescaling(0.25, offset=0.5), sequential(activation="softmax")),
        preprocessing=lambda images: (images - 0.5) * 4,
    ),
}
# What rounds more than float32 does.
COARSE = {"float16": 0.03, "mixed_float16": 0.03, "float16 images": 0.03}


def margin_gradient(classifier, labels):
    images = tf.constant(IMAGES)
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = classifier(images)
        value = tf.gather(logits, labels, batch_dims=1) - tf.gather(logits, (labels + 1) % CLASSES, batch_dims=1)
    return tape.gradient(value, images).numpy()


@pytest.fixture(scope="module")
def plain():
    return Classifier(Module(), bounds=(0.0, 1.0), input_shape=SHAPE, name="plain")


@pytest.fixture(scope="module")
def labels(plain):
    return plain.predict(IMAGES)


def test_there_are_many_kinds():
    assert len(KINDS) >= 30


@pytest.mark.parametrize("kind", KINDS)
def test_class_and_gradient_are_those_of_the_logits(kind, plain, labels, tmp_path):
    classifier, tolerance = KINDS[kind](tmp_path), COARSE.get(kind, 1e-4)
    np.testing.assert_array_equal(classifier.predict(IMAGES), labels)
    expected = margin_gradient(plain, labels)
    difference = np.abs(margin_gradient(classifier, labels) - expected).max()
    assert difference <= tolerance * np.abs(expected).max()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_attacks_succeed_as_on_the_logits(kind, plain, labels, tmp_path):
    classifier = KINDS[kind](tmp_path)
    for attack in (OptBrittle(search=DecoupledSearch(gradients=100)), PGD(epsilon=0.04)):
        expected, found = (attack(each, IMAGES, labels) for each in (plain, classifier))
        assert expected.success.sum() >= 3
        np.testing.assert_array_equal(found.success, expected.success)
        both = expected.success
        np.testing.assert_allclose(found.distortion[both].mean(), expected.distortion[both].mean(), rtol=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["uint8", "int32"])
def test_attacks_on_whole_numbers_succeed_as_among_pictures(dtype, labels):
    """They take pictures alone, and so does the network that they are held against."""
    module = Module()
    plain = Classifier(module, bounds=(0.0, 1.0), input_shape=SHAPE, name="plain", levels=256)
    classifier = Classifier.from_keras(taking(SHAPE, LAYERS.Rescaling(1 / 255), dtype=dtype), bounds=(0.0, 255.0))
    pictures = np.rint(IMAGES * 255).astype(np.float32)
    attack = OptBrittle(search=DecoupledSearch(gradients=100))
    expected, found = attack(plain, IMAGES, labels), attack(classifier, pictures, labels)
    np.testing.assert_array_equal(found.success, expected.success)
    np.testing.assert_allclose(found.distortion.mean() / 255, expected.distortion.mean(), rtol=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("activation", [None, "sigmoid"])
def test_one_output_attacks_as_the_two_logits_that_it_stands_for(activation):
    classifier = Classifier.from_keras(sequential(classes=1, activation=activation), bounds=(0.0, 1.0))
    module = Module()
    pair = Classifier(
        lambda images: tf.pad(module(images)[:, :1], [[0, 0], [1, 0]]),
        bounds=(0.0, 1.0),
        input_shape=SHAPE,
        name="pair",
    )
    labels = pair.predict(IMAGES)
    np.testing.assert_array_equal(classifier.predict(IMAGES), labels)
    attack = PGD(epsilon=0.04)
    expected, found = attack(pair, IMAGES, labels), attack(classifier, IMAGES, labels)
    assert expected.success.any()
    np.testing.assert_array_equal(found.success, expected.success)


@pytest.mark.parametrize("quantised", [False, True])
def test_a_lite_model_has_the_classes_of_the_network(quantised, labels, tmp_path):
    pytest.importorskip("ai_edge_litert")
    converter = tf.lite.TFLiteConverter.from_keras_model(softmaxed())
    if quantised:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image[None]] for image in IMAGES)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    (tmp_path / "net.tflite").write_bytes(converter.convert())
    classifier = Classifier.load(tmp_path / "net.tflite", bounds=(0.0, 1.0))
    assert not classifier.differentiable
    assert (classifier.predict(IMAGES) == labels).sum() >= len(labels) - quantised
