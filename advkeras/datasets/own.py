"""Data sets that advkeras does not know: an .npz file, a folder of images, a prepared set of tensorflow-datasets."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from advkeras.datasets.loading import LabelledImages, resolve_data_dir, to_pixel_unit
from advkeras.errors import InvalidInputError, first_line
from advkeras.files import read_arrays

Shape = tuple[int, int, int]
Bounds = tuple[float, float]

_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif")
# What the second part of a data set may be called, the best name first.
_TEST_SPLITS = ("test", "validation", "val")


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a data set says of itself.

    Attributes:
        name: of the data set.
        bounds: lowest and highest pixel value.
        shape: height, width, channels.
        class_names: one for each class; None where only numbers are known.
        splits: ``("train", "test")``, or ``("test",)`` where there is only one part.
        read: a split's first images; all of them where their number is None.
        labels_seen: number of classes that the labels show.
    """

    name: str
    bounds: Bounds
    shape: Shape
    class_names: tuple[str, ...] | None
    splits: tuple[str, ...]
    read: Callable[[str, int | None], LabelledImages]
    labels_seen: Callable[[], int]


def open_npz(path: Path, bounds: Bounds | None) -> Found:
    """An .npz file with the arrays ``images`` (N, H, W, C) and ``labels`` (N,).

    Pixels of 8 bits are scaled to the bounds; others are taken as they are, and so their bounds must be given.

    Raises:
        InvalidInputError: if the file cannot be read, an array is missing or of the wrong shape, or bounds are needed.
    """
    arrays = read_arrays(path, ("images", "labels"))
    images, labels = arrays["images"], arrays["labels"]
    if images.ndim != 4 or labels.shape != images.shape[:1] or not len(labels):
        raise InvalidInputError(
            f"{path}: expected images (N, H, W, C) and labels (N,), not one-hot rows. Received: {images.shape} and "
            f"{labels.shape}"
        )
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0 or labels.max() >= 2**31:
        raise InvalidInputError(
            f"{path}: labels must be whole numbers from 0 (labels.astype(int)). Received: {labels[:3]}, {labels.dtype}"
        )
    if not np.issubdtype(images.dtype, np.number) or np.iscomplexobj(images):
        raise InvalidInputError(f"{path}: images must be numbers. Received: dtype {images.dtype}")
    if len(odd := np.flatnonzero(~np.isfinite(images).all(axis=(1, 2, 3)))):
        raise InvalidInputError(f"{path}: pixels must be finite. Received: NaN or infinite ones in image {odd[0]}")
    eight_bits = images.dtype == np.uint8
    if bounds is None and not eight_bits:
        raise InvalidInputError(
            f"{path}: images of dtype {images.dtype} do not say their pixels' bounds: give them (--bounds LOW HIGH)"
        )
    chosen = bounds or (0.0, 255.0)

    def read(split: str, examples: int | None) -> LabelledImages:
        first = images[:examples]
        pixels = to_pixel_unit(first, chosen) if eight_bits else first.astype(np.float32)
        return LabelledImages(pixels, labels[:examples].astype(np.int32), f"file {path}", split)

    return Found(
        name=path.stem,
        bounds=chosen,
        shape=images.shape[1:],
        class_names=None,
        splits=("test",),
        read=read,
        labels_seen=lambda: int(labels.max()) + 1,
    )


def open_folder(path: Path, *, shape: Shape | None, bounds: Bounds, resize: bool) -> Found:
    """A folder with a subfolder of images for each class, or with such folders called ``train`` and ``test``.

    The classes are the subfolders in the order of their names. The images are shuffled, always in the same way, so that
    the first ones are of all classes.

    Raises:
        InvalidInputError: if there are no such images.
    """
    test = next((path / name for name in _TEST_SPLITS if (path / name).is_dir()), None)
    parts = {"train": path / "train", "test": test} if test and (path / "train").is_dir() else {"test": path}
    classes = tuple(sorted({child.name for part in parts.values() for child in _subfolders(part)}))
    files = {
        split: [
            (file, label)
            for label, name in enumerate(classes)
            for file in sorted((part / name).glob("*"))
            if file.suffix.lower() in _IMAGE_SUFFIXES
        ]
        for split, part in parts.items()
    }
    if len(classes) < 2 or not all(files.values()):
        raise InvalidInputError(
            f"{path} holds no images to classify: expected a subfolder for each class, with images "
            f"({', '.join(_IMAGE_SUFFIXES)}), or such folders for train and test. Received: "
            f"{', '.join(classes) or 'no subfolder'}"
        )
    expected = shape or _decode(files["test"][0][0], channels=0).shape

    def read(split: str, examples: int | None) -> LabelledImages:
        listed = files[split]
        order = np.random.default_rng(0).permutation(len(listed))[:examples]
        images = [
            _fitted(_decode(listed[i][0], channels=expected[2]), expected, resize, str(listed[i][0])) for i in order
        ]
        labels = np.array([listed[i][1] for i in order], np.int32)
        return LabelledImages(to_pixel_unit(np.stack(images), bounds), labels, f"folder {parts[split]}", split)

    return Found(
        name=path.resolve().name,
        bounds=bounds,
        shape=(expected[0], expected[1], expected[2]),
        class_names=classes,
        splits=tuple(parts),
        read=read,
        labels_seen=lambda: len(classes),
    )


def tfds_folder(name: str, data_dir: str | os.PathLike[str] | None) -> Path | None:
    """Where tensorflow-datasets keeps a set that it has prepared, in its highest version; None where it has not.

    Args:
        name: of the set, with its configuration where it has several: ``emnist/letters``.
        data_dir: the cache.
    """
    try:
        prepared = [
            info.parent
            for pattern in ("*/dataset_info.json", "*/*/dataset_info.json")
            for info in (resolve_data_dir(data_dir) / name).glob(pattern)
            if all(part.isdigit() for part in info.parent.name.split("."))
        ]
    except (OSError, ValueError):
        return None
    return max(prepared, key=lambda folder: tuple(map(int, folder.name.split("."))), default=None)


def open_tfds(name: str, folder: Path, *, shape: Shape | None, bounds: Bounds, resize: bool) -> Found:
    """An image classification set that tensorflow-datasets has prepared.

    Raises:
        InvalidInputError: if it is damaged, or has not one image and one label for each example.
    """
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder_from_directory(str(folder))
        features, available = builder.info.features, tuple(builder.info.splits)
    # What a damaged folder raises is no part of tensorflow-datasets' interface.
    except Exception as error:
        raise InvalidInputError(f"the prepared data set in {folder} is damaged ({first_line(error)})") from error
    image, label = _only(features, tfds.features.Image), _only(features, tfds.features.ClassLabel)
    if image is None or label is None:
        raise InvalidInputError(
            f"{name} is no image classification set: expected one image and one label for each example. Received: "
            f"{', '.join(features)}"
        )
    test = next((split for split in _TEST_SPLITS if split in available), None)
    parts = {"train": "train", "test": test} if test and "train" in available else {"test": test or available[0]}
    declared: Shape = features[image].shape
    if shape is None and None in declared:
        raise InvalidInputError(f"the images of {name} have no common size: give a model, whose size they get")
    expected = shape or declared

    def read(split: str, examples: int | None) -> LabelledImages:
        which = parts[split] if examples is None else f"{parts[split]}[:{examples}]"
        records = list(tfds.as_numpy(builder.as_dataset(split=which, shuffle_files=False)))
        images = [_fitted(record[image], expected, resize, name) for record in records]
        labels = np.array([record[label] for record in records], np.int32)
        source = f"{parts[split]} split of {name} ({builder.info.version})"
        return LabelledImages(to_pixel_unit(np.stack(images), bounds), labels, source, split)

    return Found(
        name=name.replace("/", "-"),
        bounds=bounds,
        shape=expected,
        class_names=tuple(features[label].names),
        splits=tuple(parts),
        read=read,
        labels_seen=lambda: int(features[label].num_classes),
    )


def _only(features: Any, kind: type) -> str | None:
    """The name of the only feature of a kind; None where there is none or several."""
    fitting: Sequence[str] = [name for name, feature in features.items() if isinstance(feature, kind)]
    return fitting[0] if len(fitting) == 1 else None


def _subfolders(folder: Path) -> list[Path]:
    return [child for child in folder.iterdir() if child.is_dir() and not child.name.startswith(".")]


def _decode(path: Path, *, channels: int) -> npt.NDArray[np.uint8]:
    import tensorflow as tf

    try:
        return np.asarray(tf.io.decode_image(path.read_bytes(), channels=channels, expand_animations=False))
    except (tf.errors.OpError, ValueError, OSError) as error:
        raise InvalidInputError(f"{path} is no readable image: {first_line(error)}") from None


def _fitted(image: npt.NDArray[np.uint8], shape: Shape, resize: bool, where: str) -> npt.NDArray[np.uint8]:
    """The image, scaled to the shape where that is wanted."""
    if image.shape == shape:
        return image
    if not resize or image.shape[2] != shape[2]:
        advice = "" if image.shape[2] != shape[2] else "; --resize scales them"
        raise InvalidInputError(f"{where}: expected images of shape {shape}{advice}. Received: {image.shape}")
    import tensorflow as tf

    scaled = tf.image.resize(image, shape[:2], method="bilinear", antialias=True)
    return np.asarray(tf.cast(tf.clip_by_value(tf.round(scaled), 0, 255), tf.uint8))
