"""A single search: which images are searched with all members of an ensemble."""

import numpy as np

from advkeras.arrays import no_progress
from advkeras.randomness import derive_seeds
from advkeras.searches.ensembles import FixedEnsemble
from advkeras.searches.problem import Problem
from advkeras.searches.single_search import SingleSearch

from ..conftest import SHAPE


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
