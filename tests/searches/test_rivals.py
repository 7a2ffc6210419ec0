"""Which wrong classes look nearest."""

import numpy as np
import pytest

from advkeras.searches import rivals
from advkeras.searches.ensembles import NO_AIM
from advkeras.searches.problem import Problem

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
