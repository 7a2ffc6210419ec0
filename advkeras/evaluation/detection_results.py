"""What detectors of adversarial examples are worth, as detection.json holds it; nothing needs TensorFlow."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from advkeras.files import read_json, require_schema, write_json
from advkeras.proportion import Proportion

SCHEMA_VERSION = 1
FILE_NAME = "detection.json"


@dataclass(frozen=True, kw_only=True)
class DetectionRow:
    """One detector.

    Attributes:
        detector: ``"boundaries"``, the network of :class:`BoundaryDetector`; or ``"agreement"``, the share of a
            region's points that have the image's own class, held against the training images' balanced threshold.
        trained_on: title of the attack whose examples it was trained on.
        false_positives: benign images of the test part that it takes for adversarial.
        false_negatives: for each attack's title, examples of the test part that it takes for benign.
        auc: for each attack's title, the area under the ROC curve; None without examples.
    """

    detector: str
    trained_on: str
    false_positives: Proportion
    false_negatives: dict[str, Proportion]
    auc: dict[str, float | None]


@dataclass(frozen=True, kw_only=True)
class DetectionReport:
    """What detectors of adversarial examples on one model are worth, as detection.json holds it.

    Attributes:
        dataset: name.
        dataset_title: as tables call it.
        data_source: where the images come from.
        model: name.
        examples: images that were attacked; the first four fifths are the training part, the rest the test part.
        search: parameters of the search for boundaries.
        attacks: for each attack's title, its hyperparameters.
        checksum: of the model's files.
        training: steps, batch size and seed of the detectors' training.
        agreement: radius and number of points of the region whose agreement is the simpler detector's score.
        rows: one for each detector.
        distortion: for each attack's title, mean RMS of its successful examples in the test part; None without any.
        provenance: what it was made with.
        schema_version: of this structure.
    """

    dataset: str
    dataset_title: str
    data_source: str
    model: str
    examples: int
    search: dict[str, Any]
    attacks: dict[str, dict[str, Any]]
    checksum: str
    training: dict[str, int]
    agreement: dict[str, Any]
    rows: tuple[DetectionRow, ...]
    distortion: dict[str, float | None]
    provenance: dict[str, Any]
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        rows = [
            {
                "detector": row.detector,
                "trained_on": row.trained_on,
                "false_positives": row.false_positives.to_json(),
                "false_negatives": {title: share.to_json() for title, share in row.false_negatives.items()},
                "auc": row.auc,
            }
            for row in self.rows
        ]
        return {**asdict(self), "rows": rows}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "DetectionReport":
        """The inverse of :meth:`to_json`."""
        require_schema(data, SCHEMA_VERSION)
        rows = tuple(
            DetectionRow(
                detector=row["detector"],
                trained_on=row["trained_on"],
                false_positives=Proportion.from_json(row["false_positives"]),
                false_negatives={title: Proportion.from_json(share) for title, share in row["false_negatives"].items()},
                auc=row["auc"],
            )
            for row in data["rows"]
        )
        return cls(**{**data, "rows": rows})

    def write(self, folder: Path) -> None:
        """Writes detection.json, whole or not at all."""
        write_json(folder / FILE_NAME, self.to_json())


def read_detection(path: str | os.PathLike[str]) -> DetectionReport:
    """Reads detection.json, or the one in a folder.

    Raises:
        InvalidInputError: if there is none, it is damaged, or another version of advkeras wrote it.
    """
    return read_json(path, FILE_NAME, DetectionReport.from_json, what="detectors")
