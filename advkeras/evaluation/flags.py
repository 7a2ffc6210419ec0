"""Flags: what says that an evaluation's figures may be of something else than the model's robustness."""

from collections.abc import Iterable
from dataclasses import dataclass

from advkeras.proportion import Proportion

# What to do about each, in the order in which they are told: what concerns the input, the model, then the attacks.
ADVICE = {
    "narrow-pixels": "Give the bounds of the model's pixels (--bounds): attacks use the whole of them.",
    "epsilon-unit": "Epsilon is in the unit of the bounds: 8 of [0, 255] is 8/255 = 0.0314 of [0, 1].",
    "few-images": "Take more of them (--examples).",
    "low-benign-accuracy": (
        "Make sure that the model takes pixels within these bounds (--bounds), that its preprocessing is inside it or "
        "given (--preprocessing, --mean, --std), and that its classes are in the order of the labels."
    ),
    "random-outputs": (
        "Augmentation or dropout is left on in what was exported, as Keras's own export leaves it: advkeras export of "
        "the Keras model serves it with them off. Where randomness is the defence, attack the mean of many answers."
    ),
    "probabilities": "Let the model return logits, or end with a softmax of them.",
    "saturated-outputs": (
        "Attacks by cross-entropy and by probabilities see no gradient there, and their success means nothing; those "
        "of advkeras do not depend on the logits' scale. Divide the logits by a temperature for others. Pixels in "
        "another unit than the model's own (--bounds) do this, too."
    ),
    "unstable-predictions": (
        "Attacks see another loss at every step: the model is random, or turns within less than a step. Attack the "
        "mean over many points or answers, and with smaller steps."
    ),
    "few-classes": "Take pgd or optlinf beside it, whose losses need no more than two classes.",
    "no-gradients": (
        "Attacks by queries find less. Attack a differentiable model in its place (with what rounds or quantises left "
        "out, or its gradient taken to be that of the identity), and try its examples on this one (--model of both, "
        "in one command)."
    ),
    "zero-gradients": (
        "Something in the model is flat there (rounding, quantisation, a saturated activation): the figures may be of "
        "the gradients and not of the model. Attacks by queries need none (--attack square,hopskipjump); attack it "
        "without what is flat, too."
    ),
    "nonfinite-gradients": (
        "Look for a division, a logarithm or a root at 0 in the model: the figures may be of the gradients and not of "
        "the model. Attacks by queries need none (--attack square,hopskipjump)."
    ),
    "silent-success": (
        "The search met examples that were none when they were verified: the model answers differently from call to "
        "call, or the attack does not return the best point that it met. Attack the mean of many answers, or keep the "
        "best point."
    ),
    "incomplete-optimisation": (
        "Give it more steps (--set ATTACK.iterations=...), and run AutoAttack beside it (--attack autoattack)."
    ),
    "not-converged": "Give it more work, as the line says.",
    "active-test": (
        "The attack is too weak for this model, or what it goes by is masked: what it says of the model's robustness "
        "means nothing. Give it more work, or take another one that passes; try autoattack."
    ),
    "unconstrained-below-100": (
        "With the whole pixel range every image can be misclassified, so the attacks fail and not the model resists: "
        "give them more work, attack by queries (--attack square,hopskipjump), and look at the other flags."
    ),
    "transfer-beats-attacks": (
        "The attacks fail where an example exists: trust no accuracy of this run above the worst case with these "
        "examples, and look for what masks gradients."
    ),
    "queries-beat-gradients": (
        "Gradients mislead there: trust the worst case over all attacks alone, with AutoAttack among them (--attack "
        "autoattack), and look for what masks gradients."
    ),
}


@dataclass(frozen=True, kw_only=True)
class Flag:
    """A sign that something is wrong with what was evaluated, or with how.

    Attributes:
        name: of its kind; docs/flags.md says more of each.
        model: its name; empty where the flag is of the images.
        attack: its name; empty where the flag is of no single attack.
        images: on how many of those that were looked at; None where it is no matter of single images.
        line: what was found.
        advice: what to do about it.
    """

    name: str
    model: str = ""
    attack: str = ""
    images: Proportion | None = None
    line: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.line}. {self.advice}".strip()


def raised(name: str, line: str, *, model: str = "", attack: str = "", images: Proportion | None = None) -> Flag:
    """A flag of a kind that is known, with its advice."""
    return Flag(name=name, model=model, attack=attack, images=images, line=line, advice=ADVICE[name])


def in_order(flags: Iterable[Flag]) -> tuple[Flag, ...]:
    """Flags in the order of their kinds, models as they come."""
    order = {name: place for place, name in enumerate(ADVICE)}
    return tuple(sorted(flags, key=lambda flag: order.get(flag.name, len(order))))
