"""A data set by one word: a registered name, the user's own .npz file or folder, or a set of tensorflow-datasets."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from advkeras.datasets import own, registry
from advkeras.datasets.loading import LabelledImages, load, require_examples
from advkeras.datasets.registry import DatasetSpec
from advkeras.errors import InvalidInputError, unknown_name

_HELD_OUT = 0.1
_EIGHT_BITS = (0.0, 255.0)


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
    bounds: tuple[float, float] | None = None,
    class_names: tuple[str, ...] | None = None,
    shape: tuple[int, int, int] | None = None,
    num_classes: int | None = None,
    resize: bool = False,
    data_dir: str | os.PathLike[str] | None = None,
) -> Source:
    """The data set that a name stands for.

    Args:
        name: a registered data set; an .npz file with ``images`` (N, H, W, C) and ``labels`` (N,); a folder with a
            subfolder of images for each class, or with such folders for ``train`` and ``test``; or a prepared image
            classification set of tensorflow-datasets.
        bounds: lowest and highest pixel value; pixels of 8 bits are scaled to them. By default those of a registered
            data set, and 0 and 255 for pixels of 8 bits.
        class_names: one for each class; by default the data set's own, else the classes' numbers.
        shape: height, width and channels that images must have; by default those of the data set.
        num_classes: for a data set that does not say it; by default as many as the labels show.
        resize: scale images of another height and width to the shape instead of refusing them (folders and
            tensorflow-datasets).
        data_dir: tensorflow-datasets' cache, see :func:`advkeras.datasets.resolve_data_dir`.

    Raises:
        InvalidInputError: if there is no such data set, it cannot be read, or what it needs to know is not given.
    """
    path = Path(name).expanduser()
    if bounds is not None:
        registry.require_increasing(bounds)
    if str(name) in registry.names():
        return _registered(str(name), bounds, class_names, data_dir)
    prepared = own.tfds_folder(str(name), data_dir)
    if path.is_file() or path.suffix == ".npz":
        found = own.open_npz(path, bounds)
    elif path.is_dir():
        found = own.open_folder(path, shape=shape, bounds=bounds or _EIGHT_BITS, resize=resize)
    elif prepared is not None:
        found = own.open_tfds(str(name), prepared, shape=shape, bounds=bounds or _EIGHT_BITS, resize=resize)
    else:
        raise InvalidInputError(
            unknown_name("data set", str(name), registry.names())
            + "; or give an .npz file, a folder with a subfolder for each class, or an image classification set that "
            "tensorflow-datasets has prepared"
        )
    if class_names and found.class_names and class_names != found.class_names == tuple(sorted(class_names)):
        raise InvalidInputError(
            f"{name} has its classes in the order {', '.join(found.class_names)}, which --classes cannot change. "
            f"Received: {', '.join(class_names)}"
        )
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
        if len(class_names) != spec.num_classes:
            raise InvalidInputError(
                f"{name} has {spec.num_classes} classes. Received: {len(class_names)} names of classes"
            )
        spec = replace(spec, class_names=class_names)
    return Source(
        spec=spec,
        splits=tuple(spec.split_sizes),
        read=lambda split, examples: load(name, split=split, examples=examples, data_dir=data_dir, bounds=spec.bounds),
    )
