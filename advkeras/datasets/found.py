"""What is asked of a data set that advkeras does not know, and what such a set says of itself."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from advkeras.datasets.loading import LabelledImages

Shape = tuple[int, int, int]
Bounds = tuple[float, float]

EIGHT_BITS: Bounds = (0.0, 255.0)
# What the second part of a data set may be called, the best name first.
TEST_SPLITS = ("test", "validation", "val")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """How a data set is to be read.

    Attributes:
        bounds: lowest and highest pixel value; pixels of 8 bits are scaled to them.
        class_names: one for each class, in their order.
        shape: height, width and channels that images must have.
        resize: scale pictures of another height and width to the shape instead of refusing them.
        arrays: what the arrays of images and of labels are called in a file.
        labels: a file of labels beside a file of images, or beside a folder of pictures without subfolders.
        skip_broken: leave out pictures that cannot be read instead of refusing the folder.
        exif: turn pictures as their EXIF entries say.
    """

    bounds: Bounds | None = None
    class_names: tuple[str, ...] | None = None
    shape: Shape | None = None
    resize: bool = False
    arrays: tuple[str, str] | None = None
    labels: Path | None = None
    skip_broken: bool = False
    exif: bool = False


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
