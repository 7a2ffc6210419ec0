"""What is asked of a model on a few images, beside the attacks, so that flags can tell whether those mean anything."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from advkeras.arrays import BoolArray, FloatArray, Progress, slack
from advkeras.attacks.pgd import PGD
from advkeras.datasets import LabelledImages
from advkeras.evaluation.slices import places_of
from advkeras.evaluation.units import Examples, OfModel
from advkeras.models.counted import Passes
from advkeras.models.pixel_grid import settled_arrays
from advkeras.randomness import derive_generator
from advkeras.runs.unit import Result

# How often the same images are sent (the check of AutoAttack's own code), and by what share of the largest logit the
# answers may differ: threads may add up in another order.
_CALLS, _ROUNDING = 5, 1e-4
# Points around an image, and how far from it in each pixel, as a share of the range (Pintor et al., NeurIPS 2022).
_DRAWS, _AROUND = 100, 4 / 255
# From this lead on every wrong class has a probability below the least normal float32: e^-87.3.
_SATURATED = 87.3


@dataclass(frozen=True, kw_only=True, eq=False)
class OnSome(OfModel):
    """A unit that asks a model about some images of a slice.

    Attributes:
        count: of those images, at most.
    """

    count: int

    @property
    def parameters(self) -> Mapping[str, Any]:
        """How many images."""
        return {"images": self.count}

    @property
    def some(self) -> LabelledImages:
        """The images, spread over the slice."""
        chosen: BoolArray = np.zeros(len(self.part.data), bool)
        chosen[places_of(len(chosen), self.count)] = True
        return self.part.data.where(chosen)


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers(OnSome):
    """What a model answers when it is asked again, and around images.

    Attributes:
        seed: of the points around images.
    """

    seed: int

    kind: ClassVar[str] = "answers"

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The seed, too."""
        return {**super().parameters, "seed": self.seed}

    @property
    def passes(self) -> Passes:
        """All calls and all points."""
        return Passes(self.count * (_CALLS + _DRAWS), 0)

    def compute(self, found: Sequence[Result], progress: Progress) -> Result:
        """Asks; each array has a row for each image.

        ``right``: whether it is classified correctly at the first call. ``differs``: whether further calls give other
        logits. ``change``: by what share its lead over the other classes changes on average at points around it, 1 at
        most. ``saturated``: whether float32 rounds the probability of every other class to 0.
        """
        data = self.some
        images = self.classifier.check_images(data.images)
        calls = np.stack([self.classifier.logits(images) for _ in range(_CALLS)])
        largest = np.abs(calls[0]).max(initial=0, where=np.isfinite(calls[0]))
        with np.errstate(invalid="ignore"):
            differs = np.nan_to_num(np.abs(calls - calls[0])).max(axis=(0, 2)) > _ROUNDING * largest
        lead = _lead(calls[0], data.labels)
        return Result(
            {
                "right": lead > 0,
                "differs": differs,
                "change": np.array(
                    [self._change(*each) for each in zip(images, data.labels, lead, data.places, strict=True)],
                    np.float32,
                ),
                "saturated": lead > _SATURATED,
            },
            {},
        )

    def _change(self, image: FloatArray, label: int, lead: float, place: int) -> float:
        """The mean relative change of an image's lead around it."""
        low, high = self.classifier.bounds
        reach, generator = _AROUND * (high - low), derive_generator(self.seed, "answers", int(place))
        noise = generator.uniform(-reach, reach, (_DRAWS, *image.shape))
        points = np.clip(image + noise, low, high).astype(np.float32)
        if self.classifier.levels is not None:
            points = settled_arrays(points, self.classifier.bounds, self.classifier.levels)
        around = _lead(self.classifier.logits(points), np.full(_DRAWS, label))
        with np.errstate(divide="ignore", invalid="ignore"):
            change = float(np.where(around == lead, 0.0, np.abs(around - lead) / np.abs(lead)).mean())
        return min(change, 1.0) if np.isfinite(change) else 1.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Unconstrained(OnSome):
    """PGD with the whole range of pixels: on a model that can be attacked it succeeds on every image."""

    kind: ClassVar[str] = "unconstrained"

    @property
    def attack(self) -> PGD:
        """From the image, since noise that fills the range is often misclassified, whatever gradients say."""
        low, high = self.classifier.bounds
        return PGD(epsilon=high - low, loss="margin", random_start=False)

    @property
    def passes(self) -> Passes:
        """Those of the attack."""
        forwards, gradients = self.attack.passes
        return Passes(self.count * forwards, self.count * gradients)

    def compute(self, found: Sequence[Result], progress: Progress) -> Result:
        """Attacks."""
        data = self.some
        result = self.attack(self.classifier, data.images, data.labels, places=data.places, progress=progress)
        return Result({"success": result.success, "attacked": result.attacked}, {})


@dataclass(frozen=True, kw_only=True, eq=False)
class Transfer(OfModel):
    """Whether examples that were made of other models fool this one within epsilon; it follows on their units.

    Attributes:
        epsilon: L-inf, in pixel units.
        follows: units of examples of the same slice.
    """

    epsilon: float

    kind: ClassVar[str] = "transfer"

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The epsilon."""
        return {"epsilon": self.epsilon}

    @property
    def passes(self) -> Passes:
        """Each example once."""
        return Passes(len(self.part.data) * len(self.follows), 0)

    def compute(self, found: Sequence[Result], progress: Progress) -> Result:
        """Classifies the examples; ``fooled`` says of each image whether one of them is misclassified."""
        labels = self.part.data.labels
        fooled: BoolArray = np.zeros(len(labels), bool)
        for each in found:
            near = each.arrays["linf"] <= self.epsilon + slack(self.classifier.bounds)
            classes = self.classifier.predict(each.arrays["adversarials"])
            fooled |= near & (classes != labels) & (classes >= 0)
        return Result({"fooled": fooled}, {})


def transferable(examples: Examples, epsilon: float) -> bool:
    """Whether a unit's examples lie within epsilon, L-inf, because its attack is told to stay there."""
    attack = examples.attack
    return attack is not None and attack.norm == "linf" and getattr(attack, "epsilon", None) == epsilon


def _lead(logits: FloatArray, labels: npt.NDArray[Any]) -> FloatArray:
    """The true logit minus the best other one, (N,)."""
    rows, others = np.arange(len(labels)), logits.copy()
    others[rows, labels] = -np.inf
    with np.errstate(invalid="ignore"):
        return np.asarray(logits[rows, labels] - others.max(axis=1))
