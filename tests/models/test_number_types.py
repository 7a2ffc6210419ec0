"""Networks of other number types: whole numbers at the input, half precision within."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from advkeras import PGD, OptBrittle
from advkeras.errors import InvalidInputError
from advkeras.models import Classifier
from advkeras.models.reading import BEFORE_SOFTMAX

from ..grids import grid

SHAPE = (6, 5, 1)
IMAGES = np.random.default_rng(0).uniform(0, 255, (9, *SHAPE)).astype(np.float32)


def network(dtype="float32", policy="float32", activation="softmax"):
    """The same weights, whatever the types."""
    keras.utils.set_random_seed(0)
    plain = _network("float32", "float32", None)
    typed = _network(dtype, policy, activation)
    typed.set_weights(plain.get_weights())
    return typed


def _network(dtype, policy, activation):
    options = {"dtype": policy}
    return keras.Sequential(
        [
            keras.Input(SHAPE, dtype=dtype),
            keras.layers.Rescaling(1 / 255, **options),
            keras.layers.Conv2D(4, 3, activation="relu", **options),
            keras.layers.Flatten(**options),
            keras.layers.Dense(4, activation=activation, **options),
        ],
        name="mine",
    )


@pytest.fixture(scope="module")
def plain():
    return Classifier.from_keras(network(activation=None), bounds=(0, 255))


def gradient(function, images):
    points = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(points)
        total = tf.reduce_sum(tf.cast(function(points), tf.float32) * tf.constant([1.0, -2.0, 3.0, 0.5]))
    return tape.gradient(total, points).numpy()


def loaded(model, saved, folder):
    if saved:
        model.export(folder / "mine", verbose=False)
        return Classifier.load(folder / "mine", bounds=(0, 255))
    return Classifier.from_keras(model, bounds=(0, 255))


@pytest.mark.parametrize("saved", [False, True], ids=["keras", "SavedModel"])
@pytest.mark.parametrize("dtype", ["uint8", "int32", "float16", "float64"])
def test_another_type_of_input_has_the_gradient_of_the_numbers_behind_it(dtype, saved, tmp_path):
    classifier = loaded(network(dtype), saved, tmp_path)
    plain = network(activation=None)
    seen = np.round(IMAGES) if "int" in dtype else IMAGES
    assert classifier.differentiable
    assert classifier.reading.how == BEFORE_SOFTMAX
    # Half precision has 11 bits: pixels of 255 are off by an eighth.
    tolerance = 1e-3 if dtype == "float16" else 1e-6
    np.testing.assert_allclose(classifier.logits(IMAGES), plain(seen), atol=tolerance)
    np.testing.assert_allclose(gradient(classifier, IMAGES), gradient(plain, seen), atol=tolerance / 50)


def test_attacks_on_whole_numbers_succeed_as_on_the_float_network(plain):
    whole = Classifier.from_keras(network("uint8"), bounds=(0, 255))
    labels = plain.predict(IMAGES)
    ours, theirs = (OptBrittle()(each, np.round(IMAGES), labels) for each in (whole, plain))
    np.testing.assert_array_equal(ours.success, theirs.success)
    # What fools the model does so as the bytes that it takes.
    assert (whole.predict(np.round(ours.adversarials)) != labels)[ours.success].all()
    assert ours.average_distortion <= 1.05 * theirs.average_distortion


def test_whole_numbers_that_are_used_otherwise_have_no_gradient_and_still_answer():
    keras.utils.set_random_seed(0)
    inputs = keras.Input(SHAPE, dtype="uint8")
    # A table of 256 numbers, as a gamma correction has it.
    looked_up = keras.layers.Embedding(256, 1)(keras.layers.Flatten()(inputs))
    model = keras.Model(inputs, keras.layers.Dense(4)(keras.layers.Flatten()(looked_up)))
    classifier = Classifier.from_keras(model, bounds=(0, 255))
    assert not classifier.differentiable
    np.testing.assert_allclose(classifier.logits(IMAGES), model(np.round(IMAGES).astype(np.uint8)), atol=1e-6)
    with pytest.raises(InvalidInputError, match="needs gradients"):
        PGD(epsilon=8.0)(classifier, IMAGES, classifier.predict(IMAGES))


def test_bounds_without_whole_numbers_are_refused():
    with pytest.raises(InvalidInputError, match=r"takes whole numbers \(uint8\).*bounds=\(0.0, 1.0\)"):
        Classifier.from_keras(network("uint8"), bounds=(0, 1))


@pytest.mark.parametrize(
    ("policy", "attack"),
    grid(
        ["mixed_float16", "mixed_bfloat16", "float16", "float64"],
        [OptBrittle(), PGD(epsilon=60.0)],
        fast=[("mixed_float16", OptBrittle()), ("float16", PGD(epsilon=60.0)), ("float64", OptBrittle())],
    ),
    ids=lambda value: getattr(value, "name", value),
)
def test_logits_are_float32_and_attacks_succeed_as_on_float32(policy, attack, plain):
    classifier = Classifier.from_keras(network(policy=policy), bounds=(0, 255))
    assert classifier.reading.how == BEFORE_SOFTMAX
    assert classifier(tf.constant(IMAGES)).dtype == tf.float32
    labels = plain.predict(IMAGES)
    ours, theirs = (attack(each, IMAGES, labels) for each in (classifier, plain))
    np.testing.assert_array_equal(ours.success, theirs.success)
    # bfloat16 has 8 bits.
    rms = theirs.average_distortion
    assert ours.average_distortion == pytest.approx(rms, rel=0.2 if "bfloat" in policy else 0.01)


@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e3])
def test_gradients_do_not_vanish_in_half_precision(scale):
    """A gradient below 6e-8 is zero in float16, unless what it is multiplied by is large."""

    def deep(dtype):
        layers = [keras.layers.Dense(16, kernel_initializer="orthogonal", dtype=dtype) for _ in range(3)]
        scaling = keras.layers.Rescaling(scale / 255, dtype=dtype)
        last = keras.layers.Dense(4, dtype=dtype)
        return keras.Sequential([keras.Input(SHAPE), scaling, keras.layers.Flatten(dtype=dtype), *layers, last])

    keras.utils.set_random_seed(0)
    models = [deep(dtype) for dtype in ("float16", "float32")]
    models[1].set_weights(models[0].get_weights())
    half, full = (Classifier.from_keras(model, bounds=(0, 255)) for model in models)
    for factor in (1.0, 1e-6):

        def loss(classifier, factor=factor):
            return lambda points: factor * classifier(points)

        exact = gradient(loss(full), IMAGES)
        # Within half precision's 11 bits of the largest.
        np.testing.assert_allclose(gradient(loss(half), IMAGES), exact, atol=0.01 * np.abs(exact).max())


def test_the_gradient_of_half_precision_is_taken_within_compiled_loops():
    classifier = Classifier.from_keras(network(policy="mixed_float16"), bounds=(0, 255))

    def body(step, points):
        with tf.GradientTape() as tape:
            tape.watch(points)
            total = tf.reduce_sum(classifier(points)[:, 0])
        return step + 1, points + tape.gradient(total, points)

    loop = tf.function(lambda points: tf.while_loop(lambda step, _: step < 3, body, (0, points))[1], autograph=False)
    points = tf.constant(IMAGES)
    for _ in range(3):
        _, points = body(0, points)
    np.testing.assert_allclose(loop(tf.constant(IMAGES)), points, rtol=1e-5)
