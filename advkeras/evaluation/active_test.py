"""The active test: an attack is tried where an adversarial example surely exists (Zimmermann et al., NeurIPS 2022)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from advkeras.arrays import FloatArray, Progress, linf, slack
from advkeras.attacks.base import Attack
from advkeras.attacks.families import MinimumNormAttack
from advkeras.evaluation.soundness import OnSome, transferable
from advkeras.evaluation.units import Examples
from advkeras.models import Classifier
from advkeras.models.counted import Passes
from advkeras.models.features import features_of
from advkeras.models.pixel_grid import settled_arrays
from advkeras.randomness import derive_generator
from advkeras.runs.unit import Result

# Points inside the ball, and how far they reach of its radius; points with which chance alone is tried.
_INNER, _REACH, _CHANCE = 999, 0.95, 200
# Added to the features' variance, as a share of its mean, so that features that never change do not decide.
_RIDGE = 1e-3
# The logits' difference at the corner, and minus that at the innermost of the other points.
_LEAD = 5.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Binarised(OnSome):
    """Last layers that tell one corner of the ball around an image from points inside it, one for each image.

    Attributes:
        epsilon: radius of the ball, L-inf, in pixel units.
        seed: of the points.
    """

    epsilon: float
    seed: int

    kind: ClassVar[str] = "binarised"

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The ball and the seed, too."""
        return {**super().parameters, "epsilon": self.epsilon, "seed": self.seed}

    @property
    def passes(self) -> Passes:
        """All points."""
        return Passes(self.count * (1 + _INNER + _CHANCE), 0)

    def compute(self, found: Sequence[Result], progress: Progress) -> Result:
        """Fits them; ``usable`` says where the corner is told from all points, and chance alone does not find it."""
        data, (function, _) = self.some, features_of(self.classifier)
        features = self.classifier.graph("features", lambda: function, [self.classifier.image_signature])
        fitted = []
        for number, (image, place) in enumerate(zip(data.images, data.places, strict=True)):
            progress(number, len(data))
            fitted.append(self._fitted(features, image, int(place)))
        weights, bias, usable = zip(*fitted, strict=True)
        return Result(
            {"weights": np.stack(weights), "bias": np.array(bias, np.float32), "usable": np.array(usable)}, {}
        )

    def _fitted(self, features: Any, image: FloatArray, place: int) -> tuple[FloatArray, float, bool]:
        """Weights and bias of an image's layer, whose output is positive at the corner; whether it can be used."""
        seen = np.concatenate([features(points).numpy() for points in self._points(image, place)])
        known, scores = seen[: 1 + _INNER].astype(np.float64), np.full(len(seen), np.nan)
        if np.isfinite(seen).all():
            direction = discriminant(known[0], known[1:])
            scores = seen @ direction
            others = np.concatenate([scores[1 : 1 + _INNER], scores[-1:]])
            half = (scores[0] - others.max()) / 2
            if half > 0:
                scale, middle = _LEAD / half, scores[0] - half
                alone = bool((scores[1 + _INNER : -1] < middle).all())
                return (scale * direction).astype(np.float32), float(-scale * middle), alone
        return np.zeros(seen.shape[1], np.float32), 0.0, False

    def _points(self, image: FloatArray, place: int) -> Iterator[FloatArray]:
        """The corner, points inside, those with which chance is tried, and the image, as many at once as fit."""
        generator = derive_generator(self.seed, "active test", place)
        size = self.classifier.at_once
        yield self._inside(image, 2.0 * generator.integers(0, 2, (1, *image.shape)) - 1.0)
        for count, reach in ((_INNER, _REACH), (_CHANCE, 1.0)):
            for start in range(0, count, size):
                drawn = generator.uniform(-1.0, 1.0, (min(size, count - start), *image.shape))
                yield self._inside(image, reach * drawn)
        yield image[None]

    def _inside(self, image: FloatArray, offsets: npt.NDArray[Any]) -> FloatArray:
        points = np.clip(image + self.epsilon * offsets, *self.classifier.bounds).astype(np.float32)
        levels = self.classifier.levels
        return points if levels is None else settled_arrays(points, self.classifier.bounds, levels)


@dataclass(frozen=True, kw_only=True, eq=False)
class ActiveTest(OnSome):
    """An attack on the classifiers that the layers of :class:`Binarised` make; it follows on their unit.

    Attributes:
        attack: to test.
        epsilon: radius of the ball, L-inf, in pixel units.
    """

    attack: Attack
    epsilon: float

    kind: ClassVar[str] = "active test"

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The attack and the ball, too."""
        attack = {"config": self.attack.get_config(), "attack_data": self.attack.data_checksum}
        return {**super().parameters, "attack": self.attack.name, **attack, "epsilon": self.epsilon}

    @property
    def passes(self) -> Passes:
        """Those of the attack."""
        forwards, gradients = self.attack.passes
        return Passes(self.count * forwards, self.count * gradients)

    def compute(self, found: Sequence[Result], progress: Progress) -> Result:
        """Attacks them one after the other: ``success`` says of each whether the example was found."""
        data, fitted = self.some, found[0].arrays
        success: npt.NDArray[np.bool_] = np.zeros(len(data), bool)
        usable = np.flatnonzero(fitted["usable"])
        attack = replace(self.attack, batch_size=1)
        weights, bias = tf.Variable(fitted["weights"][0]), tf.Variable(fitted["bias"][0])
        binary = None
        for number, row in enumerate(usable):
            progress(number, len(usable))
            weights.assign(fitted["weights"][row])
            bias.assign(fitted["bias"][row])
            binary = binary or binarised(self.classifier, weights, bias)
            image = data.images[row : row + 1]
            result = attack(binary, image, np.zeros(1, np.int32), places=data.places[row : row + 1])
            near = linf(result.adversarials - image) <= self.epsilon + slack(self.classifier.bounds)
            success[row] = (result.success & near)[0]
        return Result({"success": success, "usable": fitted["usable"]}, {})


def can_be_tested(examples: Examples, epsilon: float) -> bool:
    """Whether a unit's attack looks for examples within epsilon, L-inf."""
    attack = examples.attack
    return transferable(examples, epsilon) or (isinstance(attack, MinimumNormAttack) and attack.norm == "linf")


def binarised(classifier: Classifier, weights: tf.Variable, bias: tf.Variable) -> Classifier:
    """A classifier of two classes with another last layer, whose weights are variables; the corner's class is 1."""
    features, _ = features_of(classifier)

    def logits(images: Any) -> Any:
        lead = tf.linalg.matvec(features(images), weights) + bias
        return tf.stack([-lead / 2, lead / 2], axis=1)

    return Classifier(
        logits,
        bounds=classifier.bounds,
        input_shape=classifier.input_shape,
        name=f"{classifier.name}, binarised",
        levels=classifier.levels,
        holding=[*classifier.holding, weights, bias],
    )


def discriminant(one: npt.NDArray[Any], others: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """The direction (F,) that best tells features (F,) from others (n, F): Fisher's, with a ridge.

    Worked out by as many equations as there are features or others, whichever are fewer.
    """
    mean = others.mean(axis=0)
    apart, spread = one - mean, others - mean
    ridge = len(others) * (_RIDGE * float((spread**2).mean()) + 1e-12)
    if len(apart) <= len(others):
        found = np.linalg.solve(spread.T @ spread + ridge * np.eye(len(apart)), apart)
    else:
        inner = spread @ spread.T + ridge * np.eye(len(others))
        found = apart - spread.T @ np.linalg.solve(inner, spread @ apart)
    return np.asarray(found / max(float(np.linalg.norm(found)), 1e-30))
