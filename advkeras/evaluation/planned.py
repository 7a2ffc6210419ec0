"""What an evaluation was asked for, as data: enough to make its tables of units' results without a model."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from advkeras.errors import require
from advkeras.evaluation.flags import Flag
from advkeras.evaluation.paper import PaperRow
from advkeras.evaluation.results import BENIGN, RegionSettings
from advkeras.record_types import Bounds, Classes, Count, Digest, Finite, Length, Whole
from advkeras.runs.study import Identity
from advkeras.runs.unit import canonical


@dataclass(frozen=True, kw_only=True)
class PlannedRow:
    """One attack, or benign images, on one model; each list has a unit's digest for each slice of images.

    Attributes:
        attack: its name, or ``"benign"``.
        title: as tables call it.
        config: its hyperparameters.
        norm: that counts for the attack; None for benign images.
        minimises: whether it makes the norm small.
        by_queries: whether it needs no gradients.
        unconstrained: whether it may go as far as it takes to be misclassified.
        paper: the paper's figures for it.
        examples: the units of its examples.
        votes: the units of region classification's votes on them.
        rechecks: the units of the check of convergence.
        active: the units of the active test.
        more_work: the hyperparameters that they raise, as a command line takes them after ``--set``; None without a
            check.
    """

    attack: str
    title: str
    config: dict[str, Any]
    norm: Literal["linf", "l2"] | None
    minimises: bool
    paper: PaperRow | None
    examples: tuple[Digest, ...]
    votes: tuple[Digest, ...]
    rechecks: tuple[Digest, ...] = ()
    active: tuple[Digest, ...] = ()
    by_queries: bool = False
    unconstrained: bool = False
    more_work: str | None = None

    def __post_init__(self) -> None:
        require(len(self.examples) == len(self.votes), "a slice has examples and votes", row=self.title)

    @property
    def units(self) -> tuple[str, ...]:
        """All its units."""
        return (*self.examples, *self.votes, *self.rechecks, *self.active)


@dataclass(frozen=True, kw_only=True)
class PlannedModel:
    """A model of an evaluation.

    Attributes:
        name: of the model.
        source: what it was loaded from, as given.
        checksum: of its files, or of its answers.
        logits: how they are had from what the model returns, in words.
        usage: what was said of how the model is used, and its file does not say: preprocessing and the like.
        rows: benign images, then the attacks.
        flags: what is to be known of it before anything is measured; none for most.
        answers: the units of what it answers when it is asked again, and around images.
        unconstrained: the units of an attack that may go as far as it takes; none where a row's does.
        transfers: for each slice, the unit of other models' examples; none where there is one model.
        features: what the active test's last layers look at; empty without it.
    """

    name: str
    source: str
    checksum: str
    logits: str
    rows: tuple[PlannedRow, ...]
    flags: tuple[Flag, ...] = ()
    answers: tuple[Digest, ...] = ()
    unconstrained: tuple[Digest, ...] = ()
    transfers: tuple[Digest, ...] = ()
    features: str = ""
    usage: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        benign = bool(self.rows) and self.rows[0].attack == BENIGN and self.rows[0].norm is None
        require(benign, "the first row must be of benign images", model=self.name)
        slices = {len(row.examples) for row in self.rows}
        require(len(slices) == 1, "all rows must have the same slices", model=self.name)

    @property
    def answers_as(self) -> Identity:
        """What two models have in common that answer alike."""
        return self.checksum, self.usage


@dataclass(frozen=True, kw_only=True)
class PlannedEvaluation:
    """What an evaluation was asked for.

    Attributes:
        dataset: name of the data set.
        dataset_title: as tables call it.
        bounds: lowest and highest pixel value.
        num_classes: of the data set.
        data_source: where the images come from, in words.
        examples: number of images.
        images: checksum of all of them, and of how they are cut into slices.
        pixels: the lowest and the highest one of the images.
        protocol: ``quick`` or ``paper``.
        seed: of all the randomness.
        epsilon: L-inf, in pixel units, at which the accuracy that is left is told.
        region: of region classification.
        models: what is attacked, and how.
        version: of advkeras.
    """

    dataset: str
    dataset_title: str
    bounds: Bounds
    num_classes: Classes
    data_source: str
    examples: Count
    images: str
    pixels: tuple[Finite, Finite]
    protocol: Literal["quick", "paper"]
    seed: Whole
    epsilon: Length
    region: RegionSettings
    models: tuple[PlannedModel, ...]
    version: str

    @property
    def question(self) -> str:
        """What rows must have in common to stand in one table."""
        asked = (self.dataset, self.bounds, self.images, self.protocol, self.seed, self.epsilon)
        return canonical([*asked, self.region.radius, self.region.samples, self.version])


def together(plans: Sequence[PlannedEvaluation], there: set[str]) -> PlannedEvaluation:
    """The last plan, and of those before it what is done and answers the same question.

    Args:
        plans: in the order in which they were asked for, one at least.
        there: digests of the units that have a result.

    Returns:
        A plan with the last one's rows first. A row of the same model and attack counts as asked for last.
    """
    last = plans[-1]
    models = {model.name: model for model in last.models}
    for plan in reversed(plans[:-1]):
        if plan.question != last.question:
            continue
        for model in plan.models:
            known = models.get(model.name)
            has = {row.attack for row in known.rows} if known else set()
            rows = tuple(row for row in model.rows if row.attack not in has and there.issuperset(row.units))
            if known is None and rows and rows[0].norm is None:
                models[model.name] = replace(model, rows=rows)
            elif known is not None and known.answers_as == model.answers_as:
                models[model.name] = replace(known, rows=(*known.rows, *rows))
    return replace(last, models=tuple(models.values()))
