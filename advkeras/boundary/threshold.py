"""Where a detector's score parts benign from adversarial."""

from typing import Any

import numpy as np
import numpy.typing as npt


def balanced_threshold(benign: npt.NDArray[Any], adversarial: npt.NDArray[Any]) -> float:
    """The score above which an image is taken for adversarial so that neither kind of error is frequent.

    Of all thresholds it is one at which the larger of the two shares, benign images above and adversarial examples not
    above, is least; in the middle between two scores.

    Args:
        benign: scores of benign images, (N,), at least one.
        adversarial: scores of adversarial examples, (M,), at least one.
    """
    values = np.unique(np.concatenate([benign, adversarial]).astype(np.float64))
    between = np.concatenate([[values[0] - 1.0], (values[1:] + values[:-1]) / 2, [values[-1] + 1.0]])
    alarms = 1.0 - np.searchsorted(np.sort(benign), between, side="right") / len(benign)
    misses = np.searchsorted(np.sort(adversarial), between, side="right") / len(adversarial)
    return float(between[int(np.argmin(np.maximum(alarms, misses)))])
