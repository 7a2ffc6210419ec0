"""Types of a record's fields that say more than Python's own; pydantic checks them when a record is read."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from advkeras.errors import require

# Whole numbers that a float holds exactly.
_MOST = 2**53

Count = Annotated[int, Field(ge=0, le=_MOST)]
"""A whole number from 0."""

Positive = Annotated[int, Field(ge=1, le=_MOST)]
"""A whole number from 1."""

Whole = Annotated[int, Field(ge=-(2**64), le=2**64)]
"""A whole number, a seed for example."""

Classes = Annotated[int, Field(ge=1, le=100_000)]
"""How many classes there are."""

Finite = Annotated[float, Field(allow_inf_nan=False)]
"""A number that is neither infinite nor NaN."""

Length = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""A finite number from 0: a distance, a radius, seconds."""

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
"""A number from 0 to 1."""

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
"""A SHA-256, in hexadecimal digits."""


def _increasing(bounds: tuple[float, float]) -> tuple[float, float]:
    require(bounds[0] < bounds[1], "bounds must be increasing", bounds=bounds)
    return bounds


Bounds = Annotated[tuple[Finite, Finite], AfterValidator(_increasing)]
"""The lowest and the highest pixel value."""


def _search(settings: dict[str, Any]) -> dict[str, Any]:
    for name, kind in (("directions", int), ("stride", int), ("step", (int, float)), ("reach", (int, float))):
        value = settings.get(name)
        right = isinstance(value, kind) and not isinstance(value, bool) and 0 < value <= _MOST
        require(right, f"{name} must be a number above 0", **{name: value})
    return settings


Search = Annotated[dict[str, Any], AfterValidator(_search)]
"""The parameters of a search for decision boundaries."""
