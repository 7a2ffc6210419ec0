"""A yes or no for pipelines: requirements on an evaluation, judged by its intervals."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from advkeras.errors import InvalidInputError, RequirementError, require, unknown_name
from advkeras.evaluation.results import BENIGN, Evaluation, ModelResult
from advkeras.proportion import Proportion

WORST_CASE, REGION = "worst-case", "region"
_FORM = re.compile(r"\s*([a-z0-9-]+)\s*(>=|<=)\s*([0-9.eE+-]+%?)\s*")

Verdict = Literal["met", "not met", "cannot be said"]


@dataclass(frozen=True)
class Requirement:
    """That an accuracy is at least, or at most, so large.

    Attributes:
        what: ``benign``, ``region`` (of benign images), ``worst-case``, or an attack's name: the accuracy that it
            leaves, within the run's epsilon where it stays within one or makes L-inf small.
        at_least: whether the bound is a lower one.
        bound: in [0, 1].
    """

    what: str
    at_least: bool
    bound: float

    @classmethod
    def parse(cls, text: str) -> "Requirement":
        """``"worst-case>=0.4"`` or ``"benign >= 98%"``.

        Raises:
            InvalidInputError: if it is something else.
        """
        found = _FORM.fullmatch(text)
        require(found is not None, "a requirement is like worst-case>=0.4 or benign>=98%", requirement=text)
        assert found is not None
        try:
            bound = float(found[3].rstrip("%")) / (100 if found[3].endswith("%") else 1)
        except ValueError:
            bound = math.nan
        require(0 <= bound <= 1, "what a requirement asks for must lie in [0, 1], or in 0...100%", requirement=text)
        return cls(found[1], found[2] == ">=", bound)

    def __str__(self) -> str:
        return f"{self.what}{'>=' if self.at_least else '<='}{self.bound:g}"

    def check(self, attacks: Sequence[str]) -> None:
        """Raises an :class:`InvalidInputError` unless results of these attacks tell."""
        self._require_known((BENIGN, REGION, WORST_CASE, *attacks))

    def _require_known(self, known: tuple[str, ...]) -> None:
        if self.what not in known:
            raise InvalidInputError(unknown_name("accuracy in --require", self.what, known))

    def of(self, model: ModelResult) -> Proportion:
        """The accuracy that it speaks of.

        Raises:
            InvalidInputError: if the results have none.
        """
        rows = {row.attack: row for row in model.rows}
        known = {REGION: rows[BENIGN].region} if BENIGN in rows else {}
        known |= {name: row.within or row.point for name, row in rows.items()}
        known |= {WORST_CASE: model.worst.within} if model.worst else {}
        self._require_known(tuple(known))
        return known[self.what]

    def verdict(self, measured: Proportion) -> Verdict:
        """What the 95% interval says."""
        low, high = measured.interval()
        if (low >= self.bound) if self.at_least else (high <= self.bound):
            return "met"
        return "not met" if ((high < self.bound) if self.at_least else (low > self.bound)) else "cannot be said"


def hold(evaluation: Evaluation, requirements: Sequence[Requirement]) -> list[str]:
    """Holds an evaluation against requirements, for each model.

    Returns:
        A line about each that is met.

    Raises:
        RequirementError: if one is not met, or the images are too few to say; it says so of each.
        InvalidInputError: if the results do not tell.
    """
    if requirements and evaluation.units_left:
        raise RequirementError(f"{evaluation.units_left:,} units of the run are left: nothing can be said yet")
    lines: dict[Verdict, list[str]] = {"met": [], "not met": [], "cannot be said": []}
    for model in evaluation.models:
        for each in requirements:
            measured = each.of(model)
            verdict = each.verdict(measured)
            low, high = measured.interval()
            found = f"{measured.count} of {measured.of}, 95% interval {low:.1%} to {high:.1%}"
            line = (
                f"{model.name}: {each} is {verdict}: {found}"
                if verdict != "cannot be said"
                else (f"{model.name}: whether {each} cannot be said: {found}; more --examples would tell")
            )
            lines[verdict].append(line)
    failed = [*lines["not met"], *lines["cannot be said"]]
    if failed:
        raise RequirementError("; ".join(failed))
    return lines["met"]
