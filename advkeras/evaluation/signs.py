"""What raises a flag: each function looks at one part of what was measured. Nothing here needs TensorFlow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from advkeras.arrays import BoolArray, FloatArray
from advkeras.evaluation.flags import Flag, raised
from advkeras.evaluation.results import Convergence
from advkeras.models.reading import OF_PROBABILITIES
from advkeras.proportion import Proportion
from advkeras.searches.trace import Trace

if TYPE_CHECKING:
    from advkeras.attacks.base import Attack
    from advkeras.models import Classifier

# Accuracy on benign images that is nearer to chance than this share of the way to 1 is no classifier's.
_FAR_FROM_CHANCE = 0.2
# Images whose pixels take up less of the range than this share are probably in another unit.
_FILLED = 0.5
# An epsilon that is a smaller share of the range is a quarter of the step between two values of 8 bits.
_LEAST_EPSILON = 1e-3
# An accuracy whose 95% interval is wider says little: 100 images are enough, whatever the accuracy.
_WIDEST = 0.2
# What queries may find beyond gradients, as a share of the images: AutoAttack's own check (Croce and Hein, ICML 2020).
_GAIN = 0.002
# A search has not ended that was still rising on more than this share of the images on which it failed, and on so many
# at least. Where gradients turn with every step some always rise: of PGD on mnist-pgd 2 of 5, as the tables run it, and
# all with Madry et al.'s 40 steps of 0.01, which 100 improve by three points.
_RISING, _LEAST_RISING = 2 / 3, 3
# Images of which float32 rounds all other classes' probabilities to 0, as a share of those asked about.
_SATURATED = 0.1
# By what share the lead of an image's class may change around it, and of what share of the images by more. On 113 test
# images of cifar10-natural it changes by 6% in the middle, by more than 10% on every fourth and by more than 20% on
# every tenth; on the other models of the zoo by more than 20% on one in thirty at most.
_CHANGE, _UNSTABLE = 0.2, 0.5
# A sound attack finds examples that surely exist on more than this share of the images.
_ACTIVE = 0.9


def of_classifier(classifier: "Classifier") -> tuple[Flag, ...]:
    """What is to be known of a classifier before anything is measured; nothing for most."""
    reading, name, found = classifier.reading, classifier.name, []
    if reading.random:
        line = (
            f"{name} answers differently at every call, by up to {reading.random:.2g}, so that its figures mean little"
        )
        found.append(raised("random-outputs", line, model=name))
    if reading.how == OF_PROBABILITIES and not classifier.differentiable:
        # Attacks by queries go by the order of logits, which logarithms keep.
        if reading.saturated:
            line = (
                f"{name} returns probabilities, and one rounds to 0 on {reading.saturated:.0%} of the images tried: "
                "attacks by queries see nothing there"
            )
            found.append(raised("probabilities", line, model=name))
    elif reading.how == OF_PROBABILITIES:
        why = "whether a softmax comes last cannot be told" if reading.random else "no softmax is found that comes last"
        rounded = f", which say nothing on the {reading.saturated:.0%} of the images tried where one rounds to 0"
        line = f"{name} returns probabilities, and {why}: their logarithms stand in for logits"
        found.append(raised("probabilities", line + (rounded if reading.saturated else ""), model=name))
    return tuple(found)


def of_use(classifier: "Classifier", attacks: Sequence["Attack"]) -> tuple[Flag, ...]:
    """What is to be known of a classifier that is attacked by some attacks, before it is."""
    name, found = classifier.name, list(of_classifier(classifier))
    if not classifier.differentiable:
        titles = ", ".join(attack.title for attack in attacks if attack.needs_gradient)
        line = f"no gradients run through {name}: only attacks by queries can be tried"
        line += f" ({titles} cannot)" if titles else ""
        found.append(raised("no-gradients", line, model=name))
    for attack in attacks:
        if classifier.num_classes < attack.least_classes:
            line = (
                f"the loss of {attack.title} needs {attack.least_classes} classes, and {name} has "
                f"{classifier.num_classes}: it climbs the difference of two logits instead"
            )
            found.append(raised("few-classes", line, model=name, attack=attack.name))
    return tuple(found)


def of_pixels(bounds: tuple[float, float], pixels: tuple[float, float]) -> list[Flag]:
    """Whether images' pixels fill little of the range.

    Args:
        bounds: lowest and highest pixel value that the models take.
        pixels: the lowest and the highest one of the images.
    """
    (low, high), (least, most) = bounds, pixels
    if most - least >= _FILLED * (high - low):
        return []
    line = f"the images' pixels lie in [{least:.3g}, {most:.3g}], and the bounds are [{low:g}, {high:g}]"
    return [raised("narrow-pixels", line)]


def of_epsilon(bounds: tuple[float, float], epsilon: float) -> list[Flag]:
    """Whether an epsilon, L-inf, is no perturbation of pixels in a range: it seems to be of another one's.

    Args:
        bounds: lowest and highest pixel value that the models take.
        epsilon: in their unit.
    """
    low, high = bounds
    if epsilon == 0 or _LEAST_EPSILON <= epsilon / (high - low) < 1:
        return []
    small = f"less than {_LEAST_EPSILON:.1%}" if epsilon < high - low else "all"
    return [raised("epsilon-unit", f"epsilon {epsilon:g} is {small} of the pixels' range, [{low:g}, {high:g}]")]


def of_study(
    classifiers: Sequence["Classifier"], attacks: Sequence["Attack"], bounds: tuple[float, float], images: FloatArray
) -> tuple[Flag, ...]:
    """What is to be known of classifiers, attacks and images before anything is measured."""
    pixels = float(images.min()), float(images.max())
    of_each = (getattr(each, "epsilon", None) for each in attacks if each.norm == "linf")
    epsilons = {float(each) for each in of_each if each is not None}
    return (
        *of_pixels(bounds, pixels),
        *(flag for epsilon in sorted(epsilons) for flag in of_epsilon(bounds, epsilon)),
        *(flag for each in classifiers for flag in of_use(each, attacks)),
    )


def of_benign(model: str, right: Proportion, num_classes: int) -> list[Flag]:
    """Whether a model's accuracy on benign images is near to chance."""
    chance = 1 / num_classes
    if not right.of or right.rate >= chance + _FAR_FROM_CHANCE * (1 - chance):
        return []
    line = f"{model} classifies {right.rate:.0%} of the benign images correctly, and chance alone {chance:.0%}"
    return [raised("low-benign-accuracy", line, model=model, images=right)]


def of_interval(model: str, left: Proportion, what: str) -> list[Flag]:
    """Whether the images are too few for an accuracy."""
    low, high = left.interval()
    if high - low <= _WIDEST:
        return []
    line = f"of {model} {what} is known to lie between {low:.0%} and {high:.0%} only, from {left.of:,} images"
    return [raised("few-images", line, model=model)]


@dataclass(frozen=True, kw_only=True)
class Attacked:
    """What an attack met on images, as far as flags look at it.

    Attributes:
        model: name.
        attack: name.
        title: of the attack.
        within: whether it stays within a distance, instead of making one small.
        attacked: (N,) bool, whether there was anything to attack.
        success: (N,) bool.
        zero: (N,) gradients of each image that were zero everywhere.
        nonfinite: (N,) gradients of each image of which something was not finite.
        silent: (N,) bool, whether the search met its goal, and what it returned is no success.
        rising: (N,) bool, whether the search was still rising when it ended, without success.
        by_queries: (N,) bool, whether a search by gradients succeeded by the queries with which it ended.
    """

    model: str
    attack: str
    title: str
    within: bool
    attacked: BoolArray
    success: BoolArray
    zero: npt.NDArray[Any]
    nonfinite: npt.NDArray[Any]
    silent: BoolArray
    rising: BoolArray
    by_queries: BoolArray


SEEN = ("attacked", "success", "zero", "nonfinite", "silent", "rising", "by_queries")
"""What flags look at of each image that was attacked."""


def seen_in(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """What flags look at in the arrays of an attack's result, by :data:`SEEN`."""
    success, attacked = arrays["success"], arrays["attacked"]
    failed, trace = attacked & ~success, Trace.of_arrays(arrays) or Trace.nothing(len(success))
    return {
        "attacked": attacked,
        "success": success,
        "zero": arrays["zero_gradients"],
        "nonfinite": arrays["nonfinite_gradients"],
        "silent": trace.reached & failed,
        "rising": trace.rising & failed,
        "by_queries": trace.ended_by_queries & success,
    }


def of_attack(seen: Attacked) -> list[Flag]:
    """Whether an attack got what it needs of the model, and whether it ended as it should."""
    of, failed = int(seen.attacked.sum()), int((seen.attacked & ~seen.success).sum())

    def told(name: str, line: str, images: Proportion) -> Flag:
        return raised(name, line, model=seen.model, attack=seen.attack, images=images)

    found = []
    for name, counts, what in (
        ("zero-gradients", seen.zero, "zero everywhere"),
        ("nonfinite-gradients", seen.nonfinite, "NaN or infinite somewhere"),
    ):
        weak = np.asarray(counts)[seen.attacked]
        images = Proportion(int((weak > 0).sum()), of)
        if images.count:
            line = (
                f"of the gradients that {seen.title} took of {seen.model} {int(weak.sum()):,} were {what}, on "
                f"{images.count:,} of {of:,} images"
            )
            found.append(told(name, line, images))
    silent, rising = Proportion(int(seen.silent.sum()), of), Proportion(int(seen.rising.sum()), failed)
    if silent.count:
        where = f"on {silent.count:,} of {of:,} images"
        line = f"{seen.title} fooled {seen.model} on its way {where} where what it returned does not"
        found.append(told("silent-success", line, silent))
    if seen.within and rising.count > max(_LEAST_RISING - 1, _RISING * failed):
        where = f"on {rising.count:,} of the {failed:,} images where it failed"
        line = f"{seen.title} on {seen.model} was still rising when it ended {where}"
        found.append(told("incomplete-optimisation", line, rising))
    return [*found, *of_queries(seen.model, Proportion(int(seen.by_queries.sum()), of), seen.title, seen.attack)]


def of_convergence(model: str, attack: str, title: str, again: Convergence | None) -> list[Flag]:
    """Whether an attack finds more, or much nearer, with more work."""
    if again is None or again.converged:
        return []
    more = again.success_again > again.success
    gain = (
        f"fools {again.success_again} instead of {again.success} of {again.images} images"
        if more
        else f"ends {again.fall:.0%} nearer on {again.images} image{'s' * (again.images != 1)}"
    )
    line = f"with twice the work (--set {again.setting}) {title} on {model} {gain}"
    return [raised("not-converged", line, model=model, attack=attack)]


def of_answers(model: str, arrays: Mapping[str, npt.NDArray[Any]]) -> list[Flag]:
    """Whether a model's answers are random, change soon around images, or are so sure that float32 rounds them.

    Args:
        model: name.
        arrays: of the images that were asked about, as :class:`advkeras.evaluation.soundness.Answers` gives them.
    """
    found, right = [], arrays["right"]
    differs = Proportion(int(arrays["differs"].sum()), len(right))
    if differs.count:
        line = f"{model} answers differently at every call, on {differs.count} of {differs.of} images"
        found.append(raised("random-outputs", line, model=model, images=differs))
    saturated = Proportion(int(arrays["saturated"].sum()), len(right))
    if saturated.count > _SATURATED * saturated.of:
        line = (
            f"{model} is so sure of {saturated.count} of {saturated.of} images that float32 rounds the probability of "
            "every other class to 0"
        )
        found.append(raised("saturated-outputs", line, model=model, images=saturated))
    unstable = Proportion(int((arrays["change"][right] > _CHANGE).sum()), int(right.sum()))
    if unstable.count > _UNSTABLE * unstable.of:
        line = (
            f"the lead of the true class in what {model} answers changes by more than {_CHANGE:.0%} on average within "
            f"4/255 of the pixel range, around {unstable.count} of {unstable.of} images"
        )
        found.append(raised("unstable-predictions", line, model=model, images=unstable))
    return found


def of_active_test(model: str, attack: str, title: str, found: Proportion | None, features: str) -> list[Flag]:
    """Whether an attack misses examples that surely exist."""
    if found is None or not found.of or found.rate >= _ACTIVE:
        return []
    line = (
        f"with a last layer of its own on the {features} of {model} for each image, so that an example surely exists, "
        f"{title} finds it on {found.count} of {found.of} images"
    )
    missed = Proportion(found.of - found.count, found.of)
    return [raised("active-test", line, model=model, attack=attack, images=missed)]


def of_transfer(model: str, gained: Proportion) -> list[Flag]:
    """Whether examples of other models fool images that all attacks have left."""
    if gained.count <= _GAIN * gained.of:
        return []
    line = (
        f"examples made of the other models fool {model} within epsilon on {gained.count:,} of {gained.of:,} images "
        "that all attacks had left"
    )
    return [raised("transfer-beats-attacks", line, model=model, images=gained)]


def of_unconstrained(model: str, reached: Proportion) -> list[Flag]:
    """Whether there are images that no attack has fooled which may go as far as it takes."""
    if reached.count == reached.of:
        return []
    line = f"attacks that may go as far as it takes fooled {model} on {reached.count:,} of {reached.of:,} images"
    return [
        raised("unconstrained-below-100", line, model=model, images=Proportion(reached.of - reached.count, reached.of))
    ]


def of_queries(model: str, gained: Proportion, title: str = "", attack: str = "") -> list[Flag]:
    """Whether queries fool images that gradients have left.

    Args:
        model: name.
        gained: images on which they do.
        title: of the attack that does both, where it is one.
        attack: its name.
    """
    if gained.count <= _GAIN * gained.of:
        return []
    left = f"the gradients of {title}" if title else "all attacks by gradients"
    line = (
        f"queries alone fooled {model} within epsilon on {gained.count:,} of {gained.of:,} images that {left} had left"
    )
    return [raised("queries-beat-gradients", line, model=model, attack=attack, images=gained)]
