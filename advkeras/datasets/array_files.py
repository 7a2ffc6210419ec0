"""Files of arrays: .npz, pairs of .npy, HDF5, and CSV with a row of pixels for each image."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from advkeras import limits
from advkeras.datasets.array_parts import Part, Parts, found_in
from advkeras.datasets.csv_files import read_csv, rows_of_pixels
from advkeras.datasets.found import TEST_SPLITS, Found, Wanted
from advkeras.datasets.hdf5_files import hdf5_parts
from advkeras.datasets.normal_form import Array
from advkeras.errors import InvalidInputError, plain_text
from advkeras.npz import Header, array_names, headers, npy_header, read_arrays, read_npy

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
    if suffix not in SUFFIXES:
        raise InvalidInputError(f"{path}: a file of images and labels ends with {', '.join(SUFFIXES)}")
    if suffix == ".csv":
        return {"test": lambda: rows_of_pixels(path, wanted.shape)}
    if suffix == ".npy" or (wanted.labels is not None and suffix == ".npz"):
        return {"test": lambda: _pair(path, wanted.labels)}
    names, read = hdf5_parts(path) if suffix in (".h5", ".hdf5") else _npz(path)
    chosen = {"test": wanted.arrays} if wanted.arrays else _named_parts(names)
    for images, labels in chosen.values():
        if missing := [name for name in (images, labels) if name not in names]:
            raise InvalidInputError(
                f"{path} has no array {plain_text(missing[0], 60)!r}. Received arrays: {_listed(names)}"
            )
    if "test" not in chosen:
        raise InvalidInputError(
            f"{path}: which of its arrays are images, and which labels? Name them images and labels, or say it "
            f"(--arrays IMAGES LABELS). Received arrays: {_listed(names)}"
        )
    return {split: partial(read, *pair) for split, pair in chosen.items()}


def _listed(names: tuple[str, ...]) -> str:
    return plain_text(", ".join(names[:50]) or "none")


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


def _npz(path: Path) -> tuple[tuple[str, ...], Callable[[str, str], Part]]:
    def part(images: str, labels: str) -> Part:
        header = headers(path, (images,))[images]
        return Part(
            shape=header.shape,
            row_size=header.size(1),
            images=lambda rows: read_arrays(path, (images,), rows=rows)[images],
            labels=lambda: read_arrays(path, (labels,), limit=limits.UNIT)[labels],
        )

    return array_names(path), part


def _pair(path: Path, labels: Path | None) -> Part:
    if labels is None:
        raise InvalidInputError(f"{path} holds images alone: give the file with their labels (--labels LABELS.npy)")
    header, read = _only_array(path)
    return Part(
        shape=header.shape,
        row_size=header.size(1),
        images=lambda rows: read(rows, limits.ARRAYS),
        labels=lambda: _labels_from(labels),
    )


def _labels_from(path: Path) -> Array:
    if path.suffix.lower() not in (".csv", ".txt"):
        return _only_array(path)[1](None, limits.UNIT)
    texts = [row[-1].strip() for row in read_csv(path, slice(-1, None)) if row]
    if not texts:
        raise InvalidInputError(f"{path} is empty")
    # A heading, where all below it are numbers and it is not.
    kept = texts[1:] if not texts[0].isdecimal() and all(map(str.isdecimal, texts[1:])) else texts
    return np.array(kept, object)  # each as long as it is


def _only_array(path: Path) -> tuple[Header, Callable[[int | None, int], Array]]:
    """What is known of the array of an .npy file, or of the only one of an .npz file, and what reads its first rows."""
    if path.suffix.lower() != ".npz":
        return npy_header(path), lambda rows, limit: read_npy(path, rows, limit=limit)
    names = array_names(path)
    if len(names) != 1:
        raise InvalidInputError(f"{path}: expected one array. Received: {_listed(names)}")
    name = names[0]
    return headers(path, names)[name], lambda rows, limit: read_arrays(path, (name,), rows=rows, limit=limit)[name]
