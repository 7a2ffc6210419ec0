"""What is attacked: data sets, their pixel units and the protocol's constants on them."""

from advkeras.datasets.loading import (
    LabelledImages,
    is_prepared,
    load,
    load_npz,
    load_sample,
    prepared_dir,
    resolve_data_dir,
)
from advkeras.datasets.preparation import prepare
from advkeras.datasets.registry import MNIST, DatasetSpec, ProtocolConstants, get, names

__all__ = [
    "MNIST",
    "DatasetSpec",
    "LabelledImages",
    "ProtocolConstants",
    "get",
    "is_prepared",
    "load",
    "load_npz",
    "load_sample",
    "names",
    "prepare",
    "prepared_dir",
    "resolve_data_dir",
]
