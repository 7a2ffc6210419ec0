"""Projected gradient descent (Madry et al., ICLR 2018)."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import tensorflow as tf

from advkeras.arrays import FloatArray, Progress
from advkeras.attacks.families import FixedNormAttack
from advkeras.datasets.registry import DatasetSpec
from advkeras.errors import require
from advkeras.models import Classifier
from advkeras.models.counted import Passes
from advkeras.parameters import BelowOne, Count, Positive
from advkeras.randomness import derive_seeds
from advkeras.regions import Ball, Hypercube
from advkeras.searches.batches import run_in_batches
from advkeras.searches.gradients import Loss, adversarial_margin, loss_slope
from advkeras.searches.norms import NormName
from advkeras.searches.noting import stride_of
from advkeras.searches.problem import Problem
from advkeras.searches.projected_gradient import projected_gradient

# With fewer and smaller steps a search that turns round could not cross the ball.
_CROSSINGS = 2.5
# Madry et al.'s step on each data set, as a share of the pixel range, and iterations; those behind a model card.
_MADRY = {"mnist": (0.01, 40), "cifar10": (2 / 255, 20)}
_CARD = {"mnist": 100, "cifar10": 20}


@dataclass(frozen=True, kw_only=True)
class PGD(FixedNormAttack):
    """Projected gradient descent: steps along a loss's gradient, projected on a ball of epsilon.

    Madry et al. (ICLR 2018), section 2.1. Of the points that were visited the one of the largest margin counts. Images
    that are not fooled are attacked again, with the next loss and from the next start.

    Args:
        epsilon: radius of the ball, in the classifier's pixel unit: the largest change of a pixel (``linf``) or the
            Euclidean length of the change (``l2``).
        step: length of a step, in the same unit; 2.5 epsilon over the iterations by default, with which they can
            cross the ball.
        iterations: number of steps of each run.
        norm: ``"linf"`` or ``"l2"``.
        loss: ``"cross_entropy"``, ``"margin"`` (the best wrong logit minus the true one), or ``"both"``, one after the
            other: either finds examples that the other does not.
        random_start: start at a uniformly drawn point of the ball instead of at the image.
        restarts: starts with each loss.
        momentum: the share of the step before in each step (Croce and Hein, ICML 2020, take 0.25).
        jit_compile: compile the attack's loop by XLA. Measure it: on CPUs it is mostly slower.
    """

    step: Positive | None = None
    iterations: Count = 40
    norm: NormName = "linf"  # type: ignore[misc]
    loss: Loss | Literal["both"] = "both"
    random_start: bool = True
    restarts: Count = 1
    momentum: BelowOne = 0.0
    jit_compile: bool = False

    name: ClassVar[str] = "pgd"
    title: ClassVar[str] = "PGD"
    work: ClassVar[str] = "iterations"

    @classmethod
    def parameters_on(cls, spec: DatasetSpec, *, full_search: bool) -> dict[str, Any]:
        """The data set's epsilon; with the full search Madry et al.'s loss, step and iterations."""
        share, iterations = _MADRY[spec.follows]
        madry = {"step": share * spec.span, "iterations": iterations, "loss": "cross_entropy"}
        return {**super().parameters_on(spec, full_search=full_search), **(madry if full_search else {})}

    @classmethod
    def for_card(cls, spec: DatasetSpec) -> "PGD":
        """The attack behind a model card's accuracy: Madry et al.'s step, more iterations, both losses."""
        return cls(epsilon=spec.epsilon, step=_MADRY[spec.follows][0] * spec.span, iterations=_CARD[spec.follows])

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.random_start or self.restarts == 1,
            "restarts need random_start: without it they are all the same",
            restarts=self.restarts,
        )

    @property
    def losses(self) -> tuple[Loss, ...]:
        """Those that are climbed, in their order."""
        return get_args(Loss) if self.loss == "both" else (self.loss,)

    @property
    def passes(self) -> Passes:
        """Each restart climbs each loss."""
        forwards, gradients = super().passes
        return Passes(forwards, self.restarts * len(self.losses) * gradients)

    @property
    def step_length(self) -> float:
        """Of a step, in pixel units."""
        return _CROSSINGS * self.epsilon / self.iterations if self.step is None else self.step

    def run(self, classifier: Classifier, problem: Problem, progress: Progress) -> FloatArray:
        """The points of the largest margin that were met."""
        best, margin = problem.images.copy(), np.full(len(problem), -np.inf, np.float32)
        runs = [(restart, loss) for restart in range(self.restarts) for loss in self.losses]
        for place, (restart, loss) in enumerate(runs):
            left = np.flatnonzero(~(margin > 0))
            if not len(left):
                break
            points, reached = self._descend(
                classifier, problem, left, loss, restart, _part(progress, place, len(runs), len(problem))
            )
            better = reached > margin[left]
            best[left[better]], margin[left[better]] = points[better], reached[better]
        progress(len(problem), len(problem))
        return best

    def _descend(
        self,
        classifier: Classifier,
        problem: Problem,
        chosen: Any,
        loss: Loss,
        restart: int,
        progress: Progress,
    ) -> tuple[FloatArray, FloatArray]:
        """One run on the chosen images: their best points, and the margins there."""
        scalar = tf.TensorSpec((), tf.float32)
        attack = classifier.graph(
            (self.name, self.norm, self.random_start, self.momentum, loss, problem.targeted),
            lambda: self._graph_function(classifier, problem.targeted, loss),
            [
                classifier.image_signature,
                tf.TensorSpec((None,), tf.int32),
                tf.TensorSpec((None, 2), tf.int32),
                scalar,
                scalar,
                tf.TensorSpec((), tf.int32),
            ],
            jit_compile=self.jit_compile,
        )
        part, epsilon = problem.where(chosen), self.within(classifier)
        seeds = derive_seeds(self.seed, self.name, loss, restart, places=part.places)
        points, margins, zero, nonfinite, seen = run_in_batches(
            classifier,
            lambda batch: attack(
                part.images[batch], part.goals[batch], seeds[batch], epsilon, self.step_length, self.iterations
            ),
            len(part),
            batch_size=self.batch_size,
            progress=progress,
            fixed_shapes=self.jit_compile,
        )
        part.weak.add(zero, nonfinite)
        steps = self.iterations + 1
        part.recorder.add(seen, np.full(len(part), steps), stride=stride_of(steps))
        return points, margins

    def _graph_function(self, classifier: Classifier, targeted: bool, loss: Loss) -> Any:
        # Uniformly drawn from the ball.
        ball = Hypercube(1.0) if self.norm == "linf" else Ball(1.0)

        def attack(images: Any, goals: Any, seeds: Any, epsilon: Any, step: Any, iterations: Any) -> Any:
            drawn = ball.offsets_by_image(classifier.input_shape, seeds)
            return projected_gradient(
                lambda points, goals: loss_slope(classifier, points, goals, targeted=targeted, loss=loss),
                lambda points, goals: adversarial_margin(
                    tf.cast(classifier(points), tf.float32), goals, targeted=targeted
                ),
                images,
                goals,
                epsilon=epsilon,
                step=step,
                iterations=iterations,
                norm=self.norm,
                momentum=self.momentum,
                bounds=classifier.bounds,
                levels=classifier.levels,
                start=epsilon * drawn if self.random_start else None,
                drift=drawn,
            )

        return attack


def _part(progress: Progress, place: int, runs: int, total: int) -> Progress:
    """The progress of one of several runs, as that of all of them."""
    return lambda done, of: progress((place * total + done * total // of) // runs, total)
