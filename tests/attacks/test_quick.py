"""The quick attack on linear models, whose robust accuracy is known, and where its gradients go."""

import numpy as np
import pytest

from advkeras.attacks import QuickAttack

from ..conftest import FEATURES, SHAPE, linear_classifier, to_the_plane


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_it_leaves_the_exact_robust_accuracy(half_space, grey_images, norm, targeted):
    classifier, normal = half_space()
    images = grey_images(count=60)
    labels = classifier.predict(images)
    least = to_the_plane(images, normal, norm=norm)
    for epsilon in np.quantile(least, [0.2, 0.8]):
        attack = QuickAttack(epsilon=float(epsilon), norm=norm, gradients=60)
        result = attack(classifier, images, labels, 1 - labels if targeted else None)
        clear = np.abs(least / epsilon - 1) > 2e-3
        np.testing.assert_array_equal(result.success[clear], least[clear] < epsilon)


def test_images_that_are_fooled_take_no_more_gradients(half_space, grey_images):
    classifier, normal = half_space()
    images = grey_images(count=40)
    labels = classifier.predict(images)
    farthest = to_the_plane(images, normal, norm="linf").max()
    near = QuickAttack(epsilon=float(2 * farthest))(classifier, images, labels)
    assert near.success.all()
    assert near.gradient_count <= 10 * len(images)
    far = QuickAttack(epsilon=float(farthest / 1_000))(classifier, images, labels)
    assert not far.success.any()
    assert 100 * len(images) < far.gradient_count <= QuickAttack(epsilon=0.1).passes.gradients * len(images)


def test_images_that_are_left_are_searched_towards_the_nearest_class():
    """The class of the second largest logit is flat: a search towards whichever class leads climbs a hill too low."""
    weights = np.zeros((FEATURES, 3))
    weights[0] = [0.0, 0.0, 10.0]
    classifier = linear_classifier(weights, np.array([1.0, 0.999, -7.0]), shape=SHAPE)
    images = np.full((4, *SHAPE), 0.5, np.float32)
    labels = classifier.predict(images)
    assert (labels == 0).all()
    result = QuickAttack(epsilon=0.31)(classifier, images, labels)
    assert result.success.all()
    assert (result.predictions == 2).all()
