"""What a search is given, what it counts, and what it records."""

from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from advkeras.arrays import NO_CLASS, BoolArray, FloatArray, IntArray
from advkeras.searches.trace import TraceRecorder


class WeakGradients:
    """Counts, of each of an attack's images, the gradients that gave no direction or were not numbers.

    A part of the images counts for the whole, so parts may be repeated, and parts of parts taken.

    Attributes:
        zero: (N,) int32, of all the images, gradients (of an image's whole ensemble) that were zero everywhere.
        nonfinite: (N,) int32, gradients of which something was NaN or infinite.
    """

    def __init__(self, images: int) -> None:
        self.zero, self.nonfinite = np.zeros(images, np.int32), np.zeros(images, np.int32)
        self._rows = np.arange(images)

    def where(self, chosen: npt.NDArray[Any]) -> "WeakGradients":
        """The same counts, to be added to for the images that a mask or indices choose."""
        part = copy(self)
        part._rows = self._rows[chosen]
        return part

    def add(self, zero: npt.NDArray[Any], nonfinite: npt.NDArray[Any]) -> None:
        """Counts more gradients of each image of this part: (n,) whole numbers, or whether there was one."""
        np.add.at(self.zero, self._rows, zero)
        np.add.at(self.nonfinite, self._rows, nonfinite)


@dataclass(frozen=True)
class Problem:
    """The images that an attack works on: already checked, and those with nothing to attack left out.

    Attributes:
        images: (N, H, W, C) float32.
        goals: (N,) int32: the true classes, to be left; or the targets, to be reached.
        targeted: whether the goals are targets.
        places: (N,) int32, the images' places in the data set, from which their randomness is derived.
        weak: counts gradients that say nothing, for those who look.
        recorder: takes what a search sees, for those who tell.
    """

    images: FloatArray
    goals: IntArray
    targeted: bool
    places: IntArray
    weak: WeakGradients = None  # type: ignore[assignment]
    recorder: TraceRecorder = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.weak is None:
            object.__setattr__(self, "weak", WeakGradients(len(self.goals)))
        if self.recorder is None:
            object.__setattr__(self, "recorder", TraceRecorder(len(self.goals)))

    def __len__(self) -> int:
        return len(self.goals)

    def where(self, chosen: npt.NDArray[Any]) -> "Problem":
        """The images that a mask (N,) or indices choose."""
        return Problem(
            images=self.images[chosen],
            goals=self.goals[chosen],
            targeted=self.targeted,
            places=self.places[chosen],
            weak=self.weak.where(chosen),
            recorder=self.recorder.where(chosen),
        )


def fooled_by(classes: IntArray, goals: IntArray, *, targeted: bool) -> BoolArray:
    """Whether classes (N,) are on the attacker's side. An image that is not classified at all is not."""
    return np.asarray(classes == goals if targeted else (classes != goals) & (classes != NO_CLASS))
