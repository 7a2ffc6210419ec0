"""The .npz files of a run's folder in which people find the examples of each attack on each model."""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from advkeras.errors import InvalidInputError
from advkeras.files import read_arrays_of, write_in_parts
from advkeras.runs.store import Store
from advkeras.runs.unit import Result

_EXAMPLES, _FACTS, _OWN = "adversarials", "facts", "linf"
_COUNTS = ("forward_count", "gradient_count", "seconds")


def write_examples(
    store: Store, name: str, examples: Sequence[str], benign: Sequence[str], facts: Mapping[str, Any]
) -> str:
    """A file of what an attack returned for all images, a slice at a time in memory.

    Args:
        store: of the run.
        name: of the file, without its ending.
        examples: digests of the units, slice by slice.
        benign: of those that know the images and their true classes.
        facts: what else is known, as plain values.

    Returns:
        The file's name: one that is there and of the same units, or a new one.

    Raises:
        InvalidInputError: if it cannot be written, or a result is missing.
    """
    file, written = name_for(store, name, examples)
    if written:
        return file
    small: dict[str, list[npt.NDArray[Any]]] = {}
    counts = dict.fromkeys(_COUNTS, 0)
    for digest, of_benign in zip(examples, benign, strict=True):
        found = _required(store, digest)
        arrays = {**found.arrays, "labels": _required(store, of_benign).arrays["labels"]}
        for key, values in arrays.items():
            if key not in (_EXAMPLES, _OWN):
                small.setdefault(key, []).append(values)
        counts = {key: counts[key] + found.facts[key] for key in _COUNTS}
    pixels = {"images": _pixels(store, benign), _EXAMPLES: _pixels(store, examples)}
    told = facts_of({**facts, **counts}, examples)
    with store.writing(file) as stream:
        write_in_parts(stream, sum(map(len, small["labels"])), {_FACTS: [told], **pixels, **small})
    return file


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
        with path.open("rb") as stream:
            facts = json.loads(str(read_arrays_of(stream, (_FACTS,))[_FACTS]))
    except (OSError, InvalidInputError, ValueError):
        return None
    units = facts.get("units") if isinstance(facts, dict) else None
    return units if isinstance(units, list) else None


def _pixels(store: Store, digests: Sequence[str]) -> Iterator[npt.NDArray[Any]]:
    for digest in digests:
        yield _required(store, digest).arrays[_EXAMPLES]


def _required(store: Store, digest: str) -> Result:
    found = store.result(digest)
    if found is None:
        raise InvalidInputError(f"the result of unit {digest} is damaged: give the command again, and it is made again")
    return found
