"""An evaluation's results, put together from those of its units; nothing is computed, and nothing needs TensorFlow."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from advkeras.arrays import NO_CLASS, BoolArray, slack
from advkeras.errors import InvalidInputError
from advkeras.evaluation import signs
from advkeras.evaluation.distortion import summary
from advkeras.evaluation.example_files import write_examples
from advkeras.evaluation.flags import Flag, in_order
from advkeras.evaluation.planned import PlannedEvaluation, PlannedModel, PlannedRow, together
from advkeras.evaluation.results import (
    FILE_NAME,
    SCHEMA_VERSION,
    WHAT,
    Convergence,
    Evaluation,
    ModelResult,
    Row,
    WorstCase,
)
from advkeras.evaluation.unit_results import (
    ACTIVE,
    ANSWERS,
    EXAMPLES,
    LABELS,
    RECHECK,
    TRANSFER,
    UNCONSTRAINED,
    VOTES,
    Holds,
    joined,
    result_of,
)
from advkeras.files import safe_name
from advkeras.proportion import Proportion
from advkeras.provenance import Provenance
from advkeras.runs.store import Store
from advkeras.runs.study import Identity, Study
from advkeras.runs.unit import Find

# What is kept of each image.
_ARRAYS = ("distortion", "linf", "predictions", "benign_predictions")


@dataclass(frozen=True, kw_only=True)
class _Slice:
    """What is known of each image of a slice under one attack, without its pixels."""

    labels: npt.NDArray[Any]
    arrays: dict[str, npt.NDArray[Any]]
    facts: dict[str, Any]
    classes: npt.NDArray[Any]
    region_seconds: float


@dataclass(frozen=True, kw_only=True)
class _Found:
    """What an attack found: the slices that are done, by their number."""

    row: PlannedRow
    slices: dict[int, _Slice]

    def all(self, name: str, numbers: Iterable[int] | None = None) -> npt.NDArray[Any]:
        """An array of all images, or of those of some slices."""
        chosen = self.slices if numbers is None else numbers
        return np.concatenate([self.slices[each].arrays[name] for each in chosen])

    def labels(self, numbers: Iterable[int] | None = None) -> npt.NDArray[Any]:
        return np.concatenate([self.slices[each].labels for each in (self.slices if numbers is None else numbers)])

    def total(self, name: str) -> Any:
        return sum(part.facts[name] for part in self.slices.values())


class EvaluationStudy(Study[PlannedEvaluation, Evaluation]):
    """Attacks on models, and region classification's votes on what they found."""

    name, what = "evaluation", WHAT
    asked = PlannedEvaluation
    file_name, report, schema_version = FILE_NAME, Evaluation, SCHEMA_VERSION

    def together(self, plans: Sequence[PlannedEvaluation], there: set[str]) -> PlannedEvaluation:
        """The last plan, and the rows of those before it that are done and answer the same question."""
        return together(plans, there)

    def identities(self, asked: PlannedEvaluation) -> dict[str, Identity]:
        """The checksum of each model, and how it is used."""
        return {model.name: model.answers_as for model in asked.models}

    def fold(self, asked: PlannedEvaluation, find: Find, provenance: Provenance) -> Evaluation:
        """Rows of the slices of which examples and votes are there; models and rows without one are left out."""
        parts = [found for model in asked.models if (found := _model(model, asked, find)) is not None]
        flags = [
            *signs.of_pixels(asked.bounds, asked.pixels),
            *signs.of_epsilon(asked.bounds, asked.epsilon),
            *(flag for _, of_model in parts for flag in of_model),
        ]
        return Evaluation(
            dataset=asked.dataset,
            dataset_title=asked.dataset_title,
            bounds=asked.bounds,
            data_source=asked.data_source,
            examples=asked.examples,
            protocol=asked.protocol,
            seed=asked.seed,
            region=asked.region,
            models=tuple(model for model, _ in parts),
            flags=in_order(flags),
            provenance=provenance,
        )

    def write_files(self, asked: PlannedEvaluation, found: Evaluation, store: Store) -> Evaluation:
        """MODEL/ATTACK.npz: what each attack returned."""
        files = {
            (model.name, row.attack): write_examples(
                store,
                f"{safe_name(model.name)}/{safe_name(row.attack)}",
                row.examples,
                model.rows[0].examples,
                {"model": model.name, "attack": row.attack, "config": row.config},
            )
            for model in asked.models
            for row in model.rows
        }
        models = tuple(
            replace(model, rows=tuple(replace(row, examples_file=files[model.name, row.attack]) for row in model.rows))
            for model in found.models
        )
        return replace(found, models=models)


EVALUATION = EvaluationStudy()


@dataclass(frozen=True, kw_only=True)
class RowOutcomes:
    """What became of each image under one attack, or of the benign images: booleans (N,) for each slice that is done.

    Attributes:
        row: the attack, or the benign images.
        point: whether the example is classified correctly.
        left: whether the image is, and no misclassified example was found within the run's epsilon.
        region: whether region classification takes the example for what the image is.
    """

    row: PlannedRow
    point: dict[int, BoolArray]
    left: dict[int, BoolArray]
    region: dict[int, BoolArray]

    @property
    def accuracy(self) -> dict[int, BoolArray]:
        """The accuracy that the attack leaves: within epsilon, where it stays within one or makes L-inf small."""
        return self.left if self.row.norm == "linf" else self.point


def outcomes(model: PlannedModel, plan: PlannedEvaluation, find: Find) -> list[RowOutcomes]:
    """Each row of a model image by image, as the fold counts them; rows of which no slice is done are left out.

    Args:
        model: of the plan.
        plan: of the evaluation.
        find: units' results.
    """
    labels: dict[int, npt.NDArray[Any]] = {}
    found = [each for row in model.rows if (each := _found(row, find, labels)).slices]
    return [
        RowOutcomes(
            row=each.row,
            point={number: part.arrays["predictions"] == part.labels for number, part in each.slices.items()},
            left={number: _left(each, plan.epsilon, plan.bounds, [number]) for number in each.slices},
            region={number: part.classes == part.labels for number, part in each.slices.items()},
        )
        for each in found
    ]


def _model(model: PlannedModel, plan: PlannedEvaluation, find: Find) -> tuple[ModelResult, list[Flag]] | None:
    """What is there of a model, and what raises a flag in it."""
    labels: dict[int, npt.NDArray[Any]] = {}
    found = [each for row in model.rows if (each := _found(row, find, labels)).slices]
    if not found or found[0].row.norm is not None:
        return None
    result = ModelResult(
        name=model.name,
        source=model.source,
        checksum=model.checksum,
        rows=tuple(_row(each, plan, find) for each in found),
        worst=_worst_case(found[1:], plan.epsilon, plan.bounds),
        logits=model.logits,
        features=model.features,
        usage=model.usage,
    )
    checked = _flags_of_checks(model, found[1:], plan, find)
    return result, [*model.flags, *_flags(result, found, plan), *checked]


def _flags(result: ModelResult, found: Sequence[_Found], plan: PlannedEvaluation) -> list[Flag]:
    """What raises a flag in what was measured of a model."""
    name, benign, worst = result.name, result.rows[0].point, result.worst
    flags = signs.of_benign(name, benign, plan.num_classes)
    flags += signs.of_interval(
        name,
        worst.within if worst else benign,
        f"the accuracy {'left within epsilon' if worst else 'on benign images'}",
    )
    for row, of_row in zip(result.rows[1:], found[1:], strict=True):
        flags += signs.of_attack(
            signs.Attacked(
                model=name,
                attack=row.attack,
                title=row.title,
                within=not of_row.row.minimises,
                **{name: of_row.all(name) for name in signs.SEEN},
            )
        )
        flags += signs.of_convergence(name, row.attack, row.title, row.convergence)
        flags += signs.of_active_test(name, row.attack, row.title, row.active, result.features)
    if worst and any(each.row.unconstrained for each in found):
        flags += signs.of_unconstrained(name, worst.success)
    return [*flags, *_queries_beside_gradients(name, found[1:], plan)]


def _flags_of_checks(model: PlannedModel, found: Sequence[_Found], plan: PlannedEvaluation, find: Find) -> list[Flag]:
    """What raises a flag in what was asked of a model beside the attacks."""
    flags: list[Flag] = []
    if answers := _arrays(find, model.answers, ANSWERS):
        known = {flag.name for flag in model.flags}
        flags += [flag for flag in signs.of_answers(model.name, answers) if flag.name not in known]
    if far := _arrays(find, model.unconstrained, UNCONSTRAINED):
        reached = Proportion(int((far["success"] & far["attacked"]).sum()), int(far["attacked"].sum()))
        flags += signs.of_unconstrained(model.name, reached)
    numbers = [number for number in _common(found) if number < len(model.transfers)]
    fooled = {number: result_of(find, model.transfers[number], TRANSFER) for number in numbers}
    there = {number: each.arrays["fooled"] for number, each in fooled.items() if each is not None}
    if there:
        left = np.all([_left(each, plan.epsilon, plan.bounds, there) for each in found], axis=0)
        transferred = joined(list(there.values()))
        if len(left) != len(transferred):
            raise InvalidInputError(f"{model.name} has other models' examples of other images than its own")
        flags += signs.of_transfer(model.name, _share(left & transferred))
    return flags


def _arrays(find: Find, digests: Sequence[str], kind: Holds) -> dict[str, npt.NDArray[Any]]:
    """The arrays that units give, one behind the other; nothing where none is there."""
    results = [result for digest in digests if (result := result_of(find, digest, kind)) is not None]
    return {name: joined([each.arrays[name] for each in results]) for name in kind.arrays} if results else {}


def _queries_beside_gradients(name: str, found: Sequence[_Found], plan: PlannedEvaluation) -> list[Flag]:
    """Whether queries find examples within epsilon, L-inf, where gradients do not."""
    within = [each for each in found if each.row.norm == "linf"]
    kinds = {each.row.by_queries for each in within}
    numbers = _common(within)
    if not numbers or len(kinds) < 2:
        return []
    by_gradients, by_queries = (
        np.all(
            [_left(each, plan.epsilon, plan.bounds, numbers) for each in within if each.row.by_queries == how], axis=0
        )
        for how in (False, True)
    )
    return signs.of_queries(name, _share(by_gradients & ~by_queries))


def _common(found: Sequence[_Found]) -> list[int]:
    """The slices that all of some attacks have done."""
    return sorted(set.intersection(*(set(each.slices) for each in found))) if found else []


def _found(row: PlannedRow, find: Find, labels: dict[int, npt.NDArray[Any]]) -> _Found:
    """What is there of a row; benign images tell the true classes."""
    slices = {}
    for number, (of_examples, of_votes) in enumerate(zip(row.examples, row.votes, strict=True)):
        kinds = (EXAMPLES, LABELS) if row.norm is None else (EXAMPLES,)
        examples = result_of(find, of_examples, *kinds)
        if (
            examples is None
            or (votes := result_of(find, of_votes, VOTES, rows=len(examples.arrays["success"]))) is None
        ):
            continue
        if row.norm is None:
            labels[number] = examples.arrays["labels"]
        if number in labels:
            if len(labels[number]) != len(votes.arrays["classes"]):
                raise InvalidInputError(f"{row.title} has examples of other images than the benign ones")
            slices[number] = _Slice(
                labels=labels[number],
                arrays={**{name: examples.arrays[name] for name in _ARRAYS}, **signs.seen_in(examples.arrays)},
                facts=dict(examples.facts),
                classes=votes.arrays["classes"],
                region_seconds=votes.facts["seconds"],
            )
    return _Found(row=row, slices=slices)


def _row(found: _Found, plan: PlannedEvaluation, find: Find) -> Row:
    row, labels = found.row, found.labels()
    success, predictions = found.all("success"), found.all("predictions")
    in_region = np.concatenate([part.classes for part in found.slices.values()])
    attacked = row.norm is not None
    in_linf, distances = row.norm == "linf", found.all("linf")
    return Row(
        attack=row.attack,
        title=row.title,
        config=row.config,
        region=_share(in_region == labels),
        point=_share(predictions == labels),
        success=Proportion(int(success.sum()), int(found.all("attacked").sum())) if attacked else None,
        distortion=summary(found.all("distortion")[success]),
        within=_share(_left(found, plan.epsilon, plan.bounds)) if in_linf else None,
        median_linf=float(np.median(distances[success])) if in_linf and row.minimises and success.any() else None,
        convergence=_convergence(row, find),
        active=_active(row, find),
        zero_gradients=int(found.all("zero").sum()),
        nonfinite_gradients=int(found.all("nonfinite").sum()),
        forward_count=found.total("forward_count"),
        gradient_count=found.total("gradient_count"),
        seconds=round(found.total("seconds"), 3) if attacked else 0.0,
        region_seconds=round(sum(part.region_seconds for part in found.slices.values()), 3),
        paper=row.paper,
    )


def _convergence(row: PlannedRow, find: Find) -> Convergence | None:
    results = [result for digest in row.rechecks if (result := result_of(find, digest, RECHECK)) is not None]
    if row.more_work is None or not results:
        return None
    names = ("success", "success_again", "distance", "distance_again")
    success, again, before, after = (np.concatenate([result.arrays[name] for result in results]) for name in names)
    if not len(success):
        return None
    both = success & again
    small = row.minimises and bool(both.any())
    return Convergence(
        setting=row.more_work,
        images=len(success),
        success=int(success.sum()),
        success_again=int(again.sum()),
        distortion=float(before[both].mean()) if small else None,
        distortion_again=float(after[both].mean()) if small else None,
        seconds=round(sum(result.facts["seconds"] for result in results), 3),
    )


def _active(row: PlannedRow, find: Find) -> Proportion | None:
    found = _arrays(find, row.active, ACTIVE)
    return Proportion(int((found["success"] & found["usable"]).sum()), int(found["usable"].sum())) if found else None


def _worst_case(found: Sequence[_Found], epsilon: float, bounds: tuple[float, float]) -> WorstCase | None:
    """What all attacks together leave, image by image, of the slices that all of them have done.

    The accuracy left, and the least distortion over all attacks that make it small. Whatever attack made it, an example
    counts where it is misclassified and, for the accuracy, lies within epsilon.
    """
    numbers = _common(found)
    if not numbers:
        return None
    labels = found[0].labels(numbers)
    right = found[0].all("benign_predictions", numbers) == labels
    left, least = right.copy(), np.full(len(right), np.inf)
    for each in found:
        left &= _left(each, epsilon, bounds, numbers)
        if each.row.minimises:
            wrong = right & _fooled(each, numbers)
            least = np.where(wrong, np.minimum(least, each.all("distortion", numbers)), least)
    reached = np.isfinite(least)
    return WorstCase(
        epsilon=epsilon,
        within=_share(left),
        success=Proportion(int(reached.sum()), int(right.sum())),
        distortion=summary(least[reached]),
    )


def _left(
    found: _Found, epsilon: float, bounds: tuple[float, float], numbers: Iterable[int] | None = None
) -> BoolArray:
    """Images that are classified correctly, and no misclassified example was found within epsilon, L-inf."""
    right = found.all("benign_predictions", numbers) == found.labels(numbers)
    near = found.all("linf", numbers) <= epsilon + slack(bounds)
    return np.asarray(right & ~(near & _fooled(found, numbers)))


def _fooled(found: _Found, numbers: Iterable[int] | None = None) -> BoolArray:
    predictions = found.all("predictions", numbers)
    return np.asarray((predictions != found.labels(numbers)) & (predictions != NO_CLASS))


def _share(chosen: npt.NDArray[Any]) -> Proportion:
    return Proportion(int(chosen.sum()), len(chosen))
