"""Examples so near the boundary that rounding decides on which side of it they are."""

import numpy as np

from advkeras.arrays import FloatArray
from advkeras.attacks.base import Attack
from advkeras.models import Classifier
from advkeras.searches.problem import Problem

# How often, and by what share of its distortion, a candidate that rounding undoes is moved outwards.
_PUSHES, _PUSH = 3, 1e-3


def beyond_rounding(attack: Attack, classifier: Classifier, problem: Problem, candidates: FloatArray) -> FloatArray:
    """Candidates (N, H, W, C), those moved outwards a little that only rounding kept on the attacker's side.

    The search and the verification add up in another order. How far that moves logits has no scale that is known.

    Args:
        attack: that verifies them.
        classifier: what is attacked.
        problem: its images.
        candidates: (N, H, W, C), changed in place; the image itself where nothing was found.
    """
    if classifier.levels is not None:  # A whole step of a pixel is no matter of rounding.
        return candidates
    found = np.flatnonzero((candidates != problem.images).any(axis=(1, 2, 3)))
    for _ in range(_PUSHES):
        found = found[~attack.verify(classifier, problem.where(found), candidates[found])] if len(found) else found
        images = problem.images[found]
        candidates[found] = np.clip(images + (1 + _PUSH) * (candidates[found] - images), *classifier.bounds)
    return candidates
