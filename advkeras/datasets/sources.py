"""A data set by one word: a registered name, the user's own file or folder, or a set of tensorflow-datasets."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from advkeras.datasets import array_files, registry
from advkeras.datasets.array_parts import Part, found_in
from advkeras.datasets.folders import open_folder
from advkeras.datasets.found import Bounds, Found, Shape, Wanted
from advkeras.datasets.loading import LabelledImages, load, require_examples
from advkeras.datasets.pipelines import collected
from advkeras.datasets.prepared_sets import open_tfds, tfds_folder
from advkeras.datasets.registry import DatasetSpec
from advkeras.errors import InvalidInputError, require_increasing, unknown_name
from advkeras.runs.remote import fetched, is_url

_HELD_OUT = 0.1


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set that can be read.

    Attributes:
        spec: what is known of it.
        splits: ``("train", "test")``, or ``("test",)`` where there is only one part.
        read: a split's first images; all of them where their number is None.
    """

    spec: DatasetSpec
    splits: tuple[str, ...]
    read: Callable[[str, int | None], LabelledImages]

    def called(self, before: str, after: str) -> "Source":
        """The same data set, whose place is called otherwise in words."""

        def read(split: str, examples: int | None) -> LabelledImages:
            data = self.read(split, examples)
            return replace(data, source=data.source.replace(before, after))

        return self if before == after else replace(self, read=read)

    def load(self, *, split: str = "test", examples: int | None = None, at_most: int | None = None) -> LabelledImages:
        """The first images of a split; all there are by default.

        Args:
            split: ``"train"`` or ``"test"``.
            examples: so many images.
            at_most: without examples: so many images, or all where there are fewer.

        Raises:
            InvalidInputError: if there are fewer, a label is none of the classes, or a pixel lies outside the bounds.
        """
        require_examples(examples)
        data = self.read(split, at_most if examples is None else examples)
        low, high = self.spec.bounds
        if data.labels.max() >= self.spec.num_classes:
            raise InvalidInputError(
                f"labels must lie in 0...{self.spec.num_classes - 1}, the classes. Received: {data.labels.max()} in "
                f"the {data.source}"
            )
        if not (data.images.min() >= low - 1e-5 * (high - low) and data.images.max() <= high + 1e-5 * (high - low)):
            raise InvalidInputError(
                f"the bounds are [{low:g}, {high:g}], but pixels of the {data.source} lie in "
                f"[{data.images.min():g}, {data.images.max():g}]: scale the images, or give the bounds "
                "(--bounds LOW HIGH)"
            )
        return data if examples is None else data.first(examples)

    def training_and_test(self, *, examples: int | None = None) -> tuple[LabelledImages, LabelledImages]:
        """Images to train on and others to test on; a tenth is held out where there is only one part.

        Args:
            examples: use only the first training images.
        """
        if "train" in self.splits:
            return self.load(split="train", examples=examples), self.load()
        data = self.load()
        held_out = np.zeros(len(data), bool)
        chosen = np.random.default_rng(0).permutation(len(data))[: max(1, round(_HELD_OUT * len(data)))]
        held_out[chosen] = True
        training, test = data.where(~held_out), data.where(held_out)
        training = replace(training, source=f"{data.source}, without a tenth", split="train")
        test = replace(test, source=f"tenth of the {data.source} that is held out")
        return (training if examples is None else training.first(examples)), test


def find(
    name: str | os.PathLike[str],
    *,
    bounds: Bounds | None = None,
    class_names: tuple[str, ...] | None = None,
    shape: Shape | None = None,
    num_classes: int | None = None,
    resize: bool = False,
    arrays: tuple[str, str] | None = None,
    labels: str | os.PathLike[str] | None = None,
    skip_broken: bool = False,
    exif: bool = False,
    data_dir: str | os.PathLike[str] | None = None,
) -> Source:
    """The data set that a name stands for.

    Args:
        name: a registered data set; a file of arrays (.npz, .npy, .h5, .csv) or a folder, here or behind a URL: with a
            subfolder of pictures for each class, or with such folders for ``train`` and ``test``, or of pictures that
            ``labels`` names; or a prepared image classification set of tensorflow-datasets.
        bounds: lowest and highest pixel value; pixels of 8 bits are scaled to them. By default those of a registered
            data set, and 0 and 255 for pixels of 8 bits.
        class_names: one for each class; by default the data set's own, else the classes' numbers. The names of a
            folder's subfolders, in another order, are that order.
        shape: height, width and channels that images must have; by default those of the data set.
        num_classes: for a data set that does not say it; by default as many as the labels show.
        resize: scale images of another height and width to the shape instead of refusing them (folders and
            tensorflow-datasets).
        arrays: what the arrays of images and of labels are called in a file; the usual names by default.
        labels: a file of labels beside a file of images (.npy, .csv), or beside a flat folder of pictures (.csv).
        skip_broken: leave out pictures that cannot be read instead of refusing the folder.
        exif: turn pictures as their EXIF entries say.
        data_dir: tensorflow-datasets' cache, see :func:`advkeras.datasets.resolve_data_dir`.

    Raises:
        InvalidInputError: if there is no such data set, it cannot be read, or what it needs to know is not given.
    """
    given, name = name, fetched(str(name)) if is_url(name) else name
    path = Path(name).expanduser()
    if bounds is not None:
        require_increasing(bounds)
    if str(name) in registry.names():
        return _registered(str(name), bounds, class_names, data_dir)
    wanted = Wanted(
        bounds=bounds,
        class_names=class_names,
        shape=shape,
        resize=resize,
        arrays=arrays,
        labels=Path(labels) if labels is not None else None,
        skip_broken=skip_broken,
        exif=exif,
    )
    prepared = tfds_folder(str(name), data_dir)
    if path.suffix.lower() in array_files.SUFFIXES or path.is_file():
        found = array_files.open_array_file(path, wanted)
    elif path.is_dir():
        found = open_folder(path, wanted)
    elif prepared is not None:
        found = open_tfds(str(name), prepared, wanted)
    elif path.suffix or len(path.parts) > 1 or str(name).endswith(os.sep):
        raise InvalidInputError(f"there is no file or folder {name}, nor has tensorflow-datasets prepared a set of it")
    else:
        raise InvalidInputError(
            unknown_name("data set", str(name), registry.names())
            + f"; or give a file of arrays ({', '.join(array_files.SUFFIXES)}), a folder with a subfolder for each "
            "class, or an image classification set that tensorflow-datasets has prepared"
        )
    return _source(found, class_names, num_classes).called(str(name), str(given))


def from_arrays(
    images: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    name: str = "arrays",
    bounds: Bounds | None = None,
    class_names: tuple[str, ...] | None = None,
    shape: Shape | None = None,
    num_classes: int | None = None,
) -> Source:
    """Images and labels in memory as a data set, in any form that :func:`find` reads from a file.

    Args:
        images: (N, H, W, C), (N, H, W) or (N, C, H, W), of numbers or booleans.
        labels: (N,) or (N, 1) whole numbers or names, or one-hot rows (N, classes).
        name: of the data set.
        bounds: as for :func:`find`.
        class_names: as for :func:`find`.
        shape: as for :func:`find`.
        num_classes: as for :func:`find`.

    Raises:
        InvalidInputError: as for :func:`find`.
    """
    wanted = Wanted(bounds=bounds, class_names=class_names, shape=shape)
    parts = {"test": lambda: Part.of(np.asarray(images), np.asarray(labels))}
    found = found_in(parts, wanted, name=name, where=name, source=name)
    return _source(found, class_names, num_classes)


def from_dataset(
    dataset: Iterable[Any],
    *,
    name: str = "dataset",
    bounds: Bounds | None = None,
    class_names: tuple[str, ...] | None = None,
    shape: Shape | None = None,
    num_classes: int | None = None,
    examples: int | None = None,
) -> Source:
    """A ``tf.data.Dataset`` of images and labels, as ``keras.utils.image_dataset_from_directory`` gives it.

    Args:
        dataset: of pairs of images and labels, batched or not; or any other iterable of such pairs.
        name: of the data set.
        bounds: as for :func:`find`.
        class_names: as for :func:`find`; those of the data set where it has some.
        shape: as for :func:`find`.
        num_classes: as for :func:`find`.
        examples: so many are read; all by default.

    Raises:
        InvalidInputError: as for :func:`find`.
    """
    images, labels = collected(dataset, examples=examples)
    known = getattr(dataset, "class_names", None)
    names = class_names or (tuple(known) if known else None)
    return from_arrays(
        images[:examples],
        labels[:examples],
        name=name,
        bounds=bounds,
        class_names=names,
        shape=shape,
        num_classes=num_classes,
    )


def _source(found: Found, class_names: tuple[str, ...] | None, num_classes: int | None) -> Source:
    if class_names and found.class_names:
        _require_as_many(class_names, found.class_names, found.name)
    names = class_names or found.class_names or tuple(map(str, range(num_classes or found.labels_seen())))
    spec = registry.own(found.name, bounds=found.bounds, shape=found.shape, class_names=names)
    return Source(spec=spec, splits=found.splits, read=found.read)


def _registered(
    name: str,
    bounds: tuple[float, float] | None,
    class_names: tuple[str, ...] | None,
    data_dir: str | os.PathLike[str] | None,
) -> Source:
    spec = registry.get(name) if bounds is None else registry.get(name).with_bounds(bounds)
    if class_names is not None:
        _require_as_many(class_names, spec.class_names, name)
        spec = replace(spec, class_names=class_names)
    return Source(
        spec=spec,
        splits=tuple(spec.split_sizes),
        read=lambda split, examples: load(name, split=split, examples=examples, data_dir=data_dir, bounds=spec.bounds),
    )


def _require_as_many(class_names: tuple[str, ...], known: tuple[str, ...], name: str) -> None:
    if len(class_names) != len(known):
        raise InvalidInputError(f"{name} has {len(known)} classes. Received: {len(class_names)} names of classes")
