"""Neither the logits' nor the pixels' scale, nor a gradient that is no number, decides what an attack finds."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import tensorflow as tf

from advkeras.attacks import (
    APGD,
    FAB,
    FGSM,
    PGD,
    AutoAttack,
    OptBrittle,
    OptLinf,
    OptMargin,
    OptMimic,
    OptRegion,
    OptStrong,
    QuickAttack,
    TargetedAPGD,
    names,
)
from advkeras.attacks.registry import get
from advkeras.attacks.surroundings import SurroundingsAttack
from advkeras.errors import InvalidInputError
from advkeras.models import Classifier
from advkeras.searches.decoupled_search import DecoupledSearch
from advkeras.searches.geometry import length, unit
from advkeras.searches.gradients import cross_entropy_margin, slope
from advkeras.searches.penalty_search import PenaltySearch

from ..conftest import FEATURES, SHAPE
from ..grids import grid

GENERATOR = np.random.default_rng(4)
HIDDEN = GENERATOR.standard_normal((FEATURES, 16)) * 1.5
OUTER = GENERATOR.standard_normal((16, 4)) * 3
IMAGES = GENERATOR.uniform(0.1, 0.9, (12, *SHAPE)).astype(np.float32)
# By the range of the pixels; what is in logits, or relative to them, comes along with them.
ATTACKS = [
    FGSM(epsilon=0.1),
    PGD(epsilon=0.05, iterations=8),
    PGD(epsilon=0.2, iterations=8, norm="l2"),
    OptLinf(search=DecoupledSearch(gradients=20, norm="linf")),
    OptBrittle(search=DecoupledSearch(gradients=90)),
    OptStrong(confidence=0.5, search=DecoupledSearch(gradients=20)),
    OptMargin(member_rms=0.05, ensemble_size=4, search=DecoupledSearch(gradients=20)),
    OptRegion(radius=0.1, samples=40, gradients=60),
    OptMimic(reach=0.05, samples=40, gradients=60, share=0.7),
    QuickAttack(epsilon=0.05, gradients=20),
    QuickAttack(epsilon=0.2, gradients=20, norm="l2"),
    APGD(epsilon=0.05, iterations=8),
    APGD(epsilon=0.2, iterations=8, norm="l2", loss="dlr"),
    TargetedAPGD(epsilon=0.05, iterations=8),
    FAB(iterations=10),
    FAB(iterations=10, norm="l2"),
    AutoAttack(epsilon=0.05, iterations=8, queries=10),
    FAB(iterations=5, targets=0, restarts=2),
    OptBrittle(search=PenaltySearch(iterations=60, weight_steps=3)),
]
# FGSM, PGD, OptBrittle, OptMargin, OptRegion, APGD, FAB and the penalty search: the others run the same compiled loops.
OF_DIFFERENT_LOOPS = (0, 1, 4, 6, 7, 11, 14, 18)
UNITS = [(-1.0, 1.0), (0.0, 255.0), (0.0, 1e-3)]
SCALES = [1e-3, 1e3, 10.0]


# Of the logits; a variable, so that the attacks' graphs are built once for all scales.
SCALE = tf.Variable(1.0, trainable=False)


def network(bounds=(0.0, 1.0), first=lambda pixels: pixels):
    """Two layers with tanh between; the same function of pixels scaled to [0, 1] whatever the bounds."""
    low, high = bounds

    def logits(images):
        pixels = first((images - low) / (high - low))
        hidden = tf.tanh(tf.reshape(pixels - 0.5, (-1, FEATURES)) @ tf.constant(HIDDEN, tf.float32))
        return SCALE * (hidden @ tf.constant(OUTER, tf.float32))

    return Classifier(logits, bounds=bounds, input_shape=SHAPE, name="network")


def in_unit(attack, width):
    """The attack with its lengths in another pixel unit."""
    lengths = ("epsilon", "member_rms", "radius", "reach")
    return replace(attack, **{name: getattr(attack, name) * width for name in lengths if hasattr(attack, name)})


def on_logits(attack, scale):
    """The attack with what it has in logits, or relative to them, for logits on another scale."""
    if isinstance(attack, OptStrong):
        return replace(attack, confidence=attack.confidence * scale)
    search = getattr(attack, "search", None)
    if isinstance(search, PenaltySearch):
        return replace(attack, search=replace(search, initial_weight=search.initial_weight / scale))
    return attack


@pytest.fixture(scope="module")
def plain():
    return network()


@pytest.fixture(scope="module")
def gamma():
    return network(first=tf.sqrt)


@pytest.fixture(scope="module")
def labels(plain):
    return plain.predict(IMAGES)


@pytest.fixture(scope="module")
def on_plain(plain, labels):
    """What an attack finds on the plain network, once for all tests."""
    return cache(lambda place: ATTACKS[place](plain, IMAGES, labels))


@pytest.fixture
def scaled():
    yield SCALE.assign
    SCALE.assign(1.0)


@pytest.mark.parametrize(
    ("place", "scale"),
    grid(range(len(ATTACKS)), SCALES, fast=[(place, SCALES[place % len(SCALES)]) for place in range(len(ATTACKS))]),
)
def test_the_scale_of_the_logits_changes_nothing(place, scale, plain, labels, on_plain, scaled):
    attack, first = ATTACKS[place], on_plain(place)
    adapted = on_logits(attack, scale)
    unscaled = plain.logits(IMAGES)
    scaled(scale)
    np.testing.assert_allclose(plain.logits(IMAGES), scale * unscaled, rtol=1e-4)
    second = adapted(plain, IMAGES, labels)
    assert first.success.any()
    np.testing.assert_array_equal(second.success, first.success)
    np.testing.assert_allclose(second.distortion, first.distortion, rtol=0.02)


@pytest.mark.parametrize(
    ("place", "bounds"),
    grid(range(len(ATTACKS)), UNITS, fast=[(place, UNITS[place % len(UNITS)]) for place in range(len(ATTACKS))]),
)
def test_the_unit_of_the_pixels_changes_nothing(place, bounds, labels, on_plain):
    attack, other, first = ATTACKS[place], network(bounds=bounds), on_plain(place)
    low, width = bounds[0], bounds[1] - bounds[0]
    second = in_unit(attack, width)(other, (low + width * IMAGES).astype(np.float32), labels)
    np.testing.assert_array_equal(second.success, first.success)
    np.testing.assert_allclose(second.distortion / width, first.distortion, rtol=0.02)


def test_cross_entropy_has_its_direction_where_float32_rounds_it_away():
    """The true class leads by 60 logits: in float32 its probability is 1, and its part of softmax - onehot is gone."""
    answers = np.array([70.0, 10.0, 9.5])
    weights = np.linalg.qr(np.random.default_rng(0).standard_normal((FEATURES, 3)))[0]
    pixels = tf.zeros((1, FEATURES))

    def direction(values):
        values = np.asarray(values, np.float64)
        return values / np.linalg.norm(values)

    def exact(temperature):
        """Of softmax - onehot in float64, where the true class's part is minus the sum of the others'."""
        wrong = np.exp((answers[1:] - answers[0]) / temperature)
        return direction(weights @ np.array([-wrong.sum(), *wrong]))

    with tf.GradientTape(persistent=True) as tape:
        tape.watch(pixels)
        logits = pixels @ tf.constant(weights, tf.float32) + tf.constant(answers[None], tf.float32)
        rounded = tf.nn.sparse_softmax_cross_entropy_with_logits([0], logits)
        ours = cross_entropy_margin(logits, tf.constant([0]), targeted=False)
    assert direction(tape.gradient(rounded, pixels).numpy()[0]) @ exact(1.0) < 0.9
    found = direction(tape.gradient(ours, pixels).numpy()[0])
    np.testing.assert_allclose(found, exact(np.std(answers) / 10), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("size", [1e-30, 1e-3, 1e30])
def test_lengths_neither_vanish_nor_overflow(size):
    values = tf.constant(np.full((2, *SHAPE), size), tf.float32)
    np.testing.assert_allclose(length(values), size * np.sqrt(FEATURES), rtol=1e-5)
    np.testing.assert_allclose(unit(values), 1 / np.sqrt(FEATURES), rtol=1e-5)
    assert not unit(tf.zeros((1, *SHAPE))).numpy().any()


@pytest.mark.parametrize(
    ("place", "black"), grid(range(len(ATTACKS)), [1, 3], fast=[(place, 1) for place in OF_DIFFERENT_LOOPS])
)
def test_a_gradient_that_is_not_finite_somewhere_is_used_where_it_is(place, black, gamma):
    """A network that begins with a gamma correction has an infinite gradient where a pixel is 0."""
    images = IMAGES.copy()
    images[:, :black, 0, 0] = 0.0
    plain = ATTACKS[place]
    attack = replace(plain, epsilon=0.3) if hasattr(plain, "epsilon") else plain
    if isinstance(attack, OptMargin):
        attack = replace(attack, clip_members=True)  # of a negative pixel the network makes NaN
    result = attack(gamma, images, gamma.predict(images))
    assert np.isfinite(result.adversarials).all()
    # Points around an image need not have the pixel that is 0.
    assert result.nonfinite_gradients.any() or isinstance(attack, SurroundingsAttack)
    assert result.success.mean() > 0.8


def test_what_is_infinite_counts_as_the_largest_of_its_image_and_nan_as_nothing():
    inf, nan = np.inf, np.nan
    gradient = np.array([[1, -3, inf, -inf], [nan, 0, 2, nan], [-inf, nan, nan, 0], [nan, 0, 0, 0]], np.float32)
    found = slope(tf.zeros(4), tf.constant(gradient[:, None, :, None]))
    expected = [[1, -3, 3, -3], [0, 0, 2, 0], [-1, 0, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(found.gradient[:, 0, :, 0], expected)
    np.testing.assert_array_equal(found.zero, [False, False, False, True])
    np.testing.assert_array_equal(found.nonfinite, True)


@pytest.mark.parametrize("name", names())
def test_a_classifier_without_a_gradient_by_its_pixels_is_refused_by_name(name):
    classifier = network(first=lambda pixels: tf.round(255 * pixels) / 255)
    attack = next((each for each in ATTACKS if each.name == name), None)
    if attack is None:
        assert not get(name).needs_gradient
        return
    with pytest.raises(InvalidInputError, match="network gives none by its pixels: use hopskipjump or square"):
        attack(classifier, IMAGES, classifier.predict(IMAGES))


def test_where_a_gradient_is_zero_an_attack_goes_on_and_says_so(plain, labels):
    """Logits behind a ReLU: around mid-grey all are 0, and class 0 is the answer to a tie."""

    def logits(images):
        along = tf.reshape(images - 0.5, (-1, FEATURES)) @ tf.constant(HIDDEN[:, :3], tf.float32)
        return tf.nn.relu(along - [[9.0, 0.3, 0.3]])

    classifier = Classifier(logits, bounds=(0.0, 1.0), input_shape=SHAPE, name="rectified")
    images = np.full((4, *SHAPE), 0.5, np.float32)
    zeros = np.zeros(4, np.int32)
    step = FGSM(epsilon=0.3)(classifier, images, zeros)
    assert not step.success.any()
    np.testing.assert_array_equal(step.zero_gradients, 1)
    for attack in (PGD(epsilon=0.3), OptBrittle(), OptLinf()):
        result = attack(classifier, images, zeros)
        assert result.success.all(), attack
        assert result.zero_gradients.any(), attack
    healthy = PGD(epsilon=0.05)(plain, IMAGES, labels)
    assert not healthy.zero_gradients.any()
    assert not healthy.nonfinite_gradients.any()


def test_seeds_and_lengths_build_no_new_graphs(plain, labels):
    # The region's radius belongs to its shape, and its votes' graphs are of one shape.
    attacks = [attack for attack in ATTACKS if not isinstance(attack, SurroundingsAttack)]
    others = [in_unit(replace(attack, seed=1), 1.5) for attack in attacks]
    others += [replace(attack, seed=1) for attack in ATTACKS]
    for attack in ATTACKS:
        attack(plain, IMAGES, labels)
    built = dict(plain._graphs)
    traces = {key: function.experimental_get_tracing_count() for key, function in built.items()}
    for attack in others:
        attack(plain, IMAGES, labels)
    assert plain._graphs == built
    assert {key: function.experimental_get_tracing_count() for key, function in built.items()} == traces
