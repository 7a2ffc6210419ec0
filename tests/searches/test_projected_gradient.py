"""The loop of projected gradient descent against a few lines of NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from advkeras.attacks import PGD, adversarial_margin, loss_slope
from advkeras.searches.projected_gradient import last_iterate

from ..conftest import FEATURES, SHAPE
from ..recording import projected, wavy

EPSILON, STEP = 0.05, 0.02


@pytest.mark.parametrize("momentum", [0.0, 0.25])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_each_step_follows_from_the_points_before(norm, momentum):
    image = np.random.default_rng(8).uniform(0.0, 0.1, (1, *SHAPE)).astype(np.float32)
    classifier = wavy()
    label = classifier.answer(image.reshape(1, -1)).argmax(axis=1).astype(np.int32)
    PGD(epsilon=EPSILON, step=STEP, iterations=8, norm=norm, loss="margin", random_start=False, momentum=momentum)(
        classifier, image, label
    )
    start = image.reshape(-1)
    # After the classification of the image and before the verification.
    points = classifier.points()[1:10]
    np.testing.assert_allclose(points[0], start, atol=1e-6)

    def project(point):
        return projected(point, start, EPSILON, norm)

    for place in range(8):
        point = tf.constant(points[place : place + 1])
        with tf.GradientTape() as tape:
            tape.watch(point)
            margin = adversarial_margin(classifier._logits(point), label, targeted=False)
        gradient = tape.gradient(margin, point).numpy()[0]
        direction = np.sign(gradient) if norm == "linf" else gradient / np.linalg.norm(gradient)
        ahead = project(points[place] + STEP * direction)
        # The first step has none before it.
        share, before = (momentum, points[place - 1]) if place else (0.0, start)
        expected = points[place] + (1 - share) * (ahead - points[place]) + share * (points[place] - before)
        np.testing.assert_allclose(points[place + 1], project(expected), atol=2e-5)
    assert start.size == FEATURES


def test_training_takes_the_last_point_of_the_same_steps():
    generator = np.random.default_rng(9)
    images = generator.uniform(0.0, 0.1, (2, *SHAPE)).astype(np.float32)
    start = generator.uniform(-EPSILON, EPSILON, images.shape).astype(np.float32)
    goals = tf.constant([0, 1])
    classifier = wavy()

    def climb(points, goals):
        return loss_slope(classifier, points, goals, targeted=False)

    found = last_iterate(
        climb, images, goals, epsilon=EPSILON, step=STEP, iterations=5, bounds=(0.0, 1.0), start=start
    ).numpy()
    expected = projected(images + start, images, EPSILON, "linf")
    for _ in range(5):
        ahead = expected + STEP * np.sign(climb(tf.constant(expected, tf.float32), goals).gradient.numpy())
        expected = projected(ahead, images, EPSILON, "linf")
    np.testing.assert_allclose(found, expected, atol=1e-5)
