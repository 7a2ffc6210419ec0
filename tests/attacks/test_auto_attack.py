"""AutoAttack's parts on linear models, whose robust accuracy and least distortion are known."""

import numpy as np
import pytest
import tensorflow as tf

from advkeras.attacks import APGD, FAB, AutoAttack, Square, TargetedAPGD
from advkeras.errors import InvalidInputError
from advkeras.models import Classifier
from advkeras.searches.auto_step import AutoState, auto_steps, checkpoints, logit_ratio
from advkeras.searches.ensembles import NO_AIM
from advkeras.searches.fast_boundary import onto_hyperplane
from advkeras.searches.problem import Problem
from advkeras.searches.squares import bump

from ..conftest import FEATURES, SHAPE, linear_classifier, to_the_plane


def test_checkpoints_are_the_papers():
    assert checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert checkpoints(1) == [1]


@pytest.mark.parametrize("attack", [APGD, TargetedAPGD])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_auto_pgd_reaches_the_exact_robust_accuracy(half_space, grey_images, attack, norm):
    classifier, normal = half_space()
    images = grey_images(count=60)
    labels = classifier.predict(images)
    least = to_the_plane(images, normal, norm=norm)
    for epsilon in np.quantile(least, [0.2, 0.5, 0.8]):
        result = attack(epsilon=float(epsilon), norm=norm, iterations=30)(classifier, images, labels)
        clear = np.abs(least / epsilon - 1) > 1e-3
        np.testing.assert_array_equal(result.success[clear], least[clear] < epsilon)


@pytest.mark.parametrize("targets", [9, 0])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_fab_finds_the_least_distortion_within_the_bounds(half_space, norm, targets):
    """Most pixels of half of these images meet a bound on their way."""
    classifier, normal = half_space()
    scaled = np.random.default_rng(11).choice([0.0, 0.03, 0.97, 1.0], (8, FEATURES))
    scaled[4:] = np.random.default_rng(7).uniform(0.4, 0.6, (4, FEATURES))
    images = scaled.reshape(8, *SHAPE).astype(np.float32)
    labels = classifier.predict(images)
    result = FAB(norm=norm, targets=targets, restarts=1 if targets else 2)(classifier, images, labels)
    assert result.success.all()
    change = (result.adversarials - images).reshape(8, -1)
    found = np.abs(change).max(axis=1) if norm == "linf" else np.linalg.norm(change, axis=1)
    for image, label, distance in zip(scaled, labels, found, strict=True):
        sign = 1 if label == 0 else -1
        step = sign * (normal if norm == "l2" else np.sign(normal))
        near, far = 0.0, 100.0
        for _ in range(100):
            middle = (near + far) / 2
            reached = sign * (np.clip(image + middle * step, 0, 1) - 0.5) @ normal > 0
            near, far = (near, middle) if reached else (middle, far)
        nearest = np.clip(image + far * step, 0, 1) - image
        least = np.abs(nearest).max() if norm == "linf" else np.linalg.norm(nearest)
        assert least * 0.999 <= distance <= least * 1.02


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_move_onto_a_hyperplane_is_no_longer_than_it_must_be(norm):
    generator = np.random.default_rng(3)
    points = generator.choice([0.0, 0.02, 0.5, 1.0], (20, 4, 4, 3)).astype(np.float32)
    normal = generator.standard_normal((20, 4, 4, 3)).astype(np.float32)
    value = generator.uniform(-3, 3, 20).astype(np.float32)
    moves = onto_hyperplane(points, normal, value, (0.0, 1.0), norm).numpy()
    assert ((points + moves >= -1e-6) & (points + moves <= 1 + 1e-6)).all()
    np.testing.assert_allclose((normal * moves).sum(axis=(1, 2, 3)), -value, rtol=1e-3, atol=1e-3)


def test_attacks_that_choose_their_targets_take_none(half_space, grey_images):
    classifier, _ = half_space()
    images = grey_images()
    labels = classifier.predict(images)
    for attack in (TargetedAPGD(epsilon=0.1), FAB()):
        with pytest.raises(InvalidInputError, match="chooses its targets itself"):
            attack(classifier, images, labels, 1 - labels)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_fab_goes_towards_the_class_whose_boundary_is_nearest(norm):
    """The class of the second largest logit is farther away than another one."""
    generator = np.random.default_rng(5)
    weights = generator.standard_normal((FEATURES, 4)) * [0, 8, 1, 4]
    classifier = linear_classifier(weights, np.array([0.0, -4, -0.5, -2]) * weights.sum(axis=0) / [1, 8, 1, 4])
    images = generator.uniform(0.3, 0.7, (12, *SHAPE)).astype(np.float32)
    labels = classifier.predict(images)
    logits, dual = classifier.logits(images), 1 if norm == "linf" else 2
    gaps = logits[np.arange(12), labels][:, None] - logits
    slopes = np.linalg.norm(weights.T[labels][:, None] - weights.T[None], ord=dual, axis=2)
    least = np.where(slopes > 0, gaps / np.where(slopes > 0, slopes, 1), np.inf).min(axis=1)
    result = FAB(norm=norm, targets=0)(classifier, images, labels)
    change = (result.adversarials - images).reshape(12, -1)
    found = np.abs(change).max(axis=1) if norm == "linf" else np.linalg.norm(change, axis=1)
    np.testing.assert_allclose(found, least, rtol=0.02)


@pytest.mark.parametrize("version", ["standard", "plus", "rand"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_autoattack_leaves_the_exact_robust_accuracy(half_space, grey_images, norm, version):
    classifier, normal = half_space()
    images = grey_images(count=40)
    labels = classifier.predict(images)
    least = to_the_plane(images, normal, norm=norm)
    epsilon = float(np.median(least))
    attack = AutoAttack(epsilon=epsilon, norm=norm, version=version, iterations=20, queries=100)
    result = attack(classifier, images, labels)
    clear = np.abs(least / epsilon - 1) > 1e-3
    np.testing.assert_array_equal(result.success[clear], (least < epsilon)[clear])
    parts = [part(classifier, images, labels).success for part in attack.parts[:2]]
    np.testing.assert_array_equal(result.success[clear], np.logical_or(*parts)[clear])
    assert result.gradient_count <= len(images) * attack.passes.gradients


def test_square_in_l2_finds_what_is_half_as_far_away_as_it_may_look():
    """Its windows are hills and valleys of three pixels and more: finer normals are out of its reach."""
    shape = (20, 20, 1)
    rows, columns = np.meshgrid(*(np.linspace(0, 2 * np.pi, 20),) * 2, indexing="ij")
    normal = (np.sin(rows) * np.cos(columns)).reshape(-1)
    normal /= np.linalg.norm(normal)
    weights = np.stack([np.zeros(normal.size), 20 * normal], axis=1)
    classifier = linear_classifier(weights, np.array([0.0, -10 * normal.sum()]), shape=shape)
    images = (0.5 + np.random.default_rng(7).uniform(-0.1, 0.1, (30, *shape))).astype(np.float32)
    labels = classifier.predict(images)
    least = to_the_plane(images, normal)
    epsilon = float(np.quantile(least, 0.8))
    result = Square(epsilon=epsilon, queries=1_000, norm="l2")(classifier, images, labels)
    assert not (result.success & (least > epsilon)).any()
    assert result.success[least < 0.5 * epsilon].all()


@pytest.mark.parametrize("side", [1, 2, 3, 4, 5, 8, 11])
def test_a_bump_has_length_one_and_as_much_above_as_below(side):
    assert np.linalg.norm(bump(side)) == pytest.approx(1)
    if side % 2 == 0:
        assert bump(side).sum() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_few_classes_have_a_ratio_of_logits_that_can_be_climbed(classes):
    """Users of other libraries meet NaN, or a gradient of zero, where there is no third or fourth class."""
    values = np.random.default_rng(0).standard_normal((5, classes)).astype(np.float32)
    goals = tf.constant([0, 1, 0, 1, 0])
    values[np.arange(5), goals] = values.max(axis=1) + 0.5
    logits = tf.Variable(values)
    for aims in (tf.fill([5], -1), 1 - goals):
        with tf.GradientTape() as tape:
            ratio = logit_ratio(logits, goals, aims, targeted=False)
        gradient = tape.gradient(ratio, logits).numpy()
        assert np.isfinite(gradient).all()
        assert (np.abs(gradient).max(axis=1) > 0.01).all()
        if classes == 4:
            scaled = logit_ratio(7.0 * logits, goals, aims, targeted=False)
            np.testing.assert_allclose(scaled, ratio, rtol=1e-5)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_auto_pgds_steps_become_short_enough_for_a_summit_within_the_ball(norm):
    """A hill whose summit fools nobody: a path of long steps would jump over it for ever."""
    summit = np.linspace(0.42, 0.58, FEATURES, dtype=np.float32).reshape(SHAPE)

    def logits(images):
        height = -0.1 - 50 * tf.reduce_sum((images - summit) ** 2, axis=[1, 2, 3])
        return tf.stack([tf.zeros_like(height), height], axis=1)

    classifier = Classifier(logits, bounds=(0.0, 1.0), input_shape=SHAPE, name="hill")
    images = np.full((3, *SHAPE), 0.5, np.float32)
    attack = APGD(epsilon=0.3 if norm == "linf" else 2.0, norm=norm)
    result = attack(classifier, images, np.zeros(3, np.int32))
    assert not result.success.any()
    assert np.abs(result.adversarials - summit).max() < 0.01


def test_a_classifier_that_answers_at_random_is_fooled_where_the_mean_of_its_answers_is():
    """No point fools it; one answer in three is wrong."""
    generator = tf.random.Generator.from_seed(1)

    def logits(images):
        lead = 0.4 + generator.normal((tf.shape(images)[0],)) + 0.01 * tf.reduce_mean(images, axis=[1, 2, 3])
        return tf.stack([lead, tf.zeros_like(lead)], axis=1)

    classifier = Classifier(logits, bounds=(0.0, 1.0), input_shape=SHAPE, name="random")
    images, labels = np.full((20, *SHAPE), 0.5, np.float32), np.zeros(20, np.int32)
    assert AutoAttack(epsilon=0.3, version="rand", iterations=5)(classifier, images, labels).success.sum() <= 3
    assert APGD(epsilon=0.3, iterations=5)(classifier, images, labels).success.sum() >= 3


def test_losses_and_gradients_are_means_over_samples(half_space):
    """Noise that is larger than the gradient hides it from one answer, not from many."""
    _, normal = half_space()
    generator = tf.random.Generator.from_seed(1)
    points = tf.constant(normal.reshape(SHAPE), tf.float32)

    def logits(images):
        noise = generator.normal((tf.shape(images)[0], *SHAPE), stddev=3.0)
        lead = tf.reduce_sum((images - 0.5) * (points + noise), axis=[1, 2, 3])
        return tf.stack([tf.zeros_like(lead), lead], axis=1)

    noisy = Classifier(logits, bounds=(0.0, 1.0), input_shape=SHAPE, name="noisy")
    images = np.full((16, *SHAPE), 0.5, np.float32)
    labels = np.zeros(16, np.int32)
    problem = Problem(images, labels, False, np.arange(16, dtype=np.int32))
    agreement = []
    for samples in (1, 64):
        state = AutoState.begin(problem, images, np.full(16, NO_AIM, np.int32))
        step = auto_steps(noisy, iterations=1, norm="l2", loss="cross_entropy", targeted=False, samples=samples)
        gradient = step(type(state)(*map(tf.constant, state)), tf.constant(0.1)).highest_gradient.numpy()
        cosines = (gradient * points.numpy()).sum(axis=(1, 2, 3)) / np.linalg.norm(gradient.reshape(16, -1), axis=1)
        agreement.append(cosines.mean())
    assert agreement[1] > 3 * abs(agreement[0])
