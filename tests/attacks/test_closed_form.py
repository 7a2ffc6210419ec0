"""Every attack on models whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import norm

from advkeras.attacks import APGD, FGSM, PGD, OptBrittle, OptMargin, OptMimic, OptRegion, OptStrong
from advkeras.models import Classifier
from advkeras.searches.decoupled_search import DecoupledSearch
from advkeras.searches.gradients import adversarial_margin
from advkeras.searches.penalty_search import PenaltySearch

from ..conftest import FEATURES, SHAPE, linear_classifier, to_the_plane
from ..grids import grid

BOUNDS = [(0.0, 1.0), (0.0, 255.0), (-1.0, 3.0)]
PENALTY = PenaltySearch(learning_rate=0.02, initial_weight=1.0, weight_steps=6, iterations=300)
DECOUPLED = DecoupledSearch(gradients=50)
# Each search, and by how much its distortion may exceed the least one.
SEARCHES = {"penalty": (PENALTY, 1.05), "decoupled": (DECOUPLED, 1.02)}
BY_EITHER = pytest.mark.parametrize(("search", "excess"), SEARCHES.values(), ids=SEARCHES)


@pytest.mark.parametrize("bounds", BOUNDS)
def test_fgsm_steps_along_the_sign_of_the_normal(half_space, grey_images, bounds):
    classifier, normal = half_space(bounds=bounds)
    images = grey_images(bounds=bounds)
    labels = classifier.predict(images)
    epsilon = 0.1 * (bounds[1] - bounds[0])
    result = FGSM(epsilon=epsilon)(classifier, images, labels)
    away = np.where(labels == 0, 1, -1)[:, None, None, None] * np.sign(normal).reshape(SHAPE)
    np.testing.assert_allclose(result.adversarials, images + epsilon * away, rtol=1e-4, atol=1e-4)
    reachable = to_the_plane(images, normal, bounds) < 0.1 * np.abs(normal).sum()
    np.testing.assert_array_equal(result.success, reachable)


def test_pgd_linf_reaches_the_corner_of_the_ball(half_space, grey_images):
    classifier, normal = half_space()
    images = grey_images()
    labels = classifier.predict(images)
    result = PGD(epsilon=0.1, step=0.02, iterations=20)(classifier, images, labels)
    away = np.where(labels == 0, 1, -1)[:, None, None, None] * np.sign(normal).reshape(SHAPE)
    np.testing.assert_allclose(result.adversarials, images + 0.1 * away, atol=1e-5)


def test_pgd_l2_moves_along_the_normal(half_space, grey_images):
    classifier, normal = half_space()
    images = grey_images()
    labels = classifier.predict(images)
    result = PGD(epsilon=0.3, step=0.1, iterations=60, norm="l2")(classifier, images, labels)
    away = np.where(labels == 0, 1, -1)[:, None, None, None] * normal.reshape(SHAPE)
    np.testing.assert_allclose(result.adversarials, images + 0.3 * away, atol=2e-3)


@pytest.mark.parametrize(
    ("bounds", "kind"),
    grid(BOUNDS, SEARCHES, fast=[(BOUNDS[2], "penalty"), *((bounds, "decoupled") for bounds in BOUNDS)]),
)
def test_optbrittle_finds_the_projection_on_the_hyperplane(half_space, grey_images, bounds, kind):
    search, excess = SEARCHES[kind]
    classifier, normal = half_space(bounds=bounds)
    images = grey_images(bounds=bounds)
    result = OptBrittle(search=search)(classifier, images, classifier.predict(images))
    least = to_the_plane(images, normal, bounds) / np.sqrt(FEATURES) * (bounds[1] - bounds[0])
    assert result.success.all()
    assert (result.distortion >= least * 0.999).all()
    assert (result.distortion <= least * excess + (excess - 1) / 50 * (bounds[1] - bounds[0])).all()


@pytest.mark.parametrize("bounds", BOUNDS)
def test_the_decoupled_search_finds_the_projection_within_the_bounds(half_space, bounds):
    """Most pixels of these images meet a bound on their way; the projection on the box's part is by bisection."""
    classifier, normal = half_space(bounds=bounds)
    low, high = bounds
    scaled = np.random.default_rng(11).choice([0.0, 0.03, 0.97, 1.0], (8, FEATURES))
    images = (low + scaled * (high - low)).reshape(8, *SHAPE).astype(np.float32)
    labels = classifier.predict(images)
    result = OptBrittle()(classifier, images, labels)
    away = np.where(labels == 0, 1, -1)
    assert result.success.all()
    for image, sign, distortion in zip(scaled, away, result.distortion, strict=True):
        near, far = 0.0, 100.0
        for _ in range(100):
            step = (near + far) / 2
            reached = sign * (np.clip(image + step * sign * normal, 0, 1) - 0.5) @ normal > 0
            near, far = (near, step) if reached else (step, far)
        nearest = np.clip(image + far * sign * normal, 0, 1)
        least = np.sqrt(((nearest - image) ** 2).mean()) * (high - low)
        assert (np.abs(nearest - image) > 1e-9).mean() > 0.2
        assert least * 0.999 <= distortion <= least * 1.02


@BY_EITHER
def test_optstrong_goes_beyond_the_hyperplane_by_its_confidence(half_space, grey_images, search, excess):
    scale, confidence = 20.0, 3.0
    classifier, normal = half_space(scale=scale)
    images = grey_images()
    labels = classifier.predict(images)
    result = OptStrong(confidence=confidence, search=search)(classifier, images, labels)
    least = (to_the_plane(images, normal, (0.0, 1.0)) + confidence / scale) / np.sqrt(FEATURES)
    assert result.success.all()
    assert (
        adversarial_margin(classifier.logits(result.adversarials), labels, targeted=False).numpy() >= confidence
    ).all()
    assert (result.distortion >= least * 0.999).all()
    assert (result.distortion <= least * excess).all()


@BY_EITHER
def test_a_confidence_out_of_reach_is_no_success(half_space, grey_images, search, excess):
    classifier, _ = half_space()
    images = grey_images()
    result = OptStrong(confidence=1000.0, search=search)(classifier, images, classifier.predict(images))
    assert not result.success.any()
    np.testing.assert_array_equal(result.adversarials, images)
    np.testing.assert_array_equal(result.distortion, 0)


@pytest.mark.parametrize(
    ("bounds", "kind"), grid(BOUNDS[:2], SEARCHES, fast=[(BOUNDS[0], "penalty"), (BOUNDS[1], "decoupled")])
)
def test_optmargin_goes_as_far_as_its_farthest_member(half_space, grey_images, bounds, kind):
    search, excess = SEARCHES[kind]
    classifier, normal = half_space(bounds=bounds)
    width = bounds[1] - bounds[0]
    images = grey_images(bounds=bounds)
    labels = classifier.predict(images)
    attack = OptMargin(member_rms=0.05 * width, ensemble_size=8, search=search)
    result = attack(classifier, images, labels)
    away = np.where(labels == 0, 1, -1)
    along = attack.members(classifier).reshape(8, FEATURES) @ normal / width
    least = (to_the_plane(images, normal, bounds) + (-away[:, None] * along[None]).max(axis=1)) / np.sqrt(FEATURES)
    assert result.success.all()
    assert (result.distortion >= least * width * 0.999).all()
    assert (result.distortion <= least * width * excess).all()


def test_the_authors_distance_scale_hardly_minimises_the_distortion(half_space, grey_images):
    classifier, _ = half_space()
    images = grey_images()
    labels = classifier.predict(images)
    search = replace(PENALTY, weight_steps=3, iterations=100)
    as_printed, as_published = (
        OptMargin(member_rms=0.05, ensemble_size=8, search=replace(search, distance_scale=scale))(
            classifier, images, labels
        )
        for scale in (1.0, 255.0**2)
    )
    assert as_published.success.all()
    assert as_published.distortion.mean() > as_printed.distortion.mean()


def test_the_ensembles_perturbations_are_orthogonal_and_of_the_given_rms(half_space):
    classifier, _ = half_space()
    members = OptMargin(member_rms=0.2, ensemble_size=10).members(classifier).reshape(10, FEATURES)
    gram = members @ members.T / FEATURES
    np.testing.assert_allclose(gram, np.diag([0.2**2] * 9 + [0.0]), atol=1e-6)


@pytest.mark.parametrize(
    "attack",
    [
        FGSM(epsilon=0.3),
        pytest.param(PGD(epsilon=0.3, step=0.05, iterations=20), marks=pytest.mark.slow),
        PGD(epsilon=1.5, step=0.3, iterations=20, norm="l2"),
        OptStrong(confidence=1.0, search=PENALTY),
        *(
            pytest.param(attack, marks=pytest.mark.slow)
            for attack in (OptBrittle(search=PENALTY), OptMargin(member_rms=0.05, ensemble_size=4, search=PENALTY))
        ),
        OptBrittle(search=DECOUPLED),
        OptStrong(confidence=1.0, search=DECOUPLED),
        OptMargin(member_rms=0.05, ensemble_size=4, search=DECOUPLED),
        APGD(epsilon=0.3, iterations=20),
        APGD(epsilon=1.5, iterations=20, norm="l2", loss="dlr"),
    ],
    ids=lambda attack: f"{attack.name}-{getattr(attack, 'norm', '')}{type(getattr(attack, 'search', None)).__name__}",
)
def test_targeted_attacks_reach_their_target(grey_images, attack):
    weights = np.linalg.qr(np.random.default_rng(3).standard_normal((FEATURES, 3)))[0] * 20
    classifier = linear_classifier(weights, -weights.sum(axis=0) / 2)
    images = grey_images()
    labels = classifier.predict(images)
    targets = (labels + 1) % 3
    result = attack(classifier, images, labels, targets)
    assert result.success.all()
    np.testing.assert_array_equal(result.predictions, targets)


@BY_EITHER
def test_targeted_optbrittle_finds_the_nearest_point_of_the_targets_cell(grey_images, search, excess):
    """With three orthogonal logits the target's cell is bounded by two hyperplanes; scipy finds its nearest point."""
    from scipy.optimize import minimize

    weights = np.linalg.qr(np.random.default_rng(3).standard_normal((FEATURES, 3)))[0] * 20
    classifier = linear_classifier(weights, -weights.sum(axis=0) / 2)
    images = grey_images(count=3)
    labels = classifier.predict(images)
    targets = (labels + 1) % 3
    result = OptBrittle(search=search)(classifier, images, labels, targets)
    for image, target, distortion in zip(images, targets, result.distortion, strict=True):
        flat = image.reshape(-1).astype(np.float64)
        others = [index for index in range(3) if index != target]
        normals = (weights[:, [target]] - weights[:, others]).T
        margins = {"type": "ineq", "fun": lambda x, a=normals: a @ (x - 0.5), "jac": lambda x, a=normals: a}
        nearest = minimize(
            lambda x, f=flat: ((x - f) ** 2).sum(), flat, jac=lambda x, f=flat: 2 * (x - f), constraints=[margins]
        )
        least = np.sqrt(nearest.fun / FEATURES)
        assert least * 0.999 <= distortion <= least * excess + (excess - 1) / 50


RADII = {"hypercube": 0.1, "ball": 0.3, "gaussian": 0.06}


def spread_along_a_line(region, radius):
    """Standard deviation of a region's offsets along any direction of length 1."""
    return radius * {"hypercube": 1 / np.sqrt(3), "ball": 1 / np.sqrt(FEATURES + 2), "gaussian": 1.0}[region]


@pytest.mark.parametrize(
    ("region", "combine", "targeted"),
    grid(
        RADII,
        ["majority", "mean_softmax", "mean_logits"],
        [False, True],
        fast=[
            ("hypercube", "majority", False),
            ("hypercube", "mean_logits", True),
            ("ball", "mean_softmax", False),
        ],
    ),
)
def test_optregion_goes_as_far_as_the_regions_vote_needs(half_space, grey_images, region, combine, targeted):
    """Along the normal, the offsets' share beyond the hyperplane is known (close to Gaussian for the two others)."""
    share, radius = 0.7, RADII[region]
    classifier, normal = half_space(scale=300.0)
    images = grey_images()
    labels = classifier.predict(images)
    attack = OptRegion(
        radius=radius,
        region=region,
        combine=combine,
        share=share,
        members=32,
        gradients=1600,
        samples=2000,
        batch_size=4096,
    )
    result = attack(classifier, images, labels, 1 - labels if targeted else None)
    spread = spread_along_a_line(region, radius)
    lead = 2 * share - 1
    # Logits grow in proportion to the distance; with steep logits a probability is nearly a vote.
    beyond = lead / np.sqrt(1 - lead**2) if combine == "mean_logits" else norm.ppf(share)
    least = (to_the_plane(images, normal, (0.0, 1.0)) + beyond * spread) / np.sqrt(FEATURES)
    assert result.attacked.all()
    assert result.success.all()
    # Of 1,600 points at a look, the share's standard error is 0.0115, about 0.033 spreads.
    slack = 0.16 * spread / np.sqrt(FEATURES)
    assert (result.distortion >= least - slack).all()
    assert (result.distortion <= least * 1.02 + slack).all()


@pytest.mark.parametrize(("bounds", "targeted"), grid(BOUNDS, [False, True], fast=[(BOUNDS[2], True)]))
def test_optmimic_goes_until_walks_stay_beyond_the_hyperplane(half_space, grey_images, bounds, targeted):
    share, reach = 0.85, 0.06
    low, high = bounds
    classifier, normal = half_space(scale=300.0, bounds=bounds)
    images = grey_images(bounds=bounds)
    labels = classifier.predict(images)
    attack = OptMimic(
        reach=reach * (high - low), share=share, members=32, gradients=1600, samples=2000, batch_size=4096
    )
    result = attack(classifier, images, labels, 1 - labels if targeted else None)
    # How far along the normal a walk goes: a random direction's cosine, times a length that is uniform.
    generator = np.random.default_rng(0)
    drawn = generator.standard_normal((400_000, FEATURES))
    cosines = drawn[:, 0] / np.linalg.norm(drawn, axis=1)
    walks = cosines * generator.uniform(0, reach, len(drawn)) * np.sqrt(FEATURES)
    from_image = to_the_plane(images, normal, bounds)
    # Of 1,600 points at a look, the share's standard error is 0.009; a slack of three to either side.
    least, expected, most = (
        (from_image + np.quantile(walks, share + slack)) / np.sqrt(FEATURES) for slack in (-0.027, 0, 0.027)
    )
    assert result.success.all()
    distortion = result.distortion / (high - low)
    assert (distortion >= least).all()
    assert (distortion <= most * 1.02).all()
    np.testing.assert_allclose(distortion.mean(), expected.mean(), rtol=0.03)


def test_optmimic_is_judged_by_fresh_surroundings_as_well():
    """A thin layer of class 1 within class 0: a point of it is misclassified, and what surrounds it is not."""
    direction = np.ones(FEATURES) / np.sqrt(FEATURES)

    def thin_layer(images):
        along = tf.reshape(images - 0.5, (-1, FEATURES)) @ tf.constant(direction[:, None], tf.float32)
        return tf.concat([tf.zeros_like(along), 100 * (0.03 - tf.abs(along - 0.1))], axis=1)

    classifier = Classifier(thin_layer, bounds=(0.0, 1.0), input_shape=SHAPE, name="layer")
    images = np.full((2, *SHAPE), 0.5, np.float32)
    labels = np.zeros(2, np.int32)
    inside = OptMimic(reach=0.001)(classifier, images, labels)
    assert inside.success.all()
    np.testing.assert_allclose(inside.distortion, 0.07 / np.sqrt(FEATURES), rtol=0.05)
    assert not OptMimic(reach=0.4)(classifier, images, labels).success.any()


def test_optregion_attacks_what_the_region_gets_right():
    """A thin slab of class 0 through mid-grey: an image within it has class 0, and its region votes for class 1."""
    direction = np.ones(FEATURES) / np.sqrt(FEATURES)

    def thin_slab(images):
        along = tf.reshape(images - 0.5, (-1, FEATURES)) @ tf.constant(direction[:, None], tf.float32)
        return tf.concat([tf.zeros_like(along), 100 * (tf.abs(along) - 0.002)], axis=1)

    classifier = Classifier(thin_slab, bounds=(0.0, 1.0), input_shape=SHAPE, name="slab")
    images = np.full((2, *SHAPE), 0.5, np.float32)
    result = OptRegion(radius=0.1)(classifier, images, np.array([1, 0]))
    np.testing.assert_array_equal(result.benign_predictions, [0, 0])
    np.testing.assert_array_equal(result.attacked, [True, False])
    assert not result.success[1]
    np.testing.assert_array_equal(result.adversarials[1], images[1])


@pytest.mark.parametrize(
    "attack",
    [
        OptBrittle(search=DecoupledSearch(gradients=50)),
        OptMargin(member_rms=1e-4, ensemble_size=2, search=DecoupledSearch(gradients=100)),
        OptRegion(radius=1e-4, samples=40),
        pytest.param(OptMimic(reach=1e-4, samples=40, share=0.7), marks=pytest.mark.slow),
    ],
    ids=lambda attack: attack.name,
)
def test_the_nearest_class_is_found_though_another_one_leads(attack):
    """Class 1 leads by logits and is reached 0.2 away along one axis; class 2, 0.05 away along another."""
    towards = np.zeros((3, FEATURES), np.float32)
    towards[1, 0], towards[2, 1] = 5.0, 40.0
    gaps = np.array([0.0, 5 * 0.2, 40 * 0.05], np.float32)

    def logits(images):
        return tf.reshape(images - 0.5, (-1, FEATURES)) @ tf.constant(towards.T) - gaps

    classifier = Classifier(logits, bounds=(0.0, 1.0), input_shape=SHAPE, name="two ways")
    images = np.full((3, *SHAPE), 0.5, np.float32)
    result = attack(classifier, images, np.zeros(3, np.int32))
    assert (result.predictions == 2).all()
    np.testing.assert_allclose(result.distortion, 0.05 / np.sqrt(FEATURES), rtol=0.03)
