"""The distortion of several examples as one figure with its interval."""

from typing import Any

import numpy as np

from advkeras.evaluation.results import Distortion

_Z_95 = 1.959964


def summary(values: Any) -> Distortion | None:
    """Mean and median of distortions, with the normal interval of a mean; None without any."""
    if not len(values):
        return None
    mean = float(np.mean(values, dtype=np.float64))
    median = float(np.median(values))
    if len(values) == 1:
        return Distortion(mean=mean, low=None, high=None, median=median)
    half = _Z_95 * float(np.std(values, ddof=1)) / float(np.sqrt(len(values)))
    return Distortion(mean=mean, low=max(0.0, mean - half), high=mean + half, median=median)
