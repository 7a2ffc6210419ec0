"""What all attacks share: the checks of their input and the verification of their claims."""

import abc
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from advkeras.arrays import NO_CLASS, BoolArray, FloatArray, IntArray, Progress, no_progress, rms
from advkeras.attacks import code
from advkeras.attacks.checks import check_classes, check_parameters, check_places
from advkeras.attacks.result import AttackResult
from advkeras.datasets.registry import DatasetSpec
from advkeras.errors import InvalidInputError, require
from advkeras.models import Classifier
from advkeras.models.counted import Passes
from advkeras.models.pixel_grid import settled_arrays
from advkeras.parameters import Seed, WholeNumber, hold_fields
from advkeras.searches.norms import NormName
from advkeras.searches.problem import Problem

# Before and after the attack, to see what there is to attack and what it has found.
_FORWARDS = 3
_NAME = re.compile(r"[a-z][a-z0-9-]*")

REGISTERED: dict[str, type["Attack"]] = {}
"""The attacks by name; :func:`advkeras.attacks.register` adds to them."""


@dataclass(frozen=True, kw_only=True)
class Attack(abc.ABC):
    """An attack: hyperparameters at construction, data at the call. It is a value: comparable, hashable, printable.

    A subclass writes :meth:`run`, which returns candidates, and nothing about checks, clipping or success: every
    claimed success is verified here by fresh forward passes.

    Args:
        seed: of all the attack's randomness.
        batch_size: images, or members of ensembles, that go through the network at once; 0 for as many as the
            memory budget holds. What runs is told the number.

    Attributes:
        name: by which it is registered: lower case letters, digits and hyphens.
        title: for tables.
        norm: that counts for the attack, ``"linf"`` or ``"l2"``.
        needs_gradient: whether the attack differentiates the classifier. One that does not asks for its logits only,
            as arrays, so that the classifier may be out of reach, and has nothing to compile.
        work: the hyperparameter that says how much the attack does for an image; empty where that is fixed.
    """

    seed: Seed = 0
    batch_size: WholeNumber = 0

    name: ClassVar[str]
    title: ClassVar[str]
    norm: ClassVar[NormName]
    needs_gradient: ClassVar[bool] = True
    work: ClassVar[str] = ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        name, title = vars(cls).get("name"), vars(cls).get("title")
        if "name" in vars(cls) and not (isinstance(name, str) and _NAME.fullmatch(name)):
            raise InvalidInputError(
                f"the name of {cls.__name__} must be lower case letters, digits and hyphens. Received: {name!r}"
            )
        if "title" in vars(cls) and not (isinstance(title, str) and title.strip()):
            raise InvalidInputError(f"the title of {cls.__name__} must be a word for tables. Received: {title!r}")

    def __post_init__(self) -> None:
        hold_fields(self)

    @abc.abstractmethod
    def run(self, classifier: Classifier, problem: Problem, progress: Progress) -> FloatArray:
        """Candidates (N, H, W, C) for the problem's images; the image itself where nothing was found."""

    @abc.abstractmethod
    def verify(self, classifier: Classifier, problem: Problem, candidates: FloatArray) -> BoolArray:
        """Whether each candidate (N, H, W, C) is what this attack promises, by forward passes of its own: (N,)."""

    def decisions(self, classifier: Classifier, problem: Problem, predictions: IntArray) -> IntArray:
        """What the attacked system makes of the problem's images, (N,); here the classifier's own predictions."""
        return predictions

    def check_gradients(self, classifier: Classifier) -> None:
        """Makes sure that a classifier gives the gradients that the attack needs.

        Raises:
            InvalidInputError: if not.
        """
        require(
            not self.needs_gradient or classifier.differentiable,
            f"{self.title} needs gradients, and {classifier.name} gives none by its pixels: use "
            f"{' or '.join(gradient_free())}",
            differentiable=False,
        )

    def __call__(
        self,
        classifier: Classifier,
        images: npt.ArrayLike,
        labels: npt.ArrayLike,
        targets: npt.ArrayLike | None = None,
        *,
        places: npt.ArrayLike | None = None,
        progress: Progress | None = None,
    ) -> AttackResult:
        """Attacks images.

        Args:
            classifier: what to attack.
            images: (N, H, W, C), in the classifier's pixel unit and within its bounds.
            labels: (N,) integers, the true classes.
            targets: (N,) integers, the classes to reach; untargeted by default.
            places: (N,) integers, the images' places in the data set; 0, 1, ... by default. An image's randomness
                depends on the seed and on its place, never on the images beside it.
            progress: called with the number of images done and to do.

        Raises:
            InvalidInputError: if shapes, classes or pixels do not fit the classifier, or the attack needs gradients
                that the classifier does not give.
        """
        if not self.batch_size:
            sized = replace(self, batch_size=classifier.at_once)
            return sized(classifier, images, labels, targets, places=places, progress=progress)
        start = time.perf_counter()
        self.check_gradients(classifier)
        checked = classifier.check_images(images)
        truth = check_classes("labels", labels, len(checked), classifier)
        goals = truth if targets is None else check_classes("targets", targets, len(checked), classifier)
        targeted = targets is not None
        if targeted and np.any(goals == truth):
            raise InvalidInputError(f"targets must differ from labels. Received: {int(np.sum(goals == truth))} equal")
        positions = check_places(np.arange(len(checked)) if places is None else places, len(checked))
        network, before = classifier.counted, classifier.counted.passes
        benign = self._predict(network, checked)
        everything = Problem(checked, goals, targeted, positions)
        decided = self.decisions(network, everything, benign)
        attacked = (decided != goals) & (decided != NO_CLASS) if targeted else decided == goals
        adversarials = checked.copy()
        fooled = np.zeros(len(checked), bool)
        if attacked.any():
            candidates = self._candidates(network, everything.where(attacked), progress or no_progress)
            # Judged by images and goals that the attack has not had in its hands.
            problem = everything.where(attacked)
            fooled[attacked] = self.verify(network, problem, candidates)
            adversarials[attacked] = self._kept(network, problem, candidates, fooled[attacked])
        predictions, after = self._predict(network, adversarials), network.passes
        return AttackResult(
            images=checked,
            labels=truth,
            adversarials=adversarials,
            success=fooled,
            attacked=attacked,
            distortion=rms(adversarials - checked),
            predictions=predictions,
            benign_predictions=benign,
            forward_count=after.forwards - before.forwards,
            gradient_count=after.gradients - before.gradients,
            zero_gradients=everything.weak.zero,
            nonfinite_gradients=everything.weak.nonfinite,
            trace=everything.recorder.trace,
            seconds=time.perf_counter() - start,
        )

    @abc.abstractmethod
    def distance(self, difference: FloatArray) -> FloatArray:
        """The norm that the attack keeps within bounds, or makes small: (N, H, W, C) to (N,)."""

    def with_work(self, factor: int) -> Self:
        """The same attack with so many times the work for each image; itself, where that is fixed."""
        if not self.work:
            return self
        return replace(self, **{self.work: factor * getattr(self, self.work)})

    @property
    def work_setting(self) -> tuple[str, int] | None:
        """The hyperparameter that says how much the attack does, and its value; None where that is fixed."""
        return (self.work, getattr(self, self.work)) if self.work else None

    @property
    def unconstrained(self) -> bool:
        """Whether it may go as far as it takes to be misclassified, and should so succeed on every image."""
        return False

    @property
    def least_classes(self) -> int:
        """Classes that its loss needs; with fewer it climbs another one."""
        return 2

    @property
    def passes(self) -> Passes:
        """What it sends through the network for an image, at most, but for a few forwards."""
        work = self.work_setting[1] if self.work_setting else 1
        return Passes(_FORWARDS, work) if self.needs_gradient else Passes(work, 0)

    def among(self, images: FloatArray) -> "Attack":
        """The same attack on part of a run's images.

        What it takes from the company that images are in, it takes from these (N, H, W, C), whichever it is called on.
        """
        return self

    def get_config(self) -> dict[str, Any]:
        """The hyperparameters, as plain values, without fields whose names begin with an underscore: those are data."""
        return asdict(self, dict_factory=_plain)

    @property
    def data_checksum(self) -> str:
        """Of what else the attack depends on besides its hyperparameters and the images; empty for nothing.

        An attack that is no part of advkeras depends on its code, so that what an earlier one made is made again.
        """
        return code.checksum(type(self).__module__)

    @classmethod
    def for_data(
        cls,
        spec: DatasetSpec,
        given: Mapping[str, Any] | None = None,
        /,
        *,
        full_search: bool = False,
        **overrides: Any,
    ) -> Self:
        """The attack with the protocol's parameters on a data set.

        Args:
            spec: the data set.
            given: hyperparameters to use instead; those that are None stay as they are.
            full_search: search as long as the paper does, and as its authors did.
            overrides: as given, by name.

        Raises:
            InvalidInputError: if it does not have such a hyperparameter, or a value's type does not fit.
        """
        changed = {name: value for name, value in {**(given or {}), **overrides}.items() if value is not None}
        parameters = cls._merged(cls.parameters_on(spec, full_search=full_search), changed)
        return cls(**parameters)

    @classmethod
    def parameters_on(cls, spec: DatasetSpec, *, full_search: bool) -> dict[str, Any]:
        """The hyperparameters that the protocol has on a data set, where they are not the defaults."""
        return {}

    @classmethod
    def _merged(cls, parameters: dict[str, Any], changed: dict[str, Any]) -> dict[str, Any]:
        check_parameters(cls.name, cls, changed)
        return {**parameters, **changed}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The attack with those hyperparameters."""
        return cls(**config)

    def _candidates(self, classifier: Classifier, problem: Problem, progress: Progress) -> FloatArray:
        """What :meth:`run` returns, held against what it promises, and clipped to the bounds."""
        with code.blamed(self.title, type(self).__module__):
            candidates = np.asarray(self.run(classifier, problem, progress), np.float32)
        if candidates.shape != problem.images.shape:
            raise InvalidInputError(
                f"{self.title}.run must return candidates of shape {problem.images.shape}. Received: {candidates.shape}"
            )
        if not np.isfinite(candidates).all():
            wrong = int((~np.isfinite(candidates)).any(axis=(1, 2, 3)).sum())
            raise InvalidInputError(
                f"{self.title}.run must return finite pixels. Received: NaN or infinite ones in {wrong} of "
                f"{len(candidates)} candidates"
            )
        return self.settle(classifier, problem.images, np.clip(candidates, *classifier.bounds))

    def settle(self, classifier: Classifier, images: FloatArray, candidates: FloatArray) -> FloatArray:
        """Candidates (N, H, W, C) as examples of a classifier: the nearest pictures, where it takes only those."""
        return (
            candidates
            if classifier.levels is None
            else settled_arrays(candidates, classifier.bounds, classifier.levels)
        )

    @abc.abstractmethod
    def _kept(self, classifier: Classifier, problem: Problem, candidates: FloatArray, fooled: BoolArray) -> FloatArray:
        """What becomes of candidates (N, H, W, C), those that do what the attack promises and others."""

    def _predict(self, classifier: Classifier, images: FloatArray) -> IntArray:
        return classifier.predict(images, batch_size=self.batch_size)


def gradient_free() -> tuple[str, ...]:
    """Names of the registered attacks that need no gradients."""
    return tuple(sorted(name for name, attack in REGISTERED.items() if not attack.needs_gradient))


def _plain(items: list[tuple[str, Any]]) -> dict[str, Any]:
    """Public fields; values of NumPy's types as Python's own, which JSON takes."""
    public = [(name, value) for name, value in items if not name.startswith("_")]
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in public}
