"""Image classification sets that tensorflow-datasets has prepared."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from advkeras.datasets.found import EIGHT_BITS, TEST_SPLITS, Found, Shape, Wanted
from advkeras.datasets.loading import LabelledImages, resolve_data_dir, to_pixel_unit
from advkeras.datasets.pictures import resized
from advkeras.errors import InvalidInputError, first_line


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
            if all(part.isdecimal() for part in info.parent.name.split("."))
        ]
    except (OSError, ValueError):
        return None
    return max(prepared, key=lambda folder: tuple(map(int, folder.name.split("."))), default=None)


def open_tfds(name: str, folder: Path, wanted: Wanted) -> Found:
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
    test = next((split for split in TEST_SPLITS if split in available), None)
    parts = {"train": "train", "test": test} if test and "train" in available else {"test": test or available[0]}
    declared: Shape = features[image].shape
    shape, bounds = wanted.shape, wanted.bounds or EIGHT_BITS
    if shape is None and None in declared:
        raise InvalidInputError(f"the images of {name} have no common size: give a model, whose size they get")
    expected = shape or declared

    def read(split: str, examples: int | None) -> LabelledImages:
        which = parts[split] if examples is None else f"{parts[split]}[:{examples}]"
        records = list(tfds.as_numpy(builder.as_dataset(split=which, shuffle_files=False)))
        images = [_fitted(record[image], expected, wanted.resize, name) for record in records]
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


def _fitted(image: npt.NDArray[np.uint8], shape: Shape, resize: bool, name: str) -> npt.NDArray[np.uint8]:
    if image.shape == shape:
        return image
    if not resize or image.shape[2] != shape[2]:
        advice = "" if image.shape[2] != shape[2] else "; --resize scales them"
        raise InvalidInputError(f"{name}: expected images of shape {shape}{advice}. Received: {image.shape}")
    return resized(image, shape[0], shape[1])
