"""The .npz files of a run's folder in which people find the examples of each attack on each model."""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from advkeras import limits
from advkeras.errors import InvalidInputError
from advkeras.evaluation.unit_results import EXAMPLES, LABELS, PIXELS, Holds, result_of
from advkeras.files import write_in_parts
from advkeras.npz import read_arrays
from advkeras.runs.store import Store
from advkeras.runs.unit import Result
from advkeras.searches.trace import ARRAYS, Trace

_EXAMPLES, _FACTS = "adversarials", "facts"
_SMALL = (*(name for name in EXAMPLES.arrays if name not in ("linf", *ARRAYS)), "labels")


def write_examples(
    store: Store, place: str, examples: Sequence[str], benign: Sequence[str], facts: Mapping[str, Any]
) -> str:
    """A file of what an attack returned for all images, a slice at a time in memory.

    Args:
        store: of the run.
        place: of the file, without its ending.
        examples: digests of the units, slice by slice.
        benign: of those that know the images and their true classes.
        facts: what else is known, as plain values.

    Returns:
        The file's name: one that is there and of the same units, or a new one.

    Raises:
        InvalidInputError: if it cannot be written, or a result is missing or holds something else.
    """
    file, written = name_for(store, place, examples)
    if written:
        return file
    small: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in _SMALL}
    counts, traces = dict.fromkeys(EXAMPLES.facts, 0), []
    for digest, of_benign in zip(examples, benign, strict=True):
        labels = _required(store, of_benign, LABELS).arrays["labels"]
        found = _required(store, digest, EXAMPLES, rows=len(labels))
        for name, values in {**found.arrays, "labels": labels}.items():
            if name in small:
                small[name].append(values)
        traces.append((len(labels), Trace.of_arrays(found.arrays)))
        counts = {name: counts[name] + found.facts[name] for name in counts}
    pixels = {"images": _pixels(store, benign), _EXAMPLES: _pixels(store, examples)}
    told = facts_of({**facts, **counts}, examples)
    with store.writing(file) as stream:
        write_in_parts(stream, sum(map(len, small["labels"])), {_FACTS: [told], **pixels, **small, **_joined(traces)})
    return file


def _joined(traces: Sequence[tuple[int, Trace | None]]) -> dict[str, list[npt.NDArray[Any]]]:
    """The arrays of the traces of slices of so many images, as wide as the widest; none where no slice has one."""
    if all(trace is None for _, trace in traces):
        return {}
    whole = [Trace.nothing(count) if trace is None else trace for count, trace in traces]
    width = max(trace.margins.shape[1] for trace in whole)
    return {name: [trace.wider(width).arrays[name] for trace in whole] for name in ARRAYS}


def facts_of(facts: Mapping[str, Any], units: Sequence[str]) -> npt.NDArray[Any]:
    """What is known of a file, and the units that it is made of, as an array."""
    return np.array(json.dumps({**facts, "units": list(units)}))


def name_for(store: Store, name: str, units: Sequence[str]) -> tuple[str, bool]:
    """The name of a file that is made of units, and whether it is there.

    Files that are made of others, of other images for example, keep theirs: a number makes the difference. One that
    cannot be read makes room.
    """
    for number in itertools.count(1):
        file = f"{name}{'' if number == 1 else f'-{number}'}.npz"
        made_of = _units_of(store, file)
        if made_of is None or made_of == list(units):
            return file, made_of is not None
    raise AssertionError


def _units_of(store: Store, file: str) -> list[str] | None:
    path = store.folder / file
    try:
        with limits.opened(path) as stream:
            facts = json.loads(str(read_arrays(stream, (_FACTS,), limit=limits.RECORD)[_FACTS]))
    except (OSError, ValueError, RecursionError):
        return None
    units = facts.get("units") if isinstance(facts, dict) else None
    return units if isinstance(units, list) else None


def _pixels(store: Store, digests: Sequence[str]) -> Iterator[npt.NDArray[Any]]:
    shape = None
    for digest in digests:
        pixels = _required(store, digest, PIXELS).arrays[_EXAMPLES]
        shape = pixels.shape[1:] if shape is None else shape
        if pixels.shape[1:] != shape:
            raise InvalidInputError(
                f"units' results do not fit together: images of shape {shape} and {pixels.shape[1:]}"
            )
        yield pixels


def _required(store: Store, digest: str, kind: Holds, rows: int | None = None) -> Result:
    found = result_of(store.result, digest, kind, rows=rows)
    if found is None:
        raise InvalidInputError(f"the result of unit {digest} is damaged: give the command again, and it is made again")
    return found
