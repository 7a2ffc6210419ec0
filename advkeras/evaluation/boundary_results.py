"""What the decision boundaries around images have in common, as boundaries.json holds it; nothing needs TensorFlow."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from advkeras.files import read_json, require_schema, write_json

SCHEMA_VERSION = 1
FILE_NAME = "boundaries.json"


@dataclass(frozen=True, kw_only=True)
class BoundaryRow:
    """What the boundaries around images of one kind have in common.

    Attributes:
        kind: ``"benign"`` or the attack's name.
        title: as tables call it.
        images: number of images.
        median_distance: over images and directions, RMS in pixel units; None where most directions meet no boundary.
        unmet: share of the directions that meet no boundary.
        purity: mean purities of the top 1, 2, ... adjacent classes, over the images around which a boundary was met.
        forward_count: single images sent forward.
        seconds: of the search.
    """

    kind: str
    title: str
    images: int
    median_distance: float | None
    unmet: float
    purity: tuple[float, ...]
    forward_count: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class BoundaryReport:
    """The boundaries of one or several models, as boundaries.json holds them.

    Attributes:
        dataset: name.
        dataset_title: as tables call it.
        data_source: where the images come from.
        examples: number of images that were attacked.
        bounds: lowest and highest pixel value.
        search: parameters of the search for boundaries.
        attacks: for each attack's title, its hyperparameters.
        checksums: for each model's name, the checksum of its files.
        region_radius: of region classification, in pixel units.
        models: for each model's name, its rows.
        provenance: what it was made with.
        schema_version: of this structure.
    """

    dataset: str
    dataset_title: str
    data_source: str
    examples: int
    bounds: tuple[float, float]
    search: dict[str, Any]
    attacks: dict[str, dict[str, Any]]
    checksums: dict[str, str]
    region_radius: float
    models: dict[str, tuple[BoundaryRow, ...]]
    provenance: dict[str, Any]
    schema_version: int = SCHEMA_VERSION

    @property
    def region_distance(self) -> float:
        """Expected RMS of a point of region classification's hypercube."""
        return self.region_radius / float(np.sqrt(3))

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {**asdict(self), "region_distance": self.region_distance}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "BoundaryReport":
        """The inverse of :meth:`to_json`."""
        require_schema(data, SCHEMA_VERSION)
        models = {
            name: tuple(BoundaryRow(**{**row, "purity": tuple(row["purity"])}) for row in rows)
            for name, rows in data["models"].items()
        }
        kept = {key: value for key, value in data.items() if key != "region_distance"}
        return cls(**{**kept, "bounds": tuple(data["bounds"]), "models": models})

    def write(self, folder: Path) -> None:
        """Writes boundaries.json, whole or not at all."""
        write_json(folder / FILE_NAME, self.to_json())


def read_report(path: str | os.PathLike[str]) -> BoundaryReport:
    """Reads boundaries.json, or the one in a folder.

    Raises:
        InvalidInputError: if there is none, it is damaged, or another version of advkeras wrote it.
    """
    return read_json(path, FILE_NAME, BoundaryReport.from_json, what="boundaries")
