"""What a search for decision boundaries finds, as arrays; nothing needs TensorFlow."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from advkeras.arrays import NO_CLASS, FloatArray, IntArray


@dataclass(frozen=True)
class Boundaries:
    """What a search has found around images.

    Attributes:
        distances: (N, D) float32, RMS in pixel units; infinite where no boundary was met.
        adjacent: (N, D) int32, the class beyond the boundary; -1 where none was met.
        classes: (N,) int32, the classes of the images themselves.
        forward_count: single images sent forward.
        seconds: wall-clock time, compilation included.
    """

    distances: FloatArray
    adjacent: IntArray
    classes: IntArray
    forward_count: int
    seconds: float

    @property
    def met(self) -> npt.NDArray[np.bool_]:
        """(N, D), where a boundary was met."""
        return np.asarray(self.adjacent != NO_CLASS)

    def where(self, chosen: npt.NDArray[np.bool_]) -> "Boundaries":
        """Those of the images for which a mask (N,) is true."""
        return replace(
            self, distances=self.distances[chosen], adjacent=self.adjacent[chosen], classes=self.classes[chosen]
        )
