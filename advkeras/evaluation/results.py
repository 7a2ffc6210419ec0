"""The results of an evaluation as data: what results.json holds. Tables and reports are made from it alone."""

import os
from dataclasses import dataclass, field
from typing import Any, Literal

from advkeras import records
from advkeras.evaluation.flags import Flag
from advkeras.evaluation.paper import PaperRow
from advkeras.models.reading import AS_RETURNED
from advkeras.proportion import Proportion
from advkeras.provenance import Provenance
from advkeras.record_types import Bounds, Count, Length, Whole

SCHEMA_VERSION = 3
FILE_NAME = "results.json"
WHAT = "the results of an evaluation"
BENIGN = "benign"


@dataclass(frozen=True)
class Distortion:
    """RMS of the successful examples, in the data set's pixel unit.

    Attributes:
        mean: the paper's average distortion.
        low: lower end of the mean's 95% interval; None for a single example.
        high: upper end of the mean's 95% interval; None for a single example.
        median: the middle one.
    """

    mean: Length
    low: Length | None
    high: Length | None
    median: Length


# A distortion that more work makes smaller by more than this share had not ended.
_FALL = 0.05


@dataclass(frozen=True, kw_only=True)
class Convergence:
    """An attack beside itself with twice the work, on a few of a run's images.

    Attributes:
        setting: the attack's hyperparameters that say how much it does, with the values of more work.
        images: how many were attacked again.
        success: successes on them, with the work of the run.
        success_again: successes with more.
        distortion: mean over the images on which both succeed, in the norm that the attack makes small, with the work
            of the run; None for an attack that makes none small, and where there are none.
        distortion_again: with more.
        seconds: of the check.
    """

    setting: str
    images: Count
    success: Count
    success_again: Count
    distortion: Length | None
    distortion_again: Length | None
    seconds: Length

    @property
    def converged(self) -> bool:
        """Whether more work brought neither more successes nor markedly less distortion."""
        return self.success_again <= self.success and self.fall <= _FALL

    @property
    def fall(self) -> float:
        """By what share the distortion fell."""
        if self.distortion is None or self.distortion_again is None or not self.distortion:
            return 0.0
        return 1 - self.distortion_again / self.distortion


@dataclass(frozen=True, kw_only=True)
class WorstCase:
    """What all attacks of a run together leave of a model, image by image.

    Attributes:
        epsilon: L-inf, in pixel units.
        within: accuracy left: images for which no attack found a misclassified example within epsilon.
        success: share of the correctly classified images for which a minimum-norm attack found an example.
        distortion: of the nearest example that any minimum-norm attack found, RMS; None without any.
    """

    epsilon: Length
    within: Proportion
    success: Proportion
    distortion: Distortion | None


@dataclass(frozen=True, kw_only=True)
class Row:
    """One attack, or benign images, on one model.

    Attributes:
        attack: its name, or ``"benign"``.
        title: as tables call it.
        config: its hyperparameters.
        region: accuracy of region classification.
        point: accuracy of point classification.
        success: share of the correctly classified images for which the attack succeeded.
        distortion: of the successful examples; None without any.
        within: accuracy left within the run's epsilon, L-inf; None for an attack that keeps neither within it nor
            makes that norm small.
        median_linf: of the successful examples, for an attack that makes L-inf small.
        convergence: the attack beside itself with more work; None where that was not looked at.
        active: the active test: of images around which an example surely exists, those on which the attack finds it.
        zero_gradients: gradients that were 0 everywhere, over all images.
        nonfinite_gradients: gradients in which something was NaN or infinite.
        forward_count: images sent forward only, by the attack.
        gradient_count: images sent forward and backward, by the attack.
        seconds: of the attack, then of region classification.
        paper: the paper's figures for it, where there are some.
        examples_file: where the examples are, relative to the results.
    """

    attack: str
    title: str
    config: dict[str, Any]
    region: Proportion
    point: Proportion
    success: Proportion | None = None
    distortion: Distortion | None = None
    within: Proportion | None = None
    median_linf: Length | None = None
    convergence: Convergence | None = None
    active: Proportion | None = None
    zero_gradients: Count = 0
    nonfinite_gradients: Count = 0
    forward_count: Count = 0
    gradient_count: Count = 0
    seconds: Length = 0.0
    region_seconds: Length = 0.0
    paper: PaperRow | None = None
    examples_file: str = ""


@dataclass(frozen=True, kw_only=True)
class ModelResult:
    """All rows of one model.

    Attributes:
        name: of the model.
        source: what it was loaded from, as given.
        checksum: SHA-256 of graph and weights, or of the .keras file; of its answers for a model in memory.
        rows: benign images, then the attacks.
        worst: what all of them together leave; None without attacks.
        logits: how they are had from what the model returns, in words.
        features: what the active test's last layers look at, in words; empty without it.
        usage: what was said of how the model is used, and its file does not say: preprocessing and the like.
    """

    name: str
    source: str
    checksum: str
    rows: tuple[Row, ...]
    worst: WorstCase | None = None
    logits: str = AS_RETURNED
    features: str = ""
    usage: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RegionSettings:
    """Of region classification.

    Attributes:
        radius: half the edge of the hypercube, in pixel units.
        samples: points drawn from it.
    """

    radius: Length
    samples: Count


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One run of ``advkeras evaluate``.

    Attributes:
        dataset: name of the data set.
        dataset_title: as tables call it.
        bounds: lowest and highest pixel value.
        data_source: where the images come from, in words.
        examples: number of images.
        protocol: ``quick`` or ``paper``.
        seed: of all the randomness.
        region: of region classification.
        models: their results.
        flags: what may be wrong with what was evaluated, or with how; none for most.
        units_left: units of an unfinished run that have no result; rows are of the images done so far.
        plan: digest of the plan that the results are of.
        provenance: what they were made with.
        schema_version: of this structure.
    """

    dataset: str
    dataset_title: str
    bounds: Bounds
    data_source: str
    examples: Count
    protocol: Literal["quick", "paper"]
    seed: Whole
    region: RegionSettings
    models: tuple[ModelResult, ...]
    provenance: Provenance
    flags: tuple[Flag, ...] = ()
    units_left: Count = 0
    plan: str = ""
    schema_version: int = SCHEMA_VERSION


def read(path: str | os.PathLike[str]) -> Evaluation:
    """Reads results.json, or the one in a folder.

    Raises:
        InvalidInputError: if there is none, it is damaged, or another version of advkeras wrote it.
    """
    return records.read(path, FILE_NAME, Evaluation, what=WHAT, schema_version=SCHEMA_VERSION)
