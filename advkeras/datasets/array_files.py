"""Files of arrays: .npz, pairs of .npy, HDF5, and CSV with a row of pixels for each image."""

import csv
import math
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from advkeras.datasets.array_parts import Parts, found_in
from advkeras.datasets.found import TEST_SPLITS, Found, Wanted
from advkeras.datasets.normal_form import Array
from advkeras.errors import InvalidInputError, first_line
from advkeras.files import array_names, read_arrays

SUFFIXES = (".npz", ".npy", ".h5", ".hdf5", ".csv")

# What the arrays of images and of labels are called, the best names first.
_PAIRS = (("images", "labels"), ("image", "label"), ("x", "y"), ("arr_0", "arr_1"), ("data", "labels"))
_PART = re.compile(r"(train|test|validation|val)_(.+)|(.+)_(train|test|validation|val)")


def open_array_file(path: Path, wanted: Wanted) -> Found:
    """A file with an array of images and one of labels, or with two of each, for training and for testing.

    Raises:
        InvalidInputError: if the file cannot be read, an array is missing or of the wrong shape, or bounds are needed.
    """
    return found_in(_parts(path, wanted), wanted, name=path.stem, where=str(path), source=f"file {path}")


def _parts(path: Path, wanted: Wanted) -> Parts:
    suffix = path.suffix.lower()
    if suffix == ".npy" or (wanted.labels is not None and suffix == ".npz"):
        return {"test": lambda: _pair(path, wanted)}
    if suffix == ".csv":
        return {"test": lambda: _rows_of_pixels(path, wanted)}
    if suffix in (".h5", ".hdf5"):
        names, read = _hdf5(path)
    else:
        names, read = _npz(path)
    chosen = {"test": wanted.arrays} if wanted.arrays else _named_parts(names)
    for images, labels in chosen.values():
        if missing := [name for name in (images, labels) if name not in names]:
            raise InvalidInputError(f"{path} has no array {missing[0]!r}. Received arrays: {', '.join(names)}")
    if "test" not in chosen:
        raise InvalidInputError(
            f"{path}: which of its arrays are images, and which labels? Name them images and labels, or say it "
            f"(--arrays IMAGES LABELS). Received arrays: {', '.join(names) or 'none'}"
        )
    return {split: partial(read, pair) for split, pair in chosen.items()}


def _named_parts(names: tuple[str, ...]) -> dict[str, tuple[str, str]]:
    """Which arrays are images and labels: of training and testing, or of the only part."""
    parts: dict[str, dict[str, str]] = {}
    for name in names:
        lowered = name.lower()
        found = _PART.fullmatch(lowered)
        split, what = ("", lowered) if found is None else (found[1] or found[4], found[2] or found[3])
        parts.setdefault(split, {})[what] = name
    pairs = {}
    for split, arrays in parts.items():
        for images, labels in _PAIRS:
            if split not in pairs and images in arrays and labels in arrays:
                pairs[split] = (arrays[images], arrays[labels])
    test = next((split for split in (*TEST_SPLITS, "") if split in pairs), None)
    if test is None:
        return {"test": pairs["train"]} if "train" in pairs else {}
    return {split: pairs[key] for split, key in (("train", "train"), ("test", test)) if key in pairs}


def _npz(path: Path) -> tuple[tuple[str, ...], Callable[[tuple[str, str]], tuple[Array, Array]]]:
    names = array_names(path)

    def read(pair: tuple[str, str]) -> tuple[Array, Array]:
        arrays = read_arrays(path, pair)
        return arrays[pair[0]], arrays[pair[1]]

    return names, read


def _hdf5(path: Path) -> tuple[tuple[str, ...], Callable[[tuple[str, str]], tuple[Array, Array]]]:
    import h5py  # type: ignore[import-untyped]

    def open_file() -> Any:
        try:
            return h5py.File(path, "r")
        except OSError as error:
            raise InvalidInputError(f"{path} is no readable HDF5 file: {first_line(error)}") from None

    found: list[str] = []
    with open_file() as file:
        file.visititems(lambda name, each: found.append(name) if isinstance(each, h5py.Dataset) else None)

    def read(pair: tuple[str, str]) -> tuple[Array, Array]:
        with open_file() as file:
            try:
                return file[pair[0]][()], file[pair[1]][()]
            except (OSError, TypeError) as error:
                raise InvalidInputError(f"{path} is damaged: {first_line(error)}") from None

    return tuple(found), read


def _pair(path: Path, wanted: Wanted) -> tuple[Array, Array]:
    if wanted.labels is None:
        raise InvalidInputError(f"{path} holds images alone: give the file with their labels (--labels LABELS.npy)")
    return _only_array(path), _labels_from(wanted.labels)


def _labels_from(path: Path) -> Array:
    if path.suffix.lower() not in (".csv", ".txt"):
        return _only_array(path)
    rows = [row for row in read_csv(path) if row]
    texts = [row[-1].strip() for row in rows]
    # A heading, where all below it are numbers and it is not.
    return np.array(texts[1:] if not texts[0].isdecimal() and all(map(str.isdecimal, texts[1:])) else texts)


def _only_array(path: Path) -> Array:
    if path.suffix.lower() == ".npz":
        names = array_names(path)
        if len(names) != 1:
            raise InvalidInputError(f"{path}: expected one array. Received: {', '.join(names) or 'none'}")
        return read_arrays(path, names)[names[0]]
    if not path.is_file():
        raise InvalidInputError(f"there is no file {path}")
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise InvalidInputError(f"{path} is no readable .npy file: {first_line(error)}") from None


def read_csv(path: Path) -> list[list[str]]:
    """The rows of a CSV file.

    Raises:
        InvalidInputError: if it is none, or empty.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.reader(stream))
    except FileNotFoundError:
        raise InvalidInputError(f"there is no file {path}") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidInputError(f"{path} is no readable CSV file: {first_line(error)}") from None
    if not rows:
        raise InvalidInputError(f"{path} is empty")
    return rows


def _rows_of_pixels(path: Path, wanted: Wanted) -> tuple[Array, Array]:
    """A heading with a column ``label``, and a row for each image: its label, and its pixels from 0 to 255."""
    heading, *rows = read_csv(path)
    names = [name.strip().lower() for name in heading]
    place = next((names.index(name) for name in ("label", "labels", "class", "y") if name in names), None)
    pixels = len(heading) - 1
    shape = wanted.shape or (math.isqrt(pixels), math.isqrt(pixels), 1)
    if place is None or math.prod(shape) != pixels or not rows or any(len(row) != len(heading) for row in rows):
        raise InvalidInputError(
            f"{path}: expected a heading with a column label, and in each row the {math.prod(shape)} pixels of an "
            f"image of shape {shape} beside it; or make an .npz file of it: numpy.savez('mine.npz', images=..., "
            f"labels=...). Received: {len(heading)} columns, the first called {heading[0]!r}"
        )
    labels = np.array([row[place] for row in rows])
    try:
        values = np.array([row[:place] + row[place + 1 :] for row in rows], float)
    except ValueError as error:
        raise InvalidInputError(f"{path}: pixels must be numbers: {first_line(error)}") from None
    return values.reshape(-1, *shape), labels
