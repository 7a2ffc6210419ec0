"""Security curves, accuracy against epsilon, as data: what curve.json and curve.csv hold."""

import csv
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import computed_field

from advkeras import records
from advkeras.evaluation.flags import Flag
from advkeras.proportion import Proportion
from advkeras.provenance import UNKNOWN, Provenance
from advkeras.record_types import Bounds, Count, Length, Whole

SCHEMA_VERSION = 1
FILE_NAME, CSV_NAME = "curve.json", "curve.csv"
WHAT = "security curves"

_COLUMNS = ("model", "attack", "epsilon", "accuracy", "low", "high", "right", "images")


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """What is left at one epsilon.

    Attributes:
        epsilon: in pixel units, in the curve's norm.
        right: images for which the search found no misclassified example within epsilon.
        check: images for which the fixed-norm attack at this epsilon found none; None without it.
    """

    epsilon: Length
    right: Proportion
    check: Proportion | None = None

    @property
    def gap(self) -> float | None:
        """Accuracy by the check less that by the search, of the same images; None where there is no such thing."""
        if self.check is None or not self.check.of or self.check.of != self.right.of:
            return None
        return (self.check.count - self.right.count) / self.right.of


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Accuracy of one model against epsilon.

    Attributes:
        name: of the model.
        source: what it was loaded from, as given.
        checksum: of its files, or of its answers.
        distances: for each image, in the data's order, the least distance in pixel units at which a misclassified
            example was found; 0 for an image that is classified wrongly as it is, None where nothing was found.
        points: at the epsilons that were asked for.
        zero_gradients: gradients of the search that were 0 everywhere.
        nonfinite_gradients: gradients of the search in which something was NaN or infinite.
        gradient_count: images sent forward and backward, by the search.
        seconds: of the search.
    """

    name: str
    source: str
    checksum: str
    distances: tuple[Length | None, ...]
    points: tuple[CurvePoint, ...]
    zero_gradients: Count = 0
    nonfinite_gradients: Count = 0
    gradient_count: Count = 0
    seconds: Length = 0.0

    @computed_field  # type: ignore[prop-decorator]
    @property
    def benign(self) -> Proportion:
        """Accuracy at epsilon 0."""
        return self.accuracy(0.0)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def median(self) -> float | None:
        """The least epsilon at which at most half of the images are left; None where more than half always are."""
        found = np.sort(self._found)
        place = (len(self.distances) + 1) // 2 - 1
        return float(found[place]) if 0 <= place < len(found) else None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def unfound(self) -> int:
        """Images for which no misclassified example was found at any distance; the curve never falls below them."""
        return len(self.distances) - len(self._found)

    @property
    def _found(self) -> npt.NDArray[np.float64]:
        return np.array([each for each in self.distances if each is not None], np.float64)

    def accuracy(self, epsilon: float) -> Proportion:
        """The images whose least distance is more than epsilon, in pixel units."""
        images = len(self.distances)
        return Proportion(images - int((self._found <= epsilon).sum()), images)

    def steps(self) -> list[tuple[float, Proportion]]:
        """The epsilons at which the curve falls, and what is left from there on; it begins at epsilon 0."""
        images, found = len(self.distances), np.sort(self._found)
        epsilons = np.unique(np.append(found, 0.0))
        left = images - np.searchsorted(found, epsilons, side="right")
        return [(float(at), Proportion(int(count), images)) for at, count in zip(epsilons, left, strict=True)]


@dataclass(frozen=True, kw_only=True)
class CurveReport:
    """The security curves of one or several models, as curve.json holds them.

    Attributes:
        dataset: name.
        dataset_title: as tables call it.
        data_source: where the images come from.
        examples: number of images.
        bounds: lowest and highest pixel value.
        epsilon: the data set's, L-inf, in pixel units.
        norm: of the distances: ``linf``, the largest change of a pixel, or ``l2``, the Euclidean length.
        search: title of the attack that looked for the least distances.
        search_config: its hyperparameters.
        check: title of the fixed-norm attack that stands beside the curve; empty without one.
        check_configs: its hyperparameters, for each epsilon.
        at: the epsilons that were asked for, in pixel units.
        seed: of all the randomness.
        models: their curves.
        flags: what may be wrong with what was measured; none for most.
        provenance: what it was made with.
        units_left: units of an unfinished run that have no result; curves are of the images done so far.
        plan: digest of the plan that the results are of.
        schema_version: of this structure.
    """

    dataset: str
    dataset_title: str
    data_source: str
    examples: Count
    bounds: Bounds
    epsilon: Length
    norm: Literal["linf", "l2"]
    search: str
    search_config: dict[str, Any]
    check: str
    check_configs: tuple[dict[str, Any], ...]
    at: tuple[Length, ...]
    seed: Whole
    models: tuple[Curve, ...]
    flags: tuple[Flag, ...] = ()
    provenance: Provenance = UNKNOWN
    units_left: Count = 0
    plan: str = ""
    schema_version: int = SCHEMA_VERSION

    @property
    def largest_gap(self) -> tuple[Curve, CurvePoint] | None:
        """The model and the epsilon at which check and search differ most; None without a check."""
        pairs = [(model, point) for model in self.models for point in model.points if point.gap is not None]
        return max(pairs, key=lambda pair: abs(pair[1].gap or 0.0)) if pairs else None


def as_csv(report: CurveReport) -> str:
    """Curves for a spreadsheet or a plot: a line for each step of each model's curve.

    The columns are ``model, attack, epsilon, accuracy, low, high, right, images``: from this epsilon on, in pixel
    units, the attack leaves so many of the images right; low and high are the ends of the accuracy's 95% interval. A
    model's first line is at epsilon 0, its accuracy on benign images. A check's lines are at the epsilons that it was
    run at.
    """
    made = io.StringIO()
    lines = csv.writer(made, lineterminator="\n")
    lines.writerow(_COLUMNS)
    for model in report.models:
        checked = [(point.epsilon, point.check) for point in model.points if point.check is not None]
        for attack, values in ((report.search, model.steps()), (report.check, checked)):
            lines.writerows((model.name, attack, epsilon, *_cells(left)) for epsilon, left in values)
    return made.getvalue()


def _cells(left: Proportion) -> Iterator[Any]:
    low, high = left.interval()
    yield from (left.rate, low, high, left.count, left.of)


def read(path: str | os.PathLike[str]) -> CurveReport:
    """Reads curve.json, or the one in a folder.

    Raises:
        InvalidInputError: if there is none, it is damaged, or another version of advkeras wrote it.
    """
    return records.read(path, FILE_NAME, CurveReport, what=WHAT, schema_version=SCHEMA_VERSION)
