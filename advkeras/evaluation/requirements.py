"""A yes or no for pipelines: requirements on an evaluation, judged by its intervals."""

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from advkeras.errors import InvalidInputError, RequirementError, require, unknown_name
from advkeras.evaluation.results import BENIGN, Evaluation, ModelResult
from advkeras.proportion import Proportion

WORST_CASE, REGION = "worst-case", "region"
_FORM = re.compile(r"\s*([a-z0-9-]+)\s*(>=|<=)\s*([0-9.eE+-]+%?)\s*")

Verdict = Literal["met", "not met", "cannot be said"]
T = TypeVar("T")


class Measured(Protocol):
    """What has a 95% interval: an accuracy, or how one changed."""

    def interval(self) -> tuple[float, float]:
        """Its lower and upper end."""


@dataclass(frozen=True)
class Requirement:
    """That an accuracy, or the change of one, is at least, or at most, so large.

    Attributes:
        what: ``benign``, ``region`` (of benign images), ``worst-case``, or an attack's name: the accuracy that it
            leaves, within the run's epsilon where it stays within one or makes L-inf small.
        at_least: whether the bound is a lower one.
        bound: in [0, 1]; of a change in [-1, 1].
    """

    what: str
    at_least: bool
    bound: float

    @classmethod
    def parse(cls, text: str, *, of_change: bool = False) -> "Requirement":
        """``"worst-case>=0.4"`` or ``"benign >= 98%"``; on a change ``"worst-case>=-2%"``.

        Args:
            text: to be parsed.
            of_change: whether it is on how an accuracy changed.

        Raises:
            InvalidInputError: if it is something else.
        """
        found = _FORM.fullmatch(text)
        example = "worst-case>=-0.02 or benign>=-1%" if of_change else "worst-case>=0.4 or benign>=98%"
        require(found is not None, f"a requirement is like {example}", requirement=text)
        assert found is not None
        try:
            bound = float(found[3].rstrip("%")) / (100 if found[3].endswith("%") else 1)
        except ValueError:
            bound = math.nan
        span = "[-1, 1], or in -100...100%" if of_change else "[0, 1], or in 0...100%"
        inside = (-1 if of_change else 0) <= bound <= 1
        require(inside, f"what a requirement asks for must lie in {span}", requirement=text)
        return cls(found[1], found[2] == ">=", bound)

    def __str__(self) -> str:
        return f"{self.what}{'>=' if self.at_least else '<='}{self.bound:g}"

    def check(self, attacks: Sequence[str]) -> None:
        """Raises an :class:`InvalidInputError` unless results of these attacks tell."""
        known_as(self.what, dict.fromkeys((BENIGN, REGION, WORST_CASE, *attacks)))

    def of(self, model: ModelResult) -> Proportion:
        """The accuracy that it speaks of.

        Raises:
            InvalidInputError: if the results have none.
        """
        rows = {row.attack: row for row in model.rows}
        known = {REGION: rows[BENIGN].region} if BENIGN in rows else {}
        known |= {name: row.within or row.point for name, row in rows.items()}
        known |= {WORST_CASE: model.worst.within} if model.worst else {}
        return known_as(self.what, known)

    def verdict(self, measured: Measured) -> Verdict:
        """What the 95% interval says."""
        low, high = measured.interval()
        if (low >= self.bound) if self.at_least else (high <= self.bound):
            return "met"
        return "not met" if ((high < self.bound) if self.at_least else (low > self.bound)) else "cannot be said"


def hold(
    evaluation: Evaluation, requirements: Sequence[Requirement], models: Collection[str] | None = None
) -> list[str]:
    """Holds an evaluation against requirements, for each model.

    Args:
        evaluation: the results.
        requirements: on each model.
        models: names of those that are meant; all by default.

    Returns:
        A line about each that is met.

    Raises:
        RequirementError: if one is not met, or the images are too few to say; it says so of each.
        InvalidInputError: if the results do not tell.
    """
    require_finished(evaluation.units_left, requirements)
    found = []
    for model in evaluation.models:
        for each in requirements if models is None or model.name in models else ():
            measured = each.of(model)
            low, high = measured.interval()
            said = f"{measured.count} of {measured.of}, 95% interval {low:.1%} to {high:.1%}"
            found.append((model.name, each, measured, said))
    return judged(found)


def known_as(what: str, known: Mapping[str, T]) -> T:
    """What a requirement speaks of, among what is known.

    Raises:
        InvalidInputError: if it is not there.
    """
    if what not in known:
        raise InvalidInputError(unknown_name("accuracy in --require", what, tuple(known)))
    return known[what]


def require_finished(units_left: int, requirements: Sequence[Requirement]) -> None:
    """Raises a :class:`RequirementError` if there are requirements, and units of a run that are left."""
    if requirements and units_left:
        raise RequirementError(f"{units_left:,} units of the run are left: nothing can be said yet")


def judged(found: Iterable[tuple[str, Requirement, Measured, str]]) -> list[str]:
    """Says of each requirement whether it is met.

    Args:
        found: whose it is, the requirement, what was measured, and that in words.

    Returns:
        A line about each that is met.

    Raises:
        RequirementError: if one is not met, or the images are too few to say; it says so of each.
    """
    lines: dict[Verdict, list[str]] = {"met": [], "not met": [], "cannot be said": []}
    for whose, each, measured, said in found:
        verdict = each.verdict(measured)
        lines[verdict].append(
            f"{whose}: {each} is {verdict}: {said}"
            if verdict != "cannot be said"
            else f"{whose}: whether {each} cannot be said: {said}; more --examples would tell"
        )
    failed = [*lines["not met"], *lines["cannot be said"]]
    if failed:
        raise RequirementError("; ".join(failed))
    return lines["met"]
