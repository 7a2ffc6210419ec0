"""What a model is worth under all attacks of a run together, image by image."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from advkeras.attacks.base import Attack, FloatArray, MinimumNormAttack
from advkeras.evaluation.distortion import summary
from advkeras.evaluation.examples import Examples
from advkeras.evaluation.results import WorstCase
from advkeras.proportion import Proportion


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
    slack = 1e-5 * (bounds[1] - bounds[0])
    left = right.copy()
    least = np.full(len(right), np.inf)
    for attack, examples in found:
        wrong = right & (examples.predictions != examples.labels)
        left &= ~(wrong & (linf(examples) <= epsilon + slack))
        if isinstance(attack, MinimumNormAttack):
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
    slack = 1e-5 * (bounds[1] - bounds[0])
    fooled = (examples.predictions != examples.labels) & (linf(examples) <= epsilon + slack)
    right = (examples.benign_predictions == examples.labels) & ~fooled
    return Proportion(int(right.sum()), len(right))


def linf(examples: Examples) -> FloatArray:
    """The largest change of a pixel, of each example: (N,)."""
    difference: npt.NDArray[np.float32] = np.abs(examples.adversarials - examples.images)
    return np.asarray(difference.reshape(len(difference), -1).max(axis=1), np.float32)
