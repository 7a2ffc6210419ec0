"""A folder of pictures: with a subfolder for each class, or flat with a file of labels."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from advkeras import limits
from advkeras.datasets import pictures
from advkeras.datasets.csv_files import read_csv
from advkeras.datasets.found import EIGHT_BITS, TEST_SPLITS, Found, Shape, Wanted
from advkeras.datasets.loading import LabelledImages, to_pixel_unit
from advkeras.datasets.normal_form import labels_of
from advkeras.errors import InvalidInputError, plain_text

# Broken pictures that are named.
_NAMED = 5


@dataclass(frozen=True)
class _Listed:
    """The pictures of a folder, split by split, with their labels."""

    splits: dict[str, list[tuple[Path, int]]]
    class_names: tuple[str, ...] | None
    remarks: tuple[str, ...]


def open_folder(path: Path, wanted: Wanted) -> Found:
    """A folder of pictures: a subfolder for each class, such folders called ``train`` and ``test``, or a labels file.

    The classes are in the order that is wanted, or in that of their names, as Keras has it. A class's pictures may lie
    deeper in its folder. The pictures are shuffled, always in the same way, so that the first ones are of all classes.

    Raises:
        InvalidInputError: if there are no such pictures, or the first one cannot be read.
    """
    listed = _with_labels(path, wanted) if wanted.labels is not None else _in_subfolders(path, wanted)
    bounds = wanted.bounds or EIGHT_BITS
    expected = wanted.shape or _first_shape(listed.splits["test"], wanted)

    def read(split: str, examples: int | None) -> LabelledImages:
        files = listed.splits[split]
        order = np.random.default_rng(0).permutation(len(files))
        images, labels, remarks = _read([files[place] for place in order], examples, expected, wanted)
        data = LabelledImages(to_pixel_unit(images, bounds), labels, f"folder {path}", split)
        return data.with_remarks(*listed.remarks, *remarks)

    return Found(
        name=path.resolve().name,
        bounds=bounds,
        shape=expected,
        class_names=listed.class_names,
        splits=tuple(listed.splits),
        read=read,
        labels_seen=lambda: 1 + max(label for files in listed.splits.values() for _, label in files),
    )


def _in_subfolders(path: Path, wanted: Wanted) -> _Listed:
    test = next((path / name for name in TEST_SPLITS if (path / name).is_dir()), None)
    parts = {"train": path / "train", "test": test} if test and (path / "train").is_dir() else {"test": path}
    names = sorted({child.name for part in parts.values() for child in _subfolders(part)})
    ordered = set(wanted.class_names or ()) == set(names)
    classes = tuple(wanted.class_names or ()) if ordered else tuple(names)
    splits = {
        split: [(file, label) for label, name in enumerate(classes) for file in _pictures(part / name)]
        for split, part in parts.items()
    }
    if len(classes) < 2 or not all(splits.values()):
        raise InvalidInputError(
            f"{path} holds no images to classify: expected a subfolder for each class, with images "
            f"({', '.join(pictures.SUFFIXES)}), or such folders for train and test, or a file of labels (--labels). "
            f"Received: {', '.join(classes) or 'no subfolder'}"
        )
    remarks = () if ordered else _order_remarks(classes)
    seen = {label for _, label in splits["test"]}
    empty = [name for label, name in enumerate(classes) if label not in seen]
    if empty:
        remarks += (f"no picture of the class{'es' if len(empty) > 1 else ''} {', '.join(empty)}",)
    return _Listed(splits, classes, remarks)


def _order_remarks(classes: Sequence[str]) -> tuple[str, ...]:
    """Names that are numbers sort as text: 10 comes before 2."""
    if not all(name.isdecimal() for name in classes) or [*classes] == sorted(classes, key=int):
        return ()
    order = ", ".join(f"{label} is {name}" for label, name in enumerate(classes[:_NAMED]))
    return (
        f"the classes are in the order of their folders' names as text, as Keras has them: {order}, ...; --classes "
        "gives another order",
    )


def _with_labels(path: Path, wanted: Wanted) -> _Listed:
    """A flat folder, and a CSV file whose rows are a picture's name and its label."""
    read = read_csv(wanted.labels or path, slice(0, 2))
    rows = [[cell.strip() for cell in row] for row in read if len(row) == 2]
    known = [row for row in rows if _holds(path, row[0])]
    # The first row may be a heading.
    rest = rows[1:] if rows and rows[0] not in known[:1] else rows
    missing = [name for name, _ in rest if not _holds(path, name)]
    if not known or missing:
        raise InvalidInputError(
            f"{wanted.labels}: expected rows of a picture's name in {path} and its label. Received: "
            + (f"{plain_text(missing[0], 60)!r}, which is no picture there" if missing else f"{len(rows)} rows")
        )
    labels, names = labels_of(
        np.array([label for _, label in known], object),
        where=str(wanted.labels),
        images=len(known),
        class_names=wanted.class_names,
    )
    files = [(path / name, int(label)) for (name, _), label in zip(known, labels, strict=True)]
    return _Listed({"test": files}, names, ())


def _read(
    files: Sequence[tuple[Path, int]], examples: int | None, shape: Shape, wanted: Wanted
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32], list[str]]:
    """The first pictures that can be read, their labels, and what is to be said of them."""
    count = len(files) if examples is None else min(examples, len(files))
    limits.require_room(count * math.prod(shape), limits.ARRAYS, f"{count:,} pictures of shape {shape}")
    images: npt.NDArray[np.uint8] = np.empty((count, *shape), np.uint8)
    labels: list[int] = []
    broken, turned = [], 0
    for file, label in files:
        if len(labels) == count:
            break
        try:
            picture = pictures.read(file, channels=shape[2], exif=wanted.exif)
        except InvalidInputError as error:
            broken.append(str(error))
            continue
        images[len(labels)] = _fitted(picture.pixels, shape, wanted.resize, file)
        labels.append(label)
        turned += picture.turned
    if broken and not (wanted.skip_broken and labels):
        more = f", and {len(broken) - 1} more" if len(broken) > 1 else ""
        raise InvalidInputError(f"{broken[0]}{more}; --skip-broken leaves such pictures out")
    remarks = []
    if broken:
        named = "; ".join(broken[:_NAMED]) + ("; ..." if len(broken) > _NAMED else "")
        remarks.append(f"{len(broken)} of {len(broken) + len(labels)} pictures left out: {named}")
    if turned:
        how = "are turned so" if wanted.exif else "are not turned, as Keras's readers have it; --exif turns them"
        remarks.append(f"{turned} of {len(labels)} pictures say in EXIF that they lie on a side, and {how}")
    return images[: len(labels)], np.array(labels, np.int32), remarks


def _first_shape(files: Sequence[tuple[Path, int]], wanted: Wanted) -> Shape:
    """The shape of the first picture that can be read."""
    for file, _ in files:
        try:
            height, width, channels = pictures.read(file, exif=wanted.exif).pixels.shape
        except InvalidInputError:
            if not wanted.skip_broken:
                raise
            continue
        return height, width, channels
    raise InvalidInputError(f"{files[0][0].parent} holds no picture that can be read")


def _fitted(pixels: npt.NDArray[np.uint8], shape: Shape, resize: bool, file: Path) -> npt.NDArray[np.uint8]:
    if pixels.shape == shape:
        return pixels
    if not resize:
        raise InvalidInputError(
            f"{file}: expected images of shape {shape}; --resize scales them. Received: {pixels.shape}"
        )
    return pictures.resized(pixels, shape[0], shape[1])


def _holds(folder: Path, name: str) -> bool:
    """Whether a folder holds a picture of a name; what lies elsewhere is none of it."""
    inside = not Path(name).is_absolute() and ".." not in Path(name).parts
    try:
        return inside and _is_picture(folder / name)
    except OSError:  # a name that no file can have
        return False


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in pictures.SUFFIXES and not path.name.startswith(".") and path.is_file()


def _pictures(folder: Path) -> list[Path]:
    """Those in a folder, however deep; what links lead to is left out."""

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise InvalidInputError(f"cannot read {error.filename}: {error.strerror}")

    found = (Path(place) / name for place, _, names in os.walk(folder, onerror=refuse) for name in names)
    return sorted(path for path in found if _is_picture(path))


def _subfolders(folder: Path) -> list[Path]:
    try:
        return [child for child in folder.iterdir() if child.is_dir() and not child.name.startswith(".")]
    except OSError as error:
        raise InvalidInputError(f"cannot read {error.filename}: {error.strerror}") from None
