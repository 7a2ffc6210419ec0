"""What has changed between two models that were evaluated on the same images, image by image; without TensorFlow."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from advkeras.arrays import BoolArray
from advkeras.errors import InvalidInputError, unknown_name
from advkeras.evaluation.fold import EVALUATION, RowOutcomes, outcomes
from advkeras.evaluation.planned import PlannedEvaluation, PlannedModel
from advkeras.evaluation.requirements import REGION, WORST_CASE, Requirement, judged, known_as, require_finished
from advkeras.evaluation.results import BENIGN, RegionSettings
from advkeras.evaluation.unit_results import LABELS, PIXELS, result_of
from advkeras.proportion import PairedDifference
from advkeras.record_types import Bounds, Count, Length
from advkeras.runs.plan import Plan
from advkeras.runs.remote import is_url
from advkeras.runs.store import Store
from advkeras.runs.unit import canonical

SCHEMA_VERSION = 1

_Slices = dict[int, BoolArray]


@dataclass(frozen=True, kw_only=True)
class Change:
    """One accuracy of two models, on the same images.

    Attributes:
        what: ``benign``, ``region`` (of benign images), ``worst-case``, or an attack's name, as requirements call it.
        title: as tables call it.
        difference: accuracy of the second model less that of the first; ``gained`` counts the images that the second
            alone has right, ``lost`` those that the first alone has.
    """

    what: str
    title: str
    difference: PairedDifference


@dataclass(frozen=True, kw_only=True)
class PairOfModels:
    """Two models that are compared.

    Attributes:
        before: name of the first.
        after: name of the second.
        same: whether their files, or their answers, have the same checksum, and they are used alike.
        attacks: titles of those that both were attacked by with the same parameters; the worst case is over them.
        changes: of each accuracy that both have.
    """

    before: str
    after: str
    same: bool
    attacks: tuple[str, ...]
    changes: tuple[Change, ...]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two runs of ``advkeras evaluate``, or two models of one.

    Attributes:
        before: folder or URL of the run that the first models are of.
        after: of the run that the second models are of.
        dataset_title: as tables call the data set.
        data_source: where the images come from, in words.
        bounds: lowest and highest pixel value.
        examples: number of images.
        epsilon: L-inf, in pixel units, at which the accuracy that is left is told.
        region: of region classification.
        pairs: of models.
        remarks: lines about what could not be compared, and what else differs.
        units_left: units of unfinished runs that have no result; changes are of the images that both have done.
        schema_version: of this structure.
    """

    before: str
    after: str
    dataset_title: str
    data_source: str
    bounds: Bounds
    examples: Count
    epsilon: Length
    region: RegionSettings
    pairs: tuple[PairOfModels, ...]
    remarks: tuple[str, ...] = ()
    units_left: Count = 0
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True)
class _Run:
    """A run of evaluate, as far as it is."""

    place: str
    store: Store
    asked: PlannedEvaluation
    plan: Plan

    @classmethod
    def read(cls, place: str) -> "_Run":
        """The last evaluation in a folder, and what those before it add; of its results.json, that of its folder."""
        folder = place if is_url(place) or not Path(place).is_file() else str(Path(place).parent)
        store = Store(folder)
        try:
            asked, plan = EVALUATION.asked_for(store, store.digests())
        except InvalidInputError as error:
            raise InvalidInputError(f"{error}: give the --output of advkeras evaluate, with its units") from None
        return cls(place, store, asked, plan)

    def model(self, name: str) -> PlannedModel:
        known = {model.name: model for model in self.asked.models}
        if name not in known:
            raise InvalidInputError(unknown_name(f"model of {self.place}", name, tuple(known)))
        return known[name]

    @property
    def names(self) -> list[str]:
        return [model.name for model in self.asked.models]


def compare(before: str, after: str | None = None, models: Sequence[str] = ()) -> Comparison:
    """Pairs the images of two runs, and counts for each accuracy those that only one of two models has right.

    Args:
        before: folder or URL of a run of evaluate, or its results.json.
        after: of another one; the same one by default.
        models: pairs as ``"old=new"``, the first one of ``before``, the second of ``after``. By default models of the
            same name, or the only ones that there are.

    Raises:
        InvalidInputError: if a folder holds no evaluation, the runs are of other images or were asked another question,
            or it is not clear which models are meant.
    """
    first = _Run.read(before)
    second = _Run.read(after) if after is not None else first
    runs = [first] if second is first else [first, second]
    _require_comparable(first.asked, second.asked)
    pairs = [_named(pair) for pair in models] or _pairs_of(runs)
    chosen = [(first.model(one), second.model(other)) for one, other in pairs]
    cut_alike = first.asked.images == second.asked.images
    if not cut_alike:
        _require_same_images(first, second)
    remarks: dict[str, None] = dict.fromkeys(_about_versions(first.asked, second.asked))
    found = []
    for one, other in chosen:
        rows = [_outcomes(run, model, cut_alike) for run, model in ((first, one), (second, other))]
        common, left_out = _common(*rows)
        remarks |= dict.fromkeys(left_out)
        found.append(
            PairOfModels(
                before=one.name,
                after=other.name,
                same=one.answers_as == other.answers_as,
                attacks=tuple(row.row.title for row, _ in common if row.row.attack != BENIGN),
                changes=tuple(_changes(common)),
            )
        )
    return Comparison(
        before=first.place,
        after=second.place,
        dataset_title=first.asked.dataset_title,
        data_source=first.asked.data_source,
        bounds=first.asked.bounds,
        examples=first.asked.examples,
        epsilon=first.asked.epsilon,
        region=first.asked.region,
        pairs=tuple(found),
        remarks=tuple(remarks),
        units_left=sum(len(run.plan.left(run.store)) for run in runs),
    )


def hold_changes(comparison: Comparison, requirements: Sequence[Requirement]) -> list[str]:
    """Holds a comparison against requirements on its differences, for each pair of models.

    Returns:
        A line about each that is met.

    Raises:
        RequirementError: if one is not met, or the images are too few to say; it says so of each.
        InvalidInputError: if the comparison does not tell.
    """
    require_finished(comparison.units_left, requirements)
    found = []
    for pair in comparison.pairs:
        known = {change.what: change.difference for change in pair.changes}
        for each in requirements:
            change = known_as(each.what, known)
            low, high = change.interval()
            said = (
                f"{change.after.count} of {change.of} instead of {change.before.count}, 95% interval "
                f"{100 * low:+.1f} to {100 * high:+.1f} points"
            )
            found.append((f"{pair.before} to {pair.after}", each, change, said))
    return judged(found)


def _named(pair: str) -> tuple[str, str]:
    one, separator, other = pair.partition("=")
    if not (one and separator and other):
        raise InvalidInputError(f"models are paired as OLD=NEW. Received: {pair}")
    return one, other


def _pairs_of(runs: Sequence[_Run]) -> list[tuple[str, str]]:
    """Which models are meant where nobody says it: two there are in all, or those of one name."""
    names = [run.names for run in runs]
    if sum(map(len, names)) == 2 and all(names):
        one, other = (name for of_run in names for name in of_run)
        return [(one, other)]
    if len(runs) == 2 and (common := [name for name in names[0] if name in names[1]]):
        return [(name, name) for name in common]
    there = "; ".join(f"{run.place} has {', '.join(run.names)}" for run in runs)
    raise InvalidInputError(f"which models are to be compared? Say it with --models OLD=NEW: {there}")


def _require_comparable(one: PlannedEvaluation, other: PlannedEvaluation) -> None:
    """Makes sure that two runs tell the same accuracies."""
    asked: Iterable[tuple[str, Any, Any]] = (
        ("bounds", one.bounds, other.bounds),
        ("epsilon", one.epsilon, other.epsilon),
        ("region", one.region, other.region),
        ("number of images", one.examples, other.examples),
    )
    for what, value, another in asked:
        if value != another:
            raise InvalidInputError(
                f"the runs have another {what}, and cannot be compared: give evaluate the same. Received: {value} and "
                f"{another}"
            )


def _require_same_images(first: _Run, second: _Run) -> None:
    """Makes sure that runs that are cut into other slices are of the same images."""
    images = zip_longest(_images(first), _images(second))
    place = next((place for place, (one, other) in enumerate(images) if one != other), None)
    if place is not None:
        raise InvalidInputError(
            f"the runs are of other images, from the one at place {place} on: only results on the same images can be "
            f"compared. Received: {first.place} and {second.place}"
        )


def _images(run: _Run) -> Iterator[bytes]:
    """The checksum of each image of a run and its true class."""
    benign = run.asked.models[0].rows[0]
    for digest in benign.examples:
        found = result_of(run.store.result, digest, PIXELS, LABELS)
        if found is None:
            raise InvalidInputError(
                f"{run.place} is unfinished and cut into other slices, so that nobody can tell whether the images are "
                "the same: finish it first"
            )
        for pixels, label in zip(found.arrays["adversarials"], found.arrays["labels"], strict=True):
            yield hashlib.sha256(pixels.tobytes() + int(label).to_bytes(8, "big", signed=True)).digest()


def _outcomes(run: _Run, model: PlannedModel, cut_alike: bool) -> dict[str, RowOutcomes]:
    """The rows of a model by their attacks; where runs are cut into other slices, whole ones, as one slice."""
    rows = outcomes(model, run.asked, run.store.result)
    if not cut_alike:
        rows = [_joined(each) for each in rows if len(each.point) == len(each.row.examples)]
    return {each.row.attack: each for each in rows}


def _joined(outcome: RowOutcomes) -> RowOutcomes:
    def whole(parts: _Slices) -> _Slices:
        return {0: np.concatenate([parts[number] for number in sorted(parts)])}

    return RowOutcomes(
        row=outcome.row, point=whole(outcome.point), left=whole(outcome.left), region=whole(outcome.region)
    )


def _common(
    before: dict[str, RowOutcomes], after: dict[str, RowOutcomes]
) -> tuple[list[tuple[RowOutcomes, RowOutcomes]], list[str]]:
    """Rows that both models have of the same attack, benign images first; and lines about the others."""
    common, left_out = [], []
    for name in dict.fromkeys((*before, *after)):
        one, other = before.get(name), after.get(name)
        if one is None or other is None:
            title = (one or other).row.title  # type: ignore[union-attr]
            left_out.append(f"{title} was run on one of the models alone, and is left out")
        elif changed := _changed(one.row.config, other.row.config):
            left_out.append(f"{one.row.title} was run with another {', '.join(changed)}, and is left out")
        else:
            common.append((one, other))
    return common, left_out


def _changed(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    return [name for name in sorted({*one, *other}) if canonical(one.get(name)) != canonical(other.get(name))]


def _changes(common: Sequence[tuple[RowOutcomes, RowOutcomes]]) -> Iterator[Change]:
    attacks = [pair for pair in common if pair[0].row.attack != BENIGN]
    asked: list[tuple[str, str, _Slices, _Slices]] = []
    for one, other in common:
        asked.append((one.row.attack, one.row.title, one.accuracy, other.accuracy))
        if one.row.attack == BENIGN:
            asked.append((REGION, "Benign, by region", one.region, other.region))
    if attacks:
        left = [_worst([pair[side] for pair in attacks]) for side in (0, 1)]
        asked.append((WORST_CASE, "All together", left[0], left[1]))
    for what, title, before, after in asked:
        difference = _difference(before, after)
        if difference.of:
            yield Change(what=what, title=title, difference=difference)


def _worst(attacks: Sequence[RowOutcomes]) -> _Slices:
    """The images that all attacks leave, of the slices that all of them have done."""
    common = set.intersection(*(set(each.left) for each in attacks))
    return {number: np.logical_and.reduce([each.left[number] for each in attacks]) for number in common}


def _difference(before: _Slices, after: _Slices) -> PairedDifference:
    """How many images are right before and after, over the slices that both have done."""
    numbers = sorted(before.keys() & after.keys())
    if any(len(before[number]) != len(after[number]) for number in numbers):
        raise InvalidInputError("the runs' slices are of other numbers of images: give both commands again")
    one, other = (_all([side[number] for number in numbers]) for side in (before, after))
    cells = (one & other, one & ~other, ~one & other, ~one & ~other)
    return PairedDifference(*(int(cell.sum()) for cell in cells))


def _all(parts: Sequence[BoolArray]) -> BoolArray:
    return np.concatenate(parts) if parts else np.zeros(0, bool)


def _about_versions(one: PlannedEvaluation, other: PlannedEvaluation) -> list[str]:
    if one.version == other.version:
        return []
    return [f"the runs are of advkeras {one.version} and {other.version}"]
