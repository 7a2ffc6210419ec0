"""Which wrong classes look nearest, and which image is searched with all members."""

import numpy as np
import pytest

from advkeras.arrays import no_progress
from advkeras.randomness import derive_seeds
from advkeras.searches import rivals
from advkeras.searches.ensembles import NO_AIM, FixedEnsemble
from advkeras.searches.problem import Problem
from advkeras.searches.single_search import SingleSearch

from ..conftest import FEATURES, SHAPE, linear_classifier


@pytest.mark.parametrize(("norm", "dual"), [("l2", 2), ("linf", 1)])
def test_wrong_classes_are_ranked_by_the_distances_of_their_hyperplanes(norm, dual):
    generator = np.random.default_rng(5)
    weights = generator.standard_normal((FEATURES, 4)) * [1, 4, 2, 3]
    classifier = linear_classifier(weights, -weights.sum(axis=0) / 2)
    images = generator.uniform(0.3, 0.7, (6, *SHAPE)).astype(np.float32)
    labels, logits = classifier.predict(images), classifier.logits(images)
    gaps = logits[np.arange(6), labels][:, None] - logits
    slopes = np.linalg.norm(weights.T[labels][:, None] - weights.T[None], ord=dual, axis=2)
    least = np.sort(np.where(slopes > 0, gaps / np.where(slopes > 0, slopes, 1), np.inf), axis=1)
    problem = Problem(images, labels, False, np.arange(6, dtype=np.int32))
    classes, distances = rivals.nearest(classifier, problem, np.full(6, NO_AIM), norm=norm, batch_size=4)
    np.testing.assert_allclose(distances, least[:, :3], rtol=1e-3)
    _, others = rivals.nearest(classifier, problem, classes[:, 0], norm=norm, batch_size=4)  # where one has been
    np.testing.assert_allclose(others, np.column_stack([least[:, 1:3], np.full(6, np.inf)]), rtol=1e-3)
    assert not problem.weak.zero.any()


def test_images_on_which_a_few_members_find_nothing_are_searched_with_all(half_space):
    """One member of twenty wants four times the distance; it is looked at first, and not again until it is too late."""
    classifier, normal = half_space()
    away = normal.reshape(SHAPE).astype(np.float32)
    offsets = np.zeros((20, *SHAPE), np.float32)
    offsets[0] = -0.15 * away
    images = np.repeat((0.5 - 0.05 * away)[None], 3, axis=0).astype(np.float32)
    problem = Problem(images, np.zeros(3, np.int32), False, np.arange(3, dtype=np.int32))
    ensemble = FixedEnsemble(bounds=(0.0, 1.0), targeted=False, offsets=offsets, clip=False, confidence=0.0)
    network = classifier.counted
    before = network.passes.gradients
    search = SingleSearch(classifier=network, ensemble=ensemble, norm="l2", batch_size=256)
    seeds = derive_seeds(0, "a", places=problem.places)
    state = search.once(problem, iterations=10, seeds=seeds, progress=no_progress)
    assert ((state.best_norm >= 0.2 * 0.999) & (state.best_norm < 0.22)).all()
    assert network.passes.gradients - before == 3 * (5 * 4 + 5 * 20 + 10 * 20)
