"""CSV files: labels, and images with a row of pixels for each, read row by row."""

import csv
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from advkeras import limits
from advkeras.datasets.array_parts import Part
from advkeras.datasets.found import Shape
from advkeras.datasets.normal_form import Array
from advkeras.errors import InvalidInputError, first_line, plain_text
from advkeras.npz import require_file

_LABEL = ("label", "labels", "class", "y")
# Characters of a row, and rows of which something is kept.
_LONGEST, _MOST_ROWS = 2**24, 4_000_000


def read_csv(path: Path, cells: slice) -> list[list[str]]:
    """Some cells of each row of a CSV file.

    Args:
        path: of the file.
        cells: of a row that are kept.

    Raises:
        InvalidInputError: if it is none, or empty.
    """
    rows = [row[cells] for row in _rows(path)]
    if not rows:
        raise InvalidInputError(f"{path} is empty")
    return rows


def rows_of_pixels(path: Path, shape: Shape | None) -> Part:
    """A heading with a column ``label``, and a row for each image: its label, and its pixels from 0 to 255.

    Args:
        path: of the file.
        shape: of the images; squares of one channel by default.

    Raises:
        InvalidInputError: if the file is none of that.
    """
    heading = next(_rows(path), None)
    if heading is None:
        raise InvalidInputError(f"{path} is empty")
    names = [name.strip().lower() for name in heading]
    place = next((names.index(name) for name in _LABEL if name in names), None)
    first, pixels = heading[0] if heading else "", max(0, len(heading) - 1)
    expected = shape or (math.isqrt(pixels), math.isqrt(pixels), 1)
    texts = [] if place is None else [row[place] if len(row) == len(heading) else "" for row in _images(path)]
    if place is None or math.prod(expected) != pixels or not texts or "" in texts:
        raise InvalidInputError(
            f"{path}: expected a heading with a column label, and in each row the {math.prod(expected)} pixels of an "
            f"image of shape {expected} beside it; or make an .npz file of it: numpy.savez('mine.npz', images=..., "
            f"labels=...). Received: {len(heading)} columns, the first called {plain_text(first, 60)!r}"
        )
    return Part(
        shape=(len(texts), *expected),
        row_size=8 * pixels,
        images=lambda rows: _pixels(path, place, len(texts) if rows is None else rows, 8 * pixels).reshape(
            -1, *expected
        ),
        labels=lambda: np.array(texts, object),
    )


def _images(path: Path) -> Iterator[list[str]]:
    rows = _rows(path)
    next(rows, None)
    return rows


def _pixels(path: Path, place: int, count: int, size: int) -> Array:
    limits.require_room(count * size, limits.ARRAYS, f"{path}: what it reads as")
    try:
        return np.stack(
            [
                np.array(row[:place] + row[place + 1 :], float)
                for row, _ in zip(_images(path), range(count), strict=False)
            ]
        )
    except ValueError as error:
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError(f"{path}: pixels must be numbers: {plain_text(first_line(error))}") from None


def _rows(path: Path) -> Iterator[list[str]]:
    try:
        with require_file(path).open(newline="", encoding="utf-8-sig") as stream:
            for number, row in enumerate(csv.reader(_lines(stream))):
                if number > _MOST_ROWS:
                    raise ValueError(f"it has more than {_MOST_ROWS:,} rows")
                yield row
    except InvalidInputError:
        raise
    except (OSError, ValueError, csv.Error) as error:
        raise InvalidInputError(f"{path} is no readable CSV file: {plain_text(first_line(error))}") from None


def _lines(stream: TextIO) -> Iterator[Any]:
    while line := stream.readline(_LONGEST):
        if len(line) == _LONGEST:
            raise ValueError(f"it has a line of more than {_LONGEST:,} characters")
        yield line
