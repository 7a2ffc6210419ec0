"""What a search is given, and what it counts."""

from dataclasses import InitVar, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from advkeras.arrays import BoolArray, FloatArray, IntArray
from advkeras.models.classifier import NO_CLASS


@dataclass(frozen=True)
class Problem:
    """The images that an attack works on: already checked, and those with nothing to attack left out.

    Attributes:
        images: (N, H, W, C) float32.
        goals: (N,) int32: the true classes, to be left; or the targets, to be reached.
        targeted: whether the goals are targets.
        places: (N,) int32, the images' places in the data set, from which their randomness is derived.
    """

    images: FloatArray
    goals: IntArray
    targeted: bool
    places: IntArray

    def __len__(self) -> int:
        return len(self.goals)

    def where(self, chosen: npt.NDArray[Any]) -> "Problem":
        """The images that a mask (N,) or indices choose."""
        return Problem(self.images[chosen], self.goals[chosen], self.targeted, self.places[chosen])


@dataclass
class Tally:
    """Counts an attack's work, one for each image that goes through the network.

    Attributes:
        forwards: single images sent forward only.
        gradients: single images sent forward and backward.
        zero_gradients: (N,) int32, of each of the problem's images, gradients without a direction.
        nonfinite_gradients: (N,) int32, gradients in which something was not finite.
    """

    images: InitVar[int]
    forwards: int = 0
    gradients: int = 0
    zero_gradients: IntArray = field(init=False)
    nonfinite_gradients: IntArray = field(init=False)

    def __post_init__(self, images: int) -> None:
        self.zero_gradients, self.nonfinite_gradients = np.zeros(images, np.int32), np.zeros(images, np.int32)

    def add(self, part: "Tally", chosen: npt.NDArray[Any]) -> None:
        """Adds the work on a part of the images, given by a mask (N,) or by indices, which may be repeated."""
        self.forwards += part.forwards
        self.gradients += part.gradients
        np.add.at(self.zero_gradients, chosen, part.zero_gradients)
        np.add.at(self.nonfinite_gradients, chosen, part.nonfinite_gradients)


def fooled_by(classes: IntArray, goals: IntArray, *, targeted: bool) -> BoolArray:
    """Whether classes (N,) are on the attacker's side. An image that is not classified at all is not."""
    return np.asarray(classes == goals if targeted else (classes != goals) & (classes != NO_CLASS))
