"""Decision boundaries around images: distances, adjacent classes, purity (He, Li and Song, ICLR 2018, section 5)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from advkeras.boundary.found import Boundaries
from advkeras.boundary.purity import purity

if TYPE_CHECKING:
    from advkeras.boundary.directions import random_directions
    from advkeras.boundary.distances import BoundarySearch

__all__ = ["Boundaries", "BoundarySearch", "purity", "random_directions"]

# Looking at what was found does not need TensorFlow; a search does.
_SEARCHING = {"BoundarySearch": "distances", "random_directions": "directions"}


def __getattr__(name: str) -> Any:
    if name in _SEARCHING:
        return getattr(import_module(f"advkeras.boundary.{_SEARCHING[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
