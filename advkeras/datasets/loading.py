"""Images and labels, from tensorflow-datasets' cache or from the sample that ships with the package."""

import os
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from advkeras.datasets.registry import DatasetSpec, get
from advkeras.errors import InvalidInputError, first_line

DATA_DIR_VARIABLE = "ADVKERAS_DATA_DIR"


@dataclass(frozen=True)
class LabelledImages:
    """Images with their true classes.

    Attributes:
        images: (N, H, W, C) float32, in the data set's pixel unit.
        labels: (N,) int32.
        source: where they come from, in words.
        split: the split they belong to.
        places: (N,) int32, each image's place in the split, from which its randomness is derived; 0, 1, ...
            by default.
        remarks: what a user should know of how they were read; nothing for most.
    """

    images: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int32]
    source: str
    split: str
    places: npt.NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.places) != len(self.labels):
            object.__setattr__(self, "places", np.arange(len(self.labels), dtype=np.int32))

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int) -> "LabelledImages":
        """The first images.

        Raises:
            InvalidInputError: if there are fewer.
        """
        if not 1 <= count <= len(self):
            raise InvalidInputError(f"ask for 1 to {len(self):,} examples of the {self.source}. Received: {count:,}")
        return self.where(np.arange(len(self)) < count)

    def with_remarks(self, *remarks: str) -> "LabelledImages":
        """The same images with further remarks."""
        return replace(self, remarks=(*self.remarks, *remarks))

    def where(self, chosen: npt.NDArray[np.bool_]) -> "LabelledImages":
        """The images for which a mask (N,) is true."""
        return replace(self, images=self.images[chosen], labels=self.labels[chosen], places=self.places[chosen])


def resolve_data_dir(data_dir: str | os.PathLike[str] | None = None) -> Path:
    """The cache's folder: the argument, else ``ADVKERAS_DATA_DIR``, else tensorflow-datasets' default."""
    chosen = data_dir or os.environ.get(DATA_DIR_VARIABLE) or os.environ.get("TFDS_DATA_DIR")
    return Path(chosen).expanduser() if chosen else Path.home() / "tensorflow_datasets"


def prepared_dir(spec: DatasetSpec, data_dir: str | os.PathLike[str] | None = None) -> Path:
    """The folder in which tensorflow-datasets keeps the prepared data set, whether it is there or not."""
    return resolve_data_dir(data_dir) / spec.name / spec.version


def is_prepared(spec: DatasetSpec, data_dir: str | os.PathLike[str] | None = None) -> bool:
    """Whether the full data set can be read from the cache."""
    return (prepared_dir(spec, data_dir) / "dataset_info.json").is_file()


def load(
    name: str,
    *,
    split: str = "test",
    examples: int | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    bounds: tuple[float, float] | None = None,
) -> LabelledImages:
    """The first images of a split of a registered data set.

    The full set is used once it has been prepared; until then the sample that ships with the package. The test
    split begins with that sample's images in both cases, so that the same number of examples means the same images.
    The network is never touched.

    Args:
        name: a registered data set.
        split: ``"train"`` or ``"test"``.
        examples: how many images from the start; all there are by default.
        data_dir: the cache's folder, see :func:`resolve_data_dir`.
        bounds: lowest and highest pixel value to scale the images to; the data set's own by default.

    Raises:
        InvalidInputError: if the data set or split is unknown, or fewer images are at hand than asked for.
    """
    spec = get(name) if bounds is None else get(name).with_bounds(bounds)
    if split not in spec.split_sizes:
        raise InvalidInputError(f"unknown split {split!r} of {name}: known are {', '.join(spec.split_sizes)}")
    require_examples(examples)
    if is_prepared(spec, data_dir):
        loaded = _load_prepared(spec, split, data_dir)
    elif split == "test":
        loaded = _load_sample(spec)
    else:
        raise InvalidInputError(
            f"the {split} split of {name} is not in {resolve_data_dir(data_dir)}: prepare it with "
            f"`advkeras datasets prepare {name}` (--from reads files that are already here)"
        )
    if examples is None:
        return loaded
    if examples > len(loaded) and not is_prepared(spec, data_dir):
        raise InvalidInputError(
            f"{examples:,} examples asked for, but the {loaded.source} has {len(loaded):,}; the full set comes with "
            f"`advkeras datasets prepare {name}` (--from reads files that are already here)"
        )
    return loaded.first(examples)


def require_examples(examples: int | None) -> None:
    """Makes sure that the number of examples asked for makes sense.

    Raises:
        InvalidInputError: if not.
    """
    if examples is not None and examples < 1:
        raise InvalidInputError(f"the number of examples must be at least 1. Received: {examples}")


def load_sample(name: str) -> LabelledImages:
    """The images of the test split that ship inside the package."""
    return _load_sample(get(name))


def to_pixel_unit(images: npt.NDArray[np.uint8], bounds: tuple[float, float]) -> npt.NDArray[np.float32]:
    """Pixels of 8 bits, 0 to 255, scaled to bounds."""
    low, high = bounds
    scaled = images.astype(np.float32)  # all there are, once: the rest happens in place
    scaled *= np.float32((high - low) / 255.0)
    scaled += np.float32(low)
    return scaled


def _load_sample(spec: DatasetSpec) -> LabelledImages:
    images, labels = _sample_arrays(spec)
    source = f"sample that ships with advkeras (the first {spec.sample_size:,} {spec.title} test images)"
    return LabelledImages(to_pixel_unit(images, spec.bounds), labels.astype(np.int32), source, "test")


def _sample_arrays(spec: DatasetSpec) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    file = resources.files("advkeras.datasets") / "samples" / f"{spec.name}_test.npz"
    with file.open("rb") as stream, np.load(stream) as archive:
        return archive["images"], archive["labels"]


def _load_prepared(spec: DatasetSpec, split: str, data_dir: str | os.PathLike[str] | None) -> LabelledImages:
    import tensorflow_datasets as tfds

    folder = prepared_dir(spec, data_dir)
    try:
        builder = tfds.builder_from_directory(str(folder))
        records: Any = tfds.as_numpy(builder.as_dataset(split=split, batch_size=-1))
        images, labels = np.asarray(records["image"]), np.asarray(records["label"])
        if split == "test":
            order = _sample_first(images, _sample_arrays(spec)[0])
            images, labels = images[order], labels[order]
    # What a damaged folder raises depends on which of its files is damaged, and is no part of tfds's interface.
    except Exception as error:
        raise InvalidInputError(
            f"the prepared data set in {folder} is damaged ({first_line(error)}): delete that folder and run "
            f"`advkeras datasets prepare {spec.name}` again"
        ) from error
    source = f"full {spec.title} {split} set ({len(labels):,} images in {folder})"
    return LabelledImages(to_pixel_unit(images, spec.bounds), labels.astype(np.int32), source, split)


def _sample_first(images: npt.NDArray[np.uint8], sample: npt.NDArray[np.uint8]) -> npt.NDArray[np.intp]:
    """An order of the images that starts with the sample's: tensorflow-datasets shuffles what it writes."""
    place = {image.tobytes(): index for index, image in enumerate(images)}
    first = np.array([place[image.tobytes()] for image in sample], dtype=np.intp)
    rest = np.setdiff1d(np.arange(len(images), dtype=np.intp), first)
    return np.concatenate([first, rest])
