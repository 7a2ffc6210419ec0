"""What a model is worth under all attacks of a run together, image by image."""

from collections.abc import Sequence

import numpy as np

from advkeras.arrays import BoolArray, linf, slack
from advkeras.attacks.base import Attack
from advkeras.attacks.families import MinimumNormAttack
from advkeras.evaluation.distortion import summary
from advkeras.evaluation.examples import Examples
from advkeras.evaluation.results import WorstCase
from advkeras.proportion import Proportion
from advkeras.searches.problem import fooled_by


def worst_case(
    found: Sequence[tuple[Attack, Examples]], *, epsilon: float, bounds: tuple[float, float]
) -> WorstCase | None:
    """The accuracy left by all attacks together, and the least distortion over all that make it small.

    Whatever attack made it, an example counts where it is misclassified and, for the accuracy, lies within epsilon.

    Args:
        found: each attack with its examples, all of the same images.
        epsilon: L-inf, in pixel units.
        bounds: lowest and highest pixel value.

    Returns:
        None without attacks.
    """
    if not found:
        return None
    first = found[0][1]
    right = first.benign_predictions == first.labels
    left = right.copy()
    least = np.full(len(right), np.inf)
    for attack, examples in found:
        left &= ~_fooled_within(examples, epsilon, bounds)
        if isinstance(attack, MinimumNormAttack):
            wrong = right & _fooled(examples)
            least = np.where(wrong, np.minimum(least, examples.distortion), least)
    reached = np.isfinite(least)
    return WorstCase(
        epsilon=epsilon,
        within=Proportion(int(left.sum()), len(right)),
        success=Proportion(int(reached.sum()), int(right.sum())),
        distortion=summary(least[reached]),
    )


def accuracy_within(examples: Examples, epsilon: float, bounds: tuple[float, float]) -> Proportion:
    """The share of images for which no misclassified example was found within epsilon, L-inf."""
    right = (examples.benign_predictions == examples.labels) & ~_fooled_within(examples, epsilon, bounds)
    return Proportion(int(right.sum()), len(right))


def _fooled_within(examples: Examples, epsilon: float, bounds: tuple[float, float]) -> BoolArray:
    return _fooled(examples) & (linf(examples.adversarials - examples.images) <= epsilon + slack(bounds))


def _fooled(examples: Examples) -> BoolArray:
    return fooled_by(examples.predictions, examples.labels, targeted=False)
