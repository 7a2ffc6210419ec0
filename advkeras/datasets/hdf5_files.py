"""HDF5 files of arrays, of which only slices are read, and nothing that lies elsewhere."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from advkeras import limits
from advkeras.datasets.array_parts import Part
from advkeras.datasets.normal_form import Array
from advkeras.errors import InvalidInputError, first_line, plain_text
from advkeras.npz import require_file

# Arrays that are looked at.
_MOST_ARRAYS = 10_000


def hdf5_parts(path: Path) -> tuple[tuple[str, ...], Callable[[str, str], Part]]:
    """What the arrays of an HDF5 file are called, and what opens two of them as images and labels.

    Raises:
        InvalidInputError: if the file cannot be read.
    """
    with _opened(path) as file:
        names = _names(file)

    def part(images: str, labels: str) -> Part:
        with _opened(path) as file:
            array = _array(file, images)
            shape, row_size = tuple(map(int, array.shape)), _size(array, 1)
        return Part(
            shape=shape,
            row_size=row_size,
            images=lambda rows: _read(path, images, rows, limits.ARRAYS),
            labels=lambda: _read(path, labels, None, limits.UNIT),
        )

    return names, part


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import h5py  # type: ignore[import-untyped]

    try:
        with h5py.File(require_file(path), "r") as file:
            yield file
    except InvalidInputError:
        raise
    # What a damaged file raises depends on where it is damaged, and is no part of h5py's interface.
    except Exception as error:
        raise InvalidInputError(f"{path} is no readable HDF5 file: {plain_text(first_line(error))}") from None


def _names(file: Any) -> tuple[str, ...]:
    """Arrays of the file itself: links that lead elsewhere are not followed."""
    import h5py

    found: list[str] = []

    def visit(name: str, each: Any) -> bool | None:
        if isinstance(each, h5py.Dataset) and isinstance(name, str):  # bytes, where they are no text
            found.append(name)
        return len(found) > _MOST_ARRAYS or None

    file.visititems(visit)
    return tuple(found)


def _array(file: Any, name: str) -> Any:
    array = file[name]
    if array.is_virtual or array.external:
        raise ValueError(f"the values of {name} lie in other files, which are not read")
    pieces = math.prod(array.chunks or ()) * array.dtype.itemsize
    limits.require_room(pieces, limits.PIECE, f"{file.filename}: a single piece of {plain_text(name, 60)}")
    return array


def _size(array: Any, rows: int | None) -> int:
    shape = array.shape if rows is None or not array.shape else (min(rows, array.shape[0]), *array.shape[1:])
    return math.prod(max(1, int(length)) for length in shape) * max(1, int(array.dtype.itemsize))


def _read(path: Path, name: str, rows: int | None, limit: int) -> Array:
    with _opened(path) as file:
        array = _array(file, name)
        limits.require_room(_size(array, rows), limit, f"{path}: {plain_text(name, 60)}")
        return np.asarray(array[()] if rows is None or not array.shape else array[:rows])
