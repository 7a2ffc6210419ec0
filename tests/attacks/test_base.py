"""Checks of input and verification of claims."""

import json
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import tensorflow as tf

import advkeras
from advkeras.arrays import NO_CLASS
from advkeras.attacks import (
    APGD,
    FAB,
    FGSM,
    PGD,
    FixedNormAttack,
    HopSkipJump,
    MinimumNormAttack,
    OptBrittle,
    OptLinf,
    OptMargin,
    OptRegion,
    OptStrong,
    Square,
    configure,
    registry,
)
from advkeras.attacks.accuracy import CARD_IMAGES, accuracy, robust_accuracy
from advkeras.datasets import CIFAR10, MNIST, LabelledImages
from advkeras.errors import AdvkerasError, InvalidInputError
from advkeras.evaluation.protocol import Protocol
from advkeras.models import Classifier
from advkeras.proportion import Proportion
from advkeras.searches.decoupled_search import DecoupledSearch
from advkeras.searches.penalty_search import PenaltySearch

from ..conftest import FEATURES, SHAPE, linear_classifier, to_the_plane


@dataclass(frozen=True, kw_only=True)
class Liar(MinimumNormAttack):
    """Claims that the image itself is adversarial, slightly out of bounds."""

    name: ClassVar[str] = "liar"
    title: ClassVar[str] = "Liar"

    def run(self, classifier, problem, progress):
        return problem.images + 1e-3


@dataclass(frozen=True, kw_only=True)
class Cheat(FixedNormAttack):
    """Goes a little farther than its epsilon, as rounding may."""

    share: float = 1.005

    name: ClassVar[str] = "cheat"
    title: ClassVar[str] = "Cheat"

    def run(self, classifier, problem, progress):
        return FGSM(epsilon=self.share * self.epsilon).run(classifier, problem, progress)


def test_every_attack_is_at_hand():
    for name in registry.names():
        attack = registry.get(name)
        assert getattr(advkeras, attack.__name__) is attack
        assert attack.__name__ in advkeras.__all__


def test_a_claim_that_does_not_hold_is_no_success(half_space, grey_images):
    classifier, _ = half_space()
    images = grey_images()
    result = Liar()(classifier, images, classifier.predict(images))
    assert not result.success.any()
    np.testing.assert_array_equal(result.adversarials, images)


def test_an_example_outside_its_ball_is_no_success(half_space, grey_images):
    classifier, _ = half_space()
    images = grey_images()
    labels = classifier.predict(images)
    result = Cheat(epsilon=0.5)(classifier, images, labels)
    assert FGSM(epsilon=0.5)(classifier, images, labels).success.all()
    assert not result.success.any()
    np.testing.assert_array_equal(result.adversarials, images)
    with pytest.raises(AdvkerasError, match="8 of 8 farther away"):
        Cheat(epsilon=0.5, share=1.02)(classifier, images, labels)


def test_a_member_that_is_not_fooled_is_no_success(half_space, grey_images):
    """The projection on the hyperplane fools the classifier, but not an ensemble around it."""
    classifier, _ = half_space()
    images = grey_images()
    labels = classifier.predict(images)
    brittle = OptBrittle()(classifier, images, labels)

    class Brittle(OptMargin):
        def run(self, classifier, problem, progress):
            return brittle.adversarials

    result = Brittle(member_rms=0.1)(classifier, images, labels)
    assert brittle.success.all()
    assert not result.success.any()


def test_images_that_are_wrong_already_are_left_alone(half_space, grey_images):
    classifier, _ = half_space()
    images = grey_images()
    wrong = 1 - classifier.predict(images)
    for attack in (FGSM(epsilon=0.1), OptBrittle()):
        result = attack(classifier, images, wrong)
        assert not result.success.any()
        np.testing.assert_array_equal(result.adversarials, images)
        assert result.gradient_count == 0


def test_images_of_the_target_class_already_are_no_success(half_space, grey_images):
    classifier, _ = half_space()
    images = grey_images()
    classes = classifier.predict(images)
    wrong_labels = 1 - classes
    result = OptBrittle()(classifier, images, wrong_labels, classes)
    assert (result.predictions == classes).all()
    assert not result.success.any()


def test_the_full_search_of_pgd_and_the_one_behind_a_card_are_madrys():
    full = [configure("pgd", spec, full_search=True) for spec in (MNIST, CIFAR10)]
    assert [(pgd.step, pgd.iterations, pgd.losses) for pgd in full] == [
        (0.01, 40, ("cross_entropy",)),
        (2.0, 20, ("cross_entropy",)),
    ]
    cards = [PGD.for_card(spec) for spec in (MNIST, CIFAR10)]
    assert [(pgd.epsilon, pgd.step, pgd.iterations) for pgd in cards] == [(0.3, 0.01, 100), (8.0, 2.0, 20)]


def test_work_is_counted(half_space, grey_images):
    classifier, _ = half_space()
    images = grey_images(count=5)
    labels = classifier.predict(images)
    assert PGD(epsilon=0.1, step=0.01, iterations=7)(classifier, images, labels).gradient_count == 35
    searched = OptMargin(member_rms=0.1, ensemble_size=4, search=PenaltySearch(weight_steps=1, iterations=10))(
        classifier, images, labels
    )
    assert searched.gradient_count == 5 * 4 * 10
    # Before, for candidates that rounding would undo, for the claims, and after.
    assert searched.forward_count == 5 * (1 + 4 + 4 + 1)
    region = OptRegion(radius=0.0, samples=16, members=3, gradients=21)(classifier, images, labels)
    assert region.gradient_count == 5 * 3 * 7
    # A unanimous vote is decided by 9 points of 16, before and after; in between there are 5 looks at 13 points.
    assert region.forward_count == 5 * (9 + 5 * 13 + 9 + 2)


@pytest.mark.parametrize(
    "attack",
    [
        FGSM(epsilon=0.1, batch_size=5),
        PGD(epsilon=0.1, batch_size=5),
        pytest.param(OptBrittle(search=DecoupledSearch(gradients=70), batch_size=5), marks=pytest.mark.slow),
        OptLinf(batch_size=5),
        pytest.param(OptMargin(member_rms=0.1, ensemble_size=4, batch_size=5), marks=pytest.mark.slow),
        OptMargin(member_rms=0.1, ensemble_size=7, batch_size=3),
        pytest.param(OptRegion(radius=0.1, samples=20, gradients=30, batch_size=16), marks=pytest.mark.slow),
        OptRegion(radius=0.1, samples=20, gradients=30, batch_size=2),
    ],
    ids=lambda attack: f"{attack.name}-{attack.batch_size}",
)
def test_no_more_goes_through_the_network_at_once_than_the_batch_size(grey_images, attack):
    sizes = []
    weights = tf.constant(np.random.default_rng(3).standard_normal((FEATURES, 10)), tf.float32)

    def logits(images):
        noted = tf.numpy_function(lambda size: (sizes.append(int(size)), size)[1], [tf.shape(images)[0]], tf.int32)
        with tf.control_dependencies([noted]):
            return tf.reshape(images, (-1, FEATURES)) @ weights

    classifier = Classifier(logits, bounds=(0.0, 1.0), input_shape=SHAPE, name="noting")
    images = grey_images(count=18)
    labels = classifier.predict(images, batch_size=4)
    sizes.clear()
    attack(classifier, images, labels)
    assert max(sizes) <= attack.batch_size


def test_progress_ends_with_everything_done(half_space, grey_images):
    classifier, _ = half_space()
    images = grey_images(count=5)
    for attack in (
        FGSM(epsilon=0.1, batch_size=2),
        OptBrittle(search=DecoupledSearch(gradients=120), batch_size=2),
        Square(epsilon=0.001, queries=20, batch_size=2),
        HopSkipJump(queries=60, batch_size=50),
    ):
        seen = []
        attack(classifier, images, classifier.predict(images), progress=lambda done, total: seen.append((done, total)))  # noqa: B023
        assert seen[-1] == (5, 5)
        assert [done for done, _ in seen] == sorted(done for done, _ in seen)


@pytest.mark.parametrize(
    ("build", "received"),
    [
        (lambda: FGSM(epsilon=-0.1), "epsilon=-0.1"),
        (lambda: PGD(epsilon=0.1, step=0.0), "step=0.0"),
        (lambda: PGD(epsilon=0.1, step=0.1, norm="l1"), "norm='l1'"),
        (lambda: OptBrittle(confidence=-1.0), "confidence=-1.0"),
        (lambda: PGD(epsilon=0.1, loss="dlr"), "loss='dlr'"),
        (lambda: PGD(epsilon=0.1, restarts=2, random_start=False), "restarts=2"),
        (lambda: PGD(epsilon=0.1, momentum=1.0), "momentum=1.0"),
        (lambda: PenaltySearch(weight_steps=0), "weight_steps=0"),
        (lambda: OptMargin(member_rms=0.1, ensemble_size=0), "ensemble_size=0"),
        (lambda: OptBrittle(search="greedy"), "search='greedy'"),
        (lambda: OptBrittle(search=DecoupledSearch(norm="linf")), "norm='linf'"),
        (lambda: OptLinf(search=DecoupledSearch(norm="l2")), "norm='l2'"),
        (lambda: DecoupledSearch(gradients=1), "gradients=1"),
        (lambda: DecoupledSearch(norm="l1"), "norm='l1'"),
        (lambda: OptRegion(radius=-1.0), "radius=-1.0"),
        (lambda: OptRegion(radius=0.1, region="cube"), "did you mean 'hypercube'"),
        (lambda: OptRegion(radius=0.1, combine="mode"), "combine='mode'"),
        (lambda: OptRegion(radius=0.1, share=0.4), "share=0.4"),
        (lambda: Square(epsilon=0.1, queries=0), "queries=0"),
        (lambda: Square(epsilon=0.1, initial_share=0.0), "initial_share=0.0"),
        (lambda: HopSkipJump(queries=0), "queries=0"),
        (lambda: HopSkipJump(initial_samples=0), "initial_samples=0"),
        (lambda: configure("fgsm", MNIST, steps=3), "'steps'"),
        (lambda: configure("optregion", MNIST, confidence=1.0), "'confidence'"),
        (lambda: configure("square", MNIST, jit_compile=True), "'jit_compile'"),
        (lambda: configure("fgsm", MNIST, {"full_search": True}), "'full_search'"),
        (lambda: configure("fgsm", MNIST, {"constants": 1}), "'constants'"),
        (lambda: configure("fgsm", MNIST, {"name": "pgd"}), "'name'"),
        (lambda: Protocol.build(MNIST, epsilon=float("nan")), "epsilon=nan"),
        (lambda: Protocol.build(MNIST, attacks=["optlinf"], epsilon=-0.1), "epsilon=-0.1"),
        (lambda: Protocol.build(MNIST, radius=float("inf")), "radius=inf"),
        (lambda: configure("fgms", MNIST), "did you mean 'fgsm'"),
        (lambda: configure("optbrittle", MNIST, iterations=1), "optbrittle's decoupled search 'iterations'"),
        (lambda: configure("optbrittle", MNIST, search="penalty", gradients=1), "'gradients'"),
        (lambda: configure("optbrittle", MNIST, search="penalties"), "did you mean 'penalty'"),
        (lambda: configure("optbrittle", MNIST, gradients=1.5), "gradients must be a whole number"),
        (lambda: configure("optmargin", MNIST, learning_rate="fast"), "learning_rate must be a number"),
    ],
)
def test_senseless_hyperparameters_are_refused(build, received):
    with pytest.raises(InvalidInputError, match=received):
        build()


def test_the_parameters_of_a_search_are_those_of_the_search_that_is_used():
    assert configure("optbrittle", MNIST, gradients=7).search == DecoupledSearch(gradients=7)
    penalty = configure("optstrong", MNIST, search="penalty", iterations=7).search
    assert penalty == replace(OptStrong.penalty, iterations=7)
    assert configure("optmargin", MNIST, patience=9).search.patience == 9
    assert configure("optmargin", MNIST, search="decoupled").search == OptMargin(member_rms=1.0).search


def test_senseless_data_is_refused(half_space, grey_images):
    classifier, _ = half_space()
    images = grey_images()
    labels = classifier.predict(images)
    attack = FGSM(epsilon=0.1)
    for call, message in (
        (lambda: attack(classifier, images * 255, labels), "pixels in"),
        (lambda: attack(classifier, np.full_like(images, np.nan), labels), "pixels in"),
        (lambda: attack(classifier, images[:, :2], labels), "shape"),
        (lambda: attack(classifier, images, labels[:3]), "labels must be 8"),
        (lambda: attack(classifier, images, labels + 2), "labels must lie in 0...1"),
        (lambda: attack(classifier, images, np.full(8, 2)), "labels must lie in 0...1"),
        (lambda: attack(classifier, images, np.full(8, -1)), "labels must lie in 0...1"),
        (lambda: attack(classifier, images, labels, places=np.arange(-1, 7)), "places must lie in 0"),
        (lambda: attack(classifier, images, labels, places=np.arange(8) + 2**31), "places must lie in 0"),
        (lambda: attack(classifier, images, labels.astype(float)), "whole numbers"),
        (lambda: attack(classifier, images, labels, labels), "targets must differ"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            call()


def test_more_directions_than_features_are_refused(half_space, grey_images):
    classifier, _ = half_space()
    images = grey_images()
    with pytest.raises(InvalidInputError, match="24 features"):
        OptMargin(member_rms=0.1, ensemble_size=30)(classifier, images, classifier.predict(images))


def test_what_an_attack_returns_is_checked_before_it_is_judged(half_space, grey_images):
    classifier, _ = half_space()
    images = grey_images()

    class Broken(Liar):
        def run(self, classifier, problem, progress):
            candidates = problem.images.copy()
            candidates[1, 0, 0, 0] = np.nan
            return candidates

    class Short(Liar):
        def run(self, classifier, problem, progress):
            return problem.images[1:]

    labels = classifier.predict(images)
    with pytest.raises(InvalidInputError, match="NaN or infinite ones in 1 of 8"):
        Broken()(classifier, images, labels)
    with pytest.raises(InvalidInputError, match="candidates of shape"):
        Short()(classifier, images, labels)


def nothing_where_it_is_bright(images):
    """Logits that are NaN above a mean of 0.7."""
    mean = tf.reduce_mean(images, axis=[1, 2, 3])
    return tf.where(mean[:, None] > 0.7, np.nan, tf.stack([tf.ones_like(mean), mean], axis=1))


def test_what_is_not_classified_is_no_success():
    """NaN is not the true class, and not a wrong one either."""
    classifier = Classifier(nothing_where_it_is_bright, bounds=(0.0, 1.0), input_shape=SHAPE, name="gaps")
    images = np.full((3, *SHAPE), 0.6, np.float32)
    assert (classifier.predict(images + 0.2) == NO_CLASS).all()
    for attack in (
        FGSM(epsilon=0.2),
        PGD(epsilon=0.2),
        OptBrittle(),
        OptMargin(member_rms=0.01, ensemble_size=3),
        OptRegion(radius=0.01, samples=20, gradients=30),
        APGD(epsilon=0.2, iterations=5),
        FAB(iterations=5),
        Square(epsilon=0.2, queries=20),
        HopSkipJump(queries=60),
        HopSkipJump(queries=60).starting_at(images + 0.2),
    ):
        result = attack(classifier, images, np.zeros(3, np.int32))
        assert result.attacked.all()
        assert not result.success.any(), attack
    with pytest.raises(InvalidInputError, match="returns NaN for 8 of 8"):
        Classifier(
            lambda x: np.nan * nothing_where_it_is_bright(x), bounds=(0.0, 1.0), input_shape=SHAPE, name="nothing"
        )


def test_what_is_not_classified_is_not_attacked_towards_a_target():
    classifier = Classifier(nothing_where_it_is_bright, bounds=(0.0, 1.0), input_shape=SHAPE, name="gaps")
    images = np.stack([np.full(SHAPE, value, np.float32) for value in (0.6, 0.8)])
    result = FGSM(epsilon=0.05)(classifier, images, np.zeros(2, np.int32), np.ones(2, np.int32))
    np.testing.assert_array_equal(result.attacked, [True, False])
    np.testing.assert_array_equal(result.adversarials[1], images[1])


def test_accuracies_are_the_shares_that_are_right(half_space, grey_images):
    classifier, normal = half_space()
    images = grey_images(count=20)
    labels = classifier.predict(images)
    labels[:4] = 1 - labels[:4]
    data = LabelledImages(images, labels, "made up", "test")
    assert accuracy(classifier, data) == Proportion(16, 20)
    least = to_the_plane(images, normal, norm="linf")
    epsilon = float(np.median(least))
    left = (least > epsilon) & (np.arange(20) >= 4)
    assert robust_accuracy(classifier, data, FGSM(epsilon=epsilon)) == Proportion(int(left.sum()), 20)
    assert CARD_IMAGES == {"mnist": 1_000, "cifar10": 10_000}


def test_hopskipjump_walks_past_what_is_not_classified():
    """What lies between the two classes gives NaN."""

    def logits(images):
        first = tf.reshape(images, (-1, FEATURES))[:, :1]
        other = tf.concat([tf.zeros_like(first), first - 0.7], axis=1)
        return tf.where((first > 0.55) & (first < 0.7), np.nan, other)

    classifier = Classifier(logits, bounds=(0.0, 1.0), input_shape=SHAPE, name="gap")
    images = np.full((4, *SHAPE), 0.5, np.float32)
    result = HopSkipJump(queries=400)(classifier, images, np.zeros(4, np.int32))
    assert result.success.all()
    assert (result.predictions == 1).all()


def test_the_penalty_search_leaves_an_image_as_it_was_where_it_finds_nothing():
    classifier = linear_classifier(np.zeros((FEATURES, 2)), np.array([2.0, 0.0]), bounds=(-0.5, 0.5))
    images = np.random.default_rng(0).uniform(-0.5, 0.5, (4, *SHAPE)).astype(np.float32)
    search = PenaltySearch(weight_steps=1, iterations=5)
    result = OptBrittle(search=search)(classifier, images, np.zeros(4, np.int32))
    np.testing.assert_array_equal(result.adversarials, images)
    # Before, for the claims, and after: nothing was found that rounding could have undone.
    assert result.forward_count == 3 * 4


def test_numbers_of_numpy_are_hyperparameters_that_json_takes():
    config = PGD(epsilon=np.float32(0.25), iterations=np.int64(3)).get_config()
    assert json.loads(json.dumps(config))["epsilon"] == 0.25
