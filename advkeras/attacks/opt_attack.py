"""What OptBrittle, OptStrong and OptMargin share: an ensemble of fixed members, and two ways of searching."""

from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

import numpy as np

from advkeras.arrays import FloatArray, Progress
from advkeras.attacks.checks import check_parameters
from advkeras.attacks.families import MinimumNormAttack
from advkeras.attacks.rounding import beyond_rounding
from advkeras.datasets.registry import DatasetSpec
from advkeras.errors import InvalidInputError, require, unknown_name
from advkeras.models import Classifier
from advkeras.models.counted import Passes
from advkeras.parameters import NotNegative
from advkeras.searches.decoupled_search import DecoupledSearch
from advkeras.searches.ensembles import FixedEnsemble
from advkeras.searches.penalty_search import PenaltySearch
from advkeras.searches.problem import Problem

SEARCHES: dict[str, type[DecoupledSearch | PenaltySearch]] = {
    search.kind: search for search in (DecoupledSearch, PenaltySearch)
}

# The authors' rate of Adam and first weight c on each data set, and how long they search.
_AUTHORS = {"mnist": (0.2, 0.2), "cifar10": (0.01, 1.0)}
_WEIGHT_STEPS, _ITERATIONS = 4, 1_000


def authors_search(spec: DatasetSpec) -> PenaltySearch:
    """The search of He, Li and Song's code on a data set: 4 weights with at most 1,000 iterations each."""
    learning_rate, initial_weight = _AUTHORS[spec.follows]
    return PenaltySearch(
        learning_rate=learning_rate,
        initial_weight=initial_weight,
        weight_steps=_WEIGHT_STEPS,
        iterations=_ITERATIONS,
    )


@dataclass(frozen=True, kw_only=True)
class OptAttack(MinimumNormAttack):
    """A minimum-norm attack on an ensemble of fixed members, by either search.

    Args:
        search: a :class:`DecoupledSearch`, direction and norm apart, or a :class:`PenaltySearch`, the paper's equation
            (4) with a binary search on c.
        clip_members: clip members to the bounds before they are classified; the authors' code does not.
        confidence: k of Carlini and Wagner (2017), equation 6: by how much, in logits, the wrong class must lead.
        jit_compile: compile the attack's loop by XLA. Measure it: on CPUs it is mostly slower.

    Attributes:
        penalty: the penalty search's parameters, for those who want that search and nothing else said.
        norm: that the attack makes small.
    """

    search: DecoupledSearch | PenaltySearch = DecoupledSearch(gradients=200)
    clip_members: bool = False
    confidence: NotNegative = 0.0
    jit_compile: bool = False

    penalty: ClassVar[PenaltySearch] = PenaltySearch()

    def __post_init__(self) -> None:
        super().__post_init__()
        known = isinstance(self.search, tuple(SEARCHES.values()))
        require(known, "search must be a DecoupledSearch or a PenaltySearch", search=self.search)
        require(
            self.search.norm == self.norm,
            f"{self.title} needs a search of the norm {self.norm!r}",
            norm=self.search.norm,
        )

    @property
    def margin(self) -> float:
        """The confidence."""
        return self.confidence

    @property
    def unconstrained(self) -> bool:
        """Where a single point is to be fooled."""
        return super().unconstrained and self.members_count == 1

    @classmethod
    def parameters_on(cls, spec: DatasetSpec, *, full_search: bool) -> dict[str, Any]:
        """With the full search the authors', which is in L2."""
        return {"search": authors_search(spec)} if full_search and cls.norm == PenaltySearch.norm else {}

    @classmethod
    def _merged(cls, parameters: dict[str, Any], changed: dict[str, Any]) -> dict[str, Any]:
        """The search's hyperparameters go to the search. ``search`` is its kind, or a search."""
        default: DecoupledSearch | PenaltySearch = cls.search
        search: DecoupledSearch | PenaltySearch = parameters.get("search", default)
        kind = changed.pop("search", search.kind)
        if isinstance(kind, DecoupledSearch | PenaltySearch):
            search, kind = kind, kind.kind
        if not isinstance(kind, str) or kind not in SEARCHES:
            raise InvalidInputError(unknown_name("search", str(kind), tuple(SEARCHES)))
        if kind != search.kind:
            search = cls.penalty if kind == PenaltySearch.kind else default
        own = {field.name for field in fields(cls)}
        others = {field.name for kind in SEARCHES.values() for field in fields(kind)} - own
        chosen = {name: changed.pop(name) for name in tuple(changed) if name in others}
        check_parameters(f"{cls.name}'s {kind} search", type(search), chosen)
        return super()._merged({**parameters, "search": replace(search, **chosen)}, changed)

    @property
    def members_count(self) -> int:
        """How many members there are."""
        return 1

    def members(self, classifier: Classifier) -> FloatArray:
        """The perturbations v_i of the ensemble, (M, H, W, C) in pixel units; by default the image alone."""
        return np.zeros((1, *classifier.input_shape), np.float32)

    def run(self, classifier: Classifier, problem: Problem, progress: Progress) -> FloatArray:
        """Candidates of least distortion; the image itself where nothing was found."""
        candidates = self.candidates(classifier, problem, progress)
        return beyond_rounding(self, classifier, problem, candidates)

    def candidates(self, classifier: Classifier, problem: Problem, progress: Progress) -> FloatArray:
        """What the search finds, (N, H, W, C), before anything is verified."""
        ensemble = FixedEnsemble(
            bounds=classifier.bounds,
            levels=classifier.levels,
            targeted=problem.targeted,
            offsets=self.members(classifier),
            clip=self.clip_members,
            confidence=self.confidence,
        ).within(self.batch_size or classifier.at_once)
        return self.search.run(
            classifier,
            problem,
            ensemble,
            seed=self.seed,
            batch_size=self.batch_size,
            progress=progress,
            jit_compile=self.jit_compile,
        )

    @property
    def passes(self) -> Passes:
        """What the search takes, for each member of the ensemble; all of them are looked at when it has ended."""
        forwards, gradients = super().passes
        weights = self.search.weight_steps if isinstance(self.search, PenaltySearch) else 1
        return Passes(forwards + 2 * self.members_count, weights * self.members_count * gradients)

    @property
    def work_setting(self) -> tuple[str, int]:
        """The search's hyperparameter that says how much it does, and its value."""
        return self.search.work, getattr(self.search, self.search.work)

    def with_work(self, factor: int) -> Self:
        """The same attack with so many times the search's work for each image."""
        return replace(self, search=self.search.with_work(factor))

    def get_config(self) -> dict[str, Any]:
        """The hyperparameters, as plain values; the search as a dictionary that says its kind."""
        config = super().get_config()
        return {**config, "search": {"kind": self.search.kind, **config["search"]}}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The attack with those hyperparameters."""
        search = dict(config["search"])
        return cls(**{**config, "search": SEARCHES[search.pop("kind")](**search)})
