"""What goes through a classifier is counted, however an attack takes its gradients."""

import numpy as np
import pytest
import tensorflow as tf

from advkeras.attacks import FGSM, PGD, OptBrittle
from advkeras.models import Classifier, counted
from advkeras.models.counted import Passes
from advkeras.searches.decoupled_search import DecoupledSearch

from ..conftest import FEATURES, SHAPE, linear_classifier

COUNT, CLASSES = 5, 3
IMAGES = np.random.default_rng(0).uniform(size=(COUNT, *SHAPE)).astype(np.float32)


def three_classes():
    return linear_classifier(np.random.default_rng(1).standard_normal((FEATURES, CLASSES)), np.zeros(CLASSES))


def gradient(function, images):
    with tf.GradientTape() as tape:
        tape.watch(images)
        total = tf.reduce_sum(tf.sin(function(images)))
    return tape.gradient(total, images)


def over_versions(classifier, images):
    """Expectation over transformations, as a loop within the tape."""
    return tf.reduce_sum(tf.map_fn(lambda share: classifier(share * images), tf.constant([1.0, 0.9, 0.8])), axis=0)


def one_gradient_a_class(function, images):
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(images)
        columns = tf.unstack(function(images), axis=1)
    return [tape.gradient(column, images) for column in columns]


def climbed(classifier, images):
    return tf.while_loop(lambda step, _: step < 4, lambda step, x: (step + 1, x + gradient(classifier, x)), (0, images))


def jacobian(classifier, images):
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(images)
        logits = classifier(images)
    return tape.batch_jacobian(logits, images, experimental_use_pfor=False)


@pytest.mark.parametrize("outside", [False, True], ids=["eager", "in a graph"])
@pytest.mark.parametrize(
    ("passes", "forwards", "gradients"),
    [
        (lambda classifier, images: classifier(images), 1, 0),
        (gradient, 0, 1),
        (lambda classifier, images: gradient(tf.function(classifier), images), 0, 1),
        (lambda classifier, images: tf.function(lambda x: gradient(classifier, x), jit_compile=True)(images), 0, 1),
        (lambda classifier, images: gradient(lambda x: over_versions(classifier, x), images), 0, 3),
        (lambda classifier, images: gradient(tf.function(lambda x: over_versions(classifier, x)), images), 0, 3),
        (climbed, 0, 4),
        (one_gradient_a_class, 0, CLASSES),
        (lambda classifier, images: one_gradient_a_class(tf.function(classifier), images), 0, CLASSES),
        (jacobian, 0, CLASSES),
    ],
    ids=[
        "forward", "gradient", "tape outside", "xla", "loop inside", "loop inside, tape outside", "loop outside",
        "of each class", "of each class, tape outside", "jacobian",
    ],
)  # fmt: skip
def test_passes_are_counted(passes, forwards, gradients, outside):
    classifier = three_classes().counted
    run = tf.function(lambda images: passes(classifier, images)) if outside else lambda x: passes(classifier, x)
    before = classifier.passes
    for _ in range(2):
        run(tf.constant(IMAGES))
    after = classifier.passes
    counted = (after.forwards - before.forwards, after.gradients - before.gradients)
    assert counted == (2 * COUNT * forwards, 2 * COUNT * gradients)


def test_gradients_that_run_at_the_same_time_make_a_pass_one_pass():
    """TensorFlow takes several gradients of a compiled function in any order, and their counts may cross."""
    classifier = three_classes().counted
    run = tf.function(lambda images: one_gradient_a_class(tf.function(classifier), images))
    for _ in range(300):
        run(tf.constant(IMAGES))
    assert classifier.passes == Passes(0, 300 * COUNT * CLASSES)


def test_passes_are_counted_beyond_those_that_are_remembered(monkeypatch):
    monkeypatch.setattr(counted, "_LATEST", 3)
    classifier = three_classes().counted
    for _ in range(5):
        gradient(classifier, tf.constant(IMAGES))
        classifier(tf.constant(IMAGES))
    assert classifier.passes == Passes(5 * COUNT, 5 * COUNT)


def test_a_jacobian_that_tensorflow_vectorises_is_one_gradient():
    classifier = three_classes().counted

    @tf.function
    def jacobian(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            logits = classifier(images)
        return tape.batch_jacobian(logits, images)

    assert jacobian(tf.constant(IMAGES)).shape == (COUNT, CLASSES, *SHAPE)
    assert classifier.passes == Passes(0, COUNT)


@pytest.mark.parametrize(
    "attack",
    [
        lambda jit: FGSM(epsilon=0.1, batch_size=8, jit_compile=jit),
        lambda jit: PGD(epsilon=0.1, iterations=4, batch_size=8, jit_compile=jit),
        lambda jit: OptBrittle(search=DecoupledSearch(gradients=10), batch_size=8, jit_compile=jit),
    ],
    ids=["fgsm", "pgd", "optbrittle"],
)
def test_copies_that_fill_a_batch_do_not_count(attack):
    classifier = three_classes()
    labels = classifier.predict(IMAGES)
    plain, compiled = (attack(jit)(classifier, IMAGES, labels) for jit in (False, True))
    assert (compiled.forward_count, compiled.gradient_count) == (plain.forward_count, plain.gradient_count)


def test_methods_of_a_users_own_classifier_are_in_effect():
    class Turned(Classifier):
        unit = "pixels"

        def predict(self, images, *, batch_size=256):
            return np.int32(2) - super().predict(images, batch_size=batch_size)

    plain = three_classes()
    turned = Turned(plain, bounds=plain.bounds, input_shape=SHAPE, name="turned")
    counted = turned.counted
    np.testing.assert_array_equal(counted.predict(IMAGES), 2 - plain.predict(IMAGES))
    assert counted.passes == Passes(COUNT, 0)
    turned.name = "renamed"
    assert (counted.name, counted.unit, counted.counted) == ("renamed", "pixels", counted)
