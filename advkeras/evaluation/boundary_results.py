"""What the decision boundaries around images have in common, as boundaries.json holds it; nothing needs TensorFlow."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from advkeras.errors import InvalidInputError
from advkeras.files import write_atomically

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
        region_radius: of region classification, in pixel units.
        models: for each model's name, its rows.
        provenance: what it was made with.
    """

    dataset: str
    dataset_title: str
    data_source: str
    examples: int
    bounds: tuple[float, float]
    search: dict[str, Any]
    region_radius: float
    models: dict[str, tuple[BoundaryRow, ...]]
    provenance: dict[str, Any]

    @property
    def region_distance(self) -> float:
        """Expected RMS of a point of region classification's hypercube."""
        return self.region_radius / float(np.sqrt(3))

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {**asdict(self), "region_distance": self.region_distance}

    def write(self, folder: Path) -> None:
        """Writes boundaries.json, whole or not at all."""
        write_atomically(folder / FILE_NAME, (json.dumps(self.to_json(), indent=2) + "\n").encode())


def read_report(path: str | os.PathLike[str]) -> BoundaryReport:
    """Reads boundaries.json, or the one in a folder.

    Raises:
        InvalidInputError: if there is none, or it cannot be read.
    """
    path = Path(path)
    path = path / FILE_NAME if path.is_dir() else path
    try:
        data = json.loads(path.read_text())
        del data["region_distance"]
        models = {
            name: tuple(BoundaryRow(**{**row, "purity": tuple(row["purity"])}) for row in rows)
            for name, rows in data.pop("models").items()
        }
        return BoundaryReport(**{**data, "bounds": tuple(data["bounds"]), "models": models})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InvalidInputError(f"{path} holds no boundaries: {error}") from None
