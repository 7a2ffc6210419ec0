"""Auto-PGD's path against a few lines of NumPy, and the loss that it climbs."""

import numpy as np
import pytest
import tensorflow as tf

from advkeras.attacks import APGD
from advkeras.searches.auto_step import checkpoints, logit_ratio

from ..conftest import FEATURES, SHAPE
from ..recording import RecordingClassifier, projected

STEPS = 60


def test_several_answers_that_are_alike_are_as_one(half_space, grey_images):
    classifier, _ = half_space()
    images = grey_images(4)
    one, three = (
        APGD(epsilon=1e-4, norm="l2", iterations=12, samples=samples)(classifier, images, classifier.predict(images))
        for samples in (1, 3)
    )
    np.testing.assert_array_equal(three.trace.steps, one.trace.steps)
    np.testing.assert_allclose(three.trace.margins, one.trace.margins, atol=1e-3)


def landscape(frequency: float) -> RecordingClassifier:
    """Hills and valleys of class 1, none as high as class 0."""
    generator = np.random.default_rng(4)
    inner = tf.constant(frequency * generator.standard_normal((FEATURES, 40)), tf.float32)
    outer = tf.constant(generator.standard_normal(40), tf.float32)

    def logits(flat):
        height = tf.linalg.matvec(tf.sin(flat @ inner), outer)
        return tf.stack([tf.fill(tf.shape(height), 60.0), height], axis=1)

    return RecordingClassifier(logits)


def expected_path(classifier, points, start, epsilon, norm):
    """Where each step should lead, from the points before it, and why steps were halved."""

    def project(point):
        return projected(point, start, epsilon, norm)

    def look(point):
        at = tf.constant(point[None])
        with tf.GradientTape() as tape:
            tape.watch(at)
            height = classifier._logits(at)[0, 1]
        return float(height), tape.gradient(height, at).numpy()[0]

    places, reasons, expected = checkpoints(STEPS), [], []
    step, rises, last, halved, highest, then = 2 * epsilon, 0, 0, False, -np.inf, -np.inf
    top, slope, before, previous = None, None, None, points[0]
    for taken in range(STEPS):
        point = points[taken]
        height, gradient = look(point)
        if height > highest:
            highest, top, slope = height, point, gradient
        rises += taken > 0 and height > before
        before = height
        if taken in places:
            rarely = rises <= 0.75 * (taken - last)
            stuck = last > 0 and not halved and then >= highest
            reasons += ["rarely"] * rarely + ["stuck"] * (stuck and not rarely)
            halved = rarely or stuck
            if halved:
                step, point, gradient = step / 2, top, slope
            rises, last, then = 0, taken, highest
        direction = np.sign(gradient) if norm == "linf" else gradient / np.linalg.norm(gradient)
        ahead = project(point + step * direction)
        # The first step has none before it.
        mixed = ahead if not taken else project(point + 0.75 * (ahead - point) + 0.25 * (point - previous))
        # Where a slope's sign is rounding's, nobody knows.
        expected.append(np.where(np.abs(gradient) > 1e-3 * np.abs(gradient).max(), mixed, np.nan))
        previous = point
    return np.array(expected), reasons


@pytest.mark.parametrize(("norm", "epsilon", "frequency", "seed"), [("linf", 0.1, 1.0, 0), ("l2", 0.6, 1.0, 1)])
def test_each_step_follows_from_the_points_before(norm, epsilon, frequency, seed):
    classifier = landscape(frequency)
    image = np.random.default_rng(seed).uniform(0.0, 1.0, (1, *SHAPE)).astype(np.float32)
    APGD(epsilon=epsilon, norm=norm, iterations=STEPS)(classifier, image, np.zeros(1, np.int32))
    # After the classification of the image and before the verification.
    points = classifier.points()[1 : 2 + STEPS]
    expected, reasons = expected_path(classifier, points, image.reshape(-1), epsilon, norm)
    known = ~np.isnan(expected)
    assert known.mean() > 0.95
    np.testing.assert_allclose(points[1:][known], expected[known], atol=3e-5)
    assert "rarely" in reasons
    assert norm == "linf" or "stuck" in reasons
    offset = points[0] - image.reshape(-1)
    size = np.abs(offset).max() if norm == "linf" else np.linalg.norm(offset)
    assert 0.5 * epsilon < size <= epsilon * 1.0001


def test_the_ratio_of_logits_is_the_papers():
    logits = np.array([[5.0, 3.0, 2.0, -1.0], [1.0, 4.0, 3.5, 2.0]], np.float32)
    free = logit_ratio(tf.constant(logits), tf.constant([0, 1]), tf.constant([-1, -1]), targeted=False)
    np.testing.assert_allclose(free, [-(5 - 3) / (5 - 2), -(4 - 3.5) / (4 - 2)], rtol=1e-5)
    aimed = logit_ratio(tf.constant(logits), tf.constant([0, 1]), tf.constant([2, 0]), targeted=False)
    np.testing.assert_allclose(aimed, [-(5 - 2) / (5 - (2 - 1) / 2), -(4 - 1) / (4 - (2 + 1) / 2)], rtol=1e-5)
