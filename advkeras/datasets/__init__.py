"""What is attacked: data sets, their pixel units and how far attacks go on them."""

from advkeras.datasets.loading import (
    LabelledImages,
    is_prepared,
    load,
    load_sample,
    prepared_dir,
    resolve_data_dir,
)
from advkeras.datasets.preparation import prepare, prepared_folder
from advkeras.datasets.registry import CIFAR10, MNIST, DatasetSpec, get, names
from advkeras.datasets.sources import Source, find, from_arrays, from_dataset

__all__ = [
    "CIFAR10",
    "MNIST",
    "DatasetSpec",
    "LabelledImages",
    "Source",
    "find",
    "from_arrays",
    "from_dataset",
    "get",
    "is_prepared",
    "load",
    "load_sample",
    "names",
    "prepare",
    "prepared_dir",
    "prepared_folder",
    "resolve_data_dir",
]
