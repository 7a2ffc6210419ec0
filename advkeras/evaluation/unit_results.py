"""What the results of a study's units hold, checked before they are put together: a run's folder may be anybody's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from advkeras.errors import InvalidInputError
from advkeras.runs.unit import Find, Result
from advkeras.searches.trace import ARRAYS as TRACE

_BOOLEANS, _WHOLE, _FLOATS = "b", "i", "f"
# Of a single unit: passes, and seconds.
_MOST = 2**43


@dataclass(frozen=True)
class Holds:
    """What a kind of units gives.

    Attributes:
        arrays: by name, the kinds of their number types; all of them have as many rows.
        facts: names of numbers from 0, whole ones where they are counts.
        axes: for an array, how many it has; one by default.
        optional: names of arrays that may be missing, all together.
    """

    arrays: Mapping[str, str]
    facts: Sequence[str] = ()
    axes: Mapping[str, int] = field(default_factory=dict)
    optional: Sequence[str] = ()


LABELS = Holds({"labels": _WHOLE})
EXAMPLES = Holds(
    {
        "success": _BOOLEANS,
        "attacked": _BOOLEANS,
        "distortion": _FLOATS,
        "linf": _FLOATS,
        "predictions": _WHOLE,
        "benign_predictions": _WHOLE,
        "zero_gradients": _WHOLE,
        "nonfinite_gradients": _WHOLE,
        **dict.fromkeys(TRACE, _WHOLE),
        "trace_margins": _FLOATS,
    },
    ("forward_count", "gradient_count", "seconds"),
    {"trace_margins": 2},
    TRACE,
)
PIXELS = Holds({"adversarials": _FLOATS, "distortion": _FLOATS}, axes={"adversarials": 4})
VOTES = Holds({"classes": _WHOLE}, ("seconds",))
RECHECK = Holds(
    {"success": _BOOLEANS, "success_again": _BOOLEANS, "distance": _FLOATS, "distance_again": _FLOATS}, ("seconds",)
)
ANSWERS = Holds({"right": _BOOLEANS, "differs": _BOOLEANS, "change": _FLOATS, "saturated": _BOOLEANS})
UNCONSTRAINED = Holds({"success": _BOOLEANS, "attacked": _BOOLEANS})
ACTIVE = Holds({"success": _BOOLEANS, "usable": _BOOLEANS})
TRANSFER = Holds({"fooled": _BOOLEANS})
WALKS = Holds(
    {"rows": _WHOLE, "distances": _FLOATS, "adjacent": _WHOLE, "classes": _WHOLE},
    ("forward_count", "seconds"),
    {"distances": 2, "adjacent": 2},
)
AGREEMENT = Holds({"agreement": _FLOATS})
SCORES = Holds({"scores": _FLOATS})


def result_of(find: Find, digest: str, *kinds: Holds, rows: int | None = None) -> Result | None:
    """A unit's result; None where there is none.

    Args:
        find: units' results.
        digest: of the unit.
        kinds: what the result holds.
        rows: so many each of its arrays has.

    Raises:
        InvalidInputError: if it holds something else.
    """
    found = find(digest)
    if found is None:
        return None
    for kind in kinds:
        wrong = _wrong_with(found, kind, rows)
        if wrong:
            raise InvalidInputError(
                f"the result of unit {digest[:16]} is not what such units give ({wrong}): delete units/{digest}.npz"
            )
    return found


def joined(parts: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Arrays of several units, one behind the other.

    Raises:
        InvalidInputError: if they do not fit together.
    """
    if len({part.shape[1:] for part in parts}) > 1:
        raise InvalidInputError(f"units' results do not fit together: {parts[0].shape} and others")
    return np.concatenate(parts)


def _wrong_with(result: Result, kind: Holds, rows: int | None) -> str:
    lengths: set[int] = set() if rows is None else {rows}
    left_out = () if any(name in result.arrays for name in kind.optional) else kind.optional
    for name, kinds in kind.arrays.items():
        if name in left_out:
            continue
        values = result.arrays.get(name)
        if values is None:
            return f"no array {name}"
        if values.dtype.kind not in kinds or values.ndim != kind.axes.get(name, 1):
            return f"{name} of shape {values.shape} and type {values.dtype}"
        lengths.add(len(values))
    if len(lengths) > 1:
        return f"arrays of {' and '.join(map(str, sorted(lengths)))} rows"
    for name in kind.facts:
        value = result.facts.get(name)
        types = int if name.endswith("_count") else (int, float)
        if isinstance(value, bool) or not isinstance(value, types) or not 0 <= value < _MOST:
            return f"no number {name}"
    return ""
