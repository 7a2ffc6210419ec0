"""AutoAttack's parts on linear models, whose robust accuracy and least distortion are known."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from advkeras.attacks import APGD, FAB, PGD, AutoAttack, Square, TargetedAPGD
from advkeras.errors import InvalidInputError
from advkeras.models import Classifier
from advkeras.searches.auto_step import AutoState, auto_steps, checkpoints, logit_ratio
from advkeras.searches.ensembles import NO_AIM
from advkeras.searches.fast_boundary import BoundaryState, boundary_steps, onto_hyperplane
from advkeras.searches.problem import Problem

from ..conftest import FEATURES, SHAPE, linear_classifier, to_the_plane
from ..recording import RecordingClassifier, wavy


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
    averaged = AutoAttack(epsilon=0.3, version="rand", iterations=5)(classifier, images, labels)
    assert averaged.attacked.all()
    assert averaged.success.sum() <= 3
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
    # One answer's gradient is mostly noise; the mean of 64 has an eighth of it.
    assert agreement[0] < 0.12
    assert agreement[1] > 0.24


def several_classes():
    """Each wrong class depends on a pixel of its own; that of the second largest logit is twice as far as the next."""
    weights = np.zeros((FEATURES, 4))
    weights[0, 1], weights[1, 2], weights[2, 3] = 0.1, 10.0, 1.0
    return linear_classifier(weights, np.array([0.0, -0.05 - 0.02, -5.0 - 1.0, -0.5 - 5.0]))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_targets_are_the_classes_of_the_largest_logits_one_after_the_other(norm):
    classifier, images = several_classes(), np.full((3, *SHAPE), 0.5, np.float32)
    labels = np.zeros(3, np.int32)
    for targets, epsilon, fooled in ((1, 0.15, False), (1, 0.25, True), (2, 0.15, True)):
        attack = TargetedAPGD(epsilon=epsilon, norm=norm, targets=targets, iterations=20)
        assert (attack(classifier, images, labels).success == fooled).all()
    for targets, least in ((1, 0.2), (2, 0.1), (3, 0.1)):
        result = FAB(norm=norm, targets=targets, iterations=20)(classifier, images, labels)
        np.testing.assert_allclose(np.abs(result.adversarials - images).max(axis=(1, 2, 3)), least, rtol=0.01)
        assert (result.trace.best // 20 == min(targets, 2) - 1).all()


def test_autoattack_is_made_of_the_papers_parts():
    """In their order, with the papers' starts, targets and answers, and all with the seed."""
    names = {
        "standard": ["apgd", "apgd-t", "fab", "square"],
        "plus": ["apgd", "apgd", "fab", "apgd-t", "fab", "square"],
        "rand": ["apgd", "apgd"],
    }
    for version, expected in names.items():
        parts = AutoAttack(epsilon=0.1, version=version, seed=7).parts
        assert [part.name for part in parts] == expected
        assert {part.seed for part in parts} == {7}
        climbs = [part for part in parts if part.name == "apgd"]
        assert [part.loss for part in climbs] == ["cross_entropy", "dlr"][: len(climbs)]
        assert {part.restarts for part in climbs} == {5 if version == "plus" else 1}
        assert {part.samples for part in climbs} == {20 if version == "rand" else 1}
        assert [(part.targets, part.restarts) for part in parts if part.name == "fab"] == {
            "standard": [(9, 1)],
            "plus": [(0, 5), (9, 1)],
            "rand": [],
        }[version]
        assert [(part.queries, part.rescale) for part in parts if part.name == "square"] == (
            [] if version == "rand" else [(5_000, False)]
        )


@pytest.mark.parametrize(
    ("attack", "looks"),
    [
        (PGD(epsilon=0.1, norm="l2", loss="margin", iterations=3, restarts=2), 4),
        (APGD(epsilon=0.1, norm="l2", iterations=3, restarts=2), 4),
    ],
    ids=["pgd", "apgd"],
)
def test_restarts_start_elsewhere_and_the_best_run_counts(attack, looks):
    wave = wavy()
    classifier = RecordingClassifier(lambda flat: wave._logits(flat) + tf.constant([60.0, 0.0, 0.0]))
    found = []
    for seed in range(6):
        image = np.random.default_rng(seed).uniform(0.3, 0.7, (1, *SHAPE)).astype(np.float32)
        classifier.asked.clear()
        result = replace(attack, seed=seed)(classifier, image, np.zeros(1, np.int32))
        points = classifier.points()[1 : 1 + 2 * looks]
        starts = points[[0, looks]] - image.reshape(-1)
        assert np.abs(starts[0] - starts[1]).max() > 0.01
        margins = classifier.answer(points)[:, 1:].max(axis=1) - classifier.answer(points)[:, 0]
        reached = classifier.answer(result.adversarials.reshape(1, -1))[0]
        assert reached[1:].max() - reached[0] == pytest.approx(margins.max(), abs=1e-3)
        found.append(int(margins.argmax() >= looks))
    assert 0 < sum(found) < 6, "either run must have been the best one"


def test_restarts_of_fab_start_half_as_far_away_as_the_nearest_example():
    weights = np.stack([np.zeros(FEATURES), np.linspace(1, 2, FEATURES)], axis=1)
    matrix = tf.constant(weights, tf.float32)
    classifier = RecordingClassifier(lambda flat: (flat - 0.55) @ matrix)
    image = np.full((1, *SHAPE), 0.5, np.float32)
    result = FAB(norm="l2", targets=0, restarts=2, iterations=6)(classifier, image, np.zeros(1, np.int32))
    lengths = np.linalg.norm(classifier.points() - 0.5, axis=1)
    least = 0.05 * weights[:, 1].sum() / np.linalg.norm(weights[:, 1])
    assert np.linalg.norm(result.adversarials - image) == pytest.approx(least, rel=0.02)
    # Beside the image itself, which both the classification and the first run begin with, and points at the boundary.
    assert (np.abs(lengths / least - 0.5) < 0.02).sum() == 1


@pytest.mark.parametrize(("enough", "radius"), [(0.0, 0.1), (0.06, 0.03)])
def test_restarts_of_fab_that_has_found_nothing_stay_within_half_of_what_would_do(enough, radius):
    """Or of a tenth of the range, where nothing is enough."""

    def logits(flat):
        return tf.stack([tf.fill(tf.shape(flat)[:1], 100.0), tf.reduce_sum(flat, axis=1)], axis=1)

    classifier = RecordingClassifier(logits, bounds=(0.0, 2.0))
    image = np.ones((1, *SHAPE), np.float32)
    FAB(targets=0, restarts=2, iterations=1).to_reach(enough)(classifier, image, np.zeros(1, np.int32))
    # The image twice, where the first step led, and then the second start.
    assert np.abs(classifier.points()[3] - 1.0).max() == pytest.approx(radius, rel=1e-4)


@pytest.mark.parametrize("attack", [PGD(epsilon=1, iterations=30), APGD(epsilon=1, iterations=30, restarts=2)])
def test_images_are_attacked_again_unless_they_are_fooled_by_however_little(half_space, grey_images, attack):
    classifier, normal = half_space()
    images = grey_images()
    least = to_the_plane(images, normal, norm="linf")
    far = images[[least.argmax()]]
    for share, begun in ((0.99, 31), (1.01, 0)):
        result = replace(attack, epsilon=float(share * least.max()))(classifier, far, classifier.predict(far))
        assert (result.success.tolist(), result.trace.begun.tolist()) == ([share > 1], [begun])


def test_progress_of_several_runs_is_that_of_all_of_them(half_space, grey_images):
    classifier, _ = half_space()
    images = grey_images(count=5)  # 0.0011, 0.0039, 0.0042, 0.0084 and 0.016 from the plane in L-inf
    labels = classifier.predict(images)
    for attack, expected in (
        (PGD(epsilon=1e-5, iterations=2, batch_size=2), [1, 2, 2, 3, 4, 5, 5]),
        (APGD(epsilon=1e-5, iterations=20, restarts=2), [0, 2, 5]),
        (FAB(iterations=20, restarts=2), [0, 2, 5]),
        (AutoAttack(epsilon=0.006, iterations=20, queries=10), [0, 3, 3, 3, 5]),
    ):
        seen = []
        attack(classifier, images, labels, progress=lambda done, total: seen.append((done, total)))  # noqa: B023
        assert seen == [(done, 5) for done in expected]


def test_a_step_of_fab_is_drawn_towards_the_image():
    """Croce and Hein's equation: a share of the step leads from the image, not from where the run is."""
    generator = np.random.default_rng(2)
    normal = generator.standard_normal(FEATURES)
    classifier = linear_classifier(
        np.stack([np.zeros(FEATURES), normal], axis=1), np.array([0.0, -0.5 * normal.sum() - 0.4])
    )
    image = np.full(FEATURES, 0.5)
    start = image + generator.uniform(-0.05, 0.05, FEATURES)

    def onto(point):
        return -(normal @ point - 0.5 * normal.sum() - 0.4) / (normal @ normal) * normal

    here, there = onto(start), onto(image)
    share = min(np.linalg.norm(here) / (np.linalg.norm(here) + np.linalg.norm(there)), 0.1)
    ahead = (1 - share) * (start + 1.05 * here) + share * (image + 1.05 * there)
    assert normal @ (ahead - 0.5) > 0.4, "it is on the other side, so that the run goes on from nearer to the image"
    problem = Problem(image.reshape(1, *SHAPE).astype(np.float32), np.array([0]), False, np.array([0], np.int32))
    state = BoundaryState.begin(problem, start.reshape(1, *SHAPE).astype(np.float32), np.array([1], np.int32))
    state = boundary_steps(classifier, norm="l2", nearest=False)(
        BoundaryState(*map(tf.constant, state)), tf.constant(1), tf.constant(0.0)
    )
    np.testing.assert_allclose(np.reshape(state.best, -1), ahead, atol=1e-5)
    np.testing.assert_allclose(np.reshape(state.points, -1), image + 0.9 * (ahead - image), atol=1e-5)
