"""Decision boundaries around images: distances, adjacent classes, purity (He, Li and Song, ICLR 2018, section 5)."""

from advkeras.boundary.directions import random_directions
from advkeras.boundary.distances import Boundaries, BoundarySearch
from advkeras.boundary.purity import purity

__all__ = ["Boundaries", "BoundarySearch", "purity", "random_directions"]
