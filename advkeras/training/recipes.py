"""How a network is trained, as data: the hyperparameters of a run, and their defaults."""

import math
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

from advkeras.datasets import DatasetSpec
from advkeras.errors import InvalidInputError, require
from advkeras.models import architectures
from advkeras.parameters import BelowOne, Count, NotNegative, Positive, Seed, WholeNumber, hold_fields, require_count

_LARGEST_BATCH, _SMALLEST_BATCH, _STEPS_AN_EPOCH = 128, 16, 32

Defense = Literal["none", "fast", "pgd", "trades"]
DEFENSES: tuple[Defense, ...] = get_args(Defense)
Optimizer = Literal["adam", "sgd"]
Schedule = Literal["cosine", "one-cycle"]
Augmentation = Literal["none", "standard"]
Precision = Literal["auto", "float32", "mixed"]


@dataclass(frozen=True, kw_only=True)
class TrainingRecipe:
    """The hyperparameters of a training run.

    Attributes:
        architecture: a registered network.
        defense: ``none``; ``fast``, single-step examples from a random start (Wong et al., ICLR 2020); ``pgd``,
            examples of several steps (Madry et al., ICLR 2018); ``trades``, cross-entropy on the images plus the
            divergence between their answers and those of examples that were crafted for it (Zhang et al., ICML 2019).
        epochs: passes over the training images.
        batch_size: images in a training step, over all replicas.
        optimizer: ``adam``; or ``sgd``, with Nesterov momentum 0.9.
        learning_rate: the highest one.
        schedule: ``cosine``, from the highest rate to 0 along half a cosine (Loshchilov and Hutter, ICLR 2017); or
            ``one-cycle``, before that up from 0 over the first fifth of the steps (Smith and Topin, 2018).
        weight_decay: decoupled (Loshchilov and Hutter, ICLR 2019), as a share of a weight at the rate 1: a step takes
            off ``learning_rate * weight_decay`` of each kernel.
        augmentation: ``none``; or ``standard``: random flips, and shifts by up to an eighth.
        average: momentum of the exponential average of the weights over the steps, which is what is validated and
            kept; less where it would reach back over more than half an epoch. 0 keeps the last weights.
        epsilon: L-inf bound of the crafted examples, in pixel units.
        step: length of a step of the attack, as a share of epsilon.
        iterations: steps of the attack.
        ramp_epochs: epochs over which epsilon grows from 0.
        trades_weight: of TRADES, beta: the weight of the divergence.
        validation: images, from the end of the training set, that are held out, and on which robust accuracy is
            measured after each epoch; the weights of the best epoch are kept. With 0 it is measured on training
            images, which shows a collapse but no overfitting, and the last weights are kept.
        patience: epochs without a better robust accuracy on the held out images after which training stops early.
        precision: ``float32``; ``mixed``, 16-bit arithmetic with 32-bit weights; ``auto``, mixed on GPUs only.
        start: SavedModel or zoo name whose weights are trained further; fresh weights by default.
        seed: of initialisation, order of the images and crafted examples.
    """

    architecture: str
    defense: Defense
    epochs: Count
    batch_size: Count = _LARGEST_BATCH
    optimizer: Optimizer = "adam"
    learning_rate: Positive = 1e-3
    schedule: Schedule = "cosine"
    weight_decay: NotNegative = 0.0
    augmentation: Augmentation = "none"
    average: BelowOne = 0.0
    epsilon: NotNegative = 0.0
    step: NotNegative = 0.0
    iterations: WholeNumber = 0
    ramp_epochs: NotNegative = 0.0
    trades_weight: NotNegative = 6.0
    validation: WholeNumber = 0
    patience: Count | None = None
    precision: Precision = "auto"
    start: str | None = None
    seed: Seed = 0

    def __post_init__(self) -> None:
        hold_fields(self)
        if self.defense != "none":
            require_count(iterations=self.iterations)
            require(self.step > 0, "step must be positive", step=self.step)
        if self.patience is not None:
            require(self.validation > 0, "patience needs held out images: give validation", validation=self.validation)

    @classmethod
    def default(cls, spec: DatasetSpec, defense: str, **overrides: Any) -> Self:
        """The default recipe for a defence on a data set, with the given values in place of its own.

        Args:
            spec: the data set; one that advkeras does not know gets CIFAR-10's recipe without augmentation.
            defense: ``none``, ``fast``, ``pgd`` or ``trades``.
            overrides: attributes of the recipe; those that are None are left at the default.

        Raises:
            InvalidInputError: if there is no such defence or a value makes no sense.
        """
        if defense not in DEFENSES:
            raise InvalidInputError(f"unknown defense {defense!r}: known are {', '.join(DEFENSES)}")
        values = _MNIST[defense] if spec.name == "mnist" else _COLOUR[defense]
        if spec.name == "cifar10":
            values = {**values, "augmentation": "standard"}
        if defense != "none":
            values = {**values, "epsilon": spec.epsilon}
        given = {key: value for key, value in overrides.items() if value is not None}
        recipe = {"architecture": architectures.default_for(spec), "defense": defense, **values, **given}
        return cls(**recipe)


def batch_size_for(images: int) -> int:
    """The batch size for so many training images: smaller where these are few, so that an epoch has enough steps."""
    fitting = 1 << int(math.log2(max(1, images // _STEPS_AN_EPOCH)))
    return min(_LARGEST_BATCH, max(_SMALLEST_BATCH, fitting))


# The models of the zoo say in their cards what these have led to; where no card names a defence on a data set, its
# default is a starting point that has not been run at full length. Epsilon is the data set's.
_MNIST: dict[str, dict[str, Any]] = {
    "none": {"epochs": 6},
    "fast": {"epochs": 4, "step": 1.25, "iterations": 1, "ramp_epochs": 2},
    "pgd": {"epochs": 10, "step": 0.4, "iterations": 4, "ramp_epochs": 3},
    "trades": {"epochs": 10, "step": 0.4, "iterations": 4, "ramp_epochs": 3, "trades_weight": 3.0},
}
_SGD = {"optimizer": "sgd", "schedule": "one-cycle", "learning_rate": 0.15, "weight_decay": 5e-3, "average": 0.99}
_COLOUR: dict[str, dict[str, Any]] = {
    "none": {**_SGD, "epochs": 14},
    "fast": {**_SGD, "epochs": 10, "step": 1.25, "iterations": 1, "ramp_epochs": 2},
    "pgd": {**_SGD, "epochs": 10, "step": 0.5, "iterations": 3, "ramp_epochs": 2},
    "trades": {**_SGD, "epochs": 10, "step": 0.5, "iterations": 3, "ramp_epochs": 2},
}
