"""A budget of gradients, spent on one decoupled search of each image or on several: by noise, or by aim."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, get_args

import numpy as np

from advkeras.attacks import rivals
from advkeras.attacks.base import FloatArray, Problem, Progress, Tally, require
from advkeras.attacks.ensembles import NO_AIM, Ensemble
from advkeras.attacks.norms import NORMS, NormName
from advkeras.attacks.single_search import SearchState, search_once
from advkeras.models import Classifier
from advkeras.randomness import derive_seeds

# From this kappa on restarts differ in noise, and below in their aim; the kappa of those that have none to go by.
_TURNING, _RESTART_KAPPA = 1.0, 2.0
# A class is aimed at whose linear estimate of the distance is less than so many times the distance found. Where
# gradients turn the estimate is of little use, unless it promises less than has been found.
_REACH, _TURNING_REACH = 1.5, 1.0
# Gradients of one search, and of a further one at least.
_ONE, _LEAST_MORE = 50, 15


@dataclass(frozen=True, kw_only=True)
class DecoupledSearch:
    """Minimises ``|x' - x|`` over the x' whose ensemble reaches the goal.

    The first 50 gradients are one search. What is left is spent on more of them. Where gradients turn with every step,
    as on adversarially trained networks, these differ in their noise. Elsewhere they would end where the first did, and
    are aimed at the nearest other classes by a linear estimate; the last of many goes on towards the best class.

    Args:
        gradients: of each image's ensemble, at most.
        norm: ``"l2"`` or ``"linf"``.
        restarts: whether there is more than one search of an image; otherwise one takes all the gradients, as a goal
            wants that is far away.
    """

    gradients: int = 50
    norm: NormName = "l2"
    restarts: bool = True

    kind: ClassVar[str] = "decoupled"
    work: ClassVar[str] = "gradients"

    def __post_init__(self) -> None:
        require(self.gradients >= 1, "gradients must be at least 1", gradients=self.gradients)
        known = get_args(NormName)
        require(self.norm in known, f"norm must be one of {', '.join(known)}", norm=self.norm)

    def with_work(self, factor: int) -> "DecoupledSearch":
        """The same search with so many times the gradients."""
        return replace(self, gradients=factor * self.gradients)

    def run(
        self,
        classifier: Classifier,
        problem: Problem,
        ensemble: Ensemble,
        *,
        seed: int,
        batch_size: int,
        tally: Tally,
        progress: Progress,
        jit_compile: bool = False,
    ) -> FloatArray:
        """The nearest points found.

        Args:
            classifier: what to attack.
            problem: images and goals.
            ensemble: what to fool around each point.
            seed: of the noise.
            batch_size: members, over all images, that go through the network at once.
            tally: counts the work.
            progress: called with the number of images done and to do.
            jit_compile: compile by XLA.

        Returns:
            (N, H, W, C); the image itself where nothing was found.
        """
        best, best_norm = problem.images.copy(), np.full(len(problem), np.inf, np.float32)
        spent = 0

        def once(chosen: Any, iterations: int, number: int, *, aims: Any = None, kappa: Any = None) -> SearchState:
            """One search on some of the images; what it finds that is nearer is kept."""
            nonlocal spent
            part, counted = problem.where(chosen), Tally(len(chosen))
            start, spent = spent, spent + iterations * len(chosen)
            state = search_once(
                classifier,
                part,
                ensemble,
                norm=self.norm,
                iterations=iterations,
                seeds=derive_seeds(seed, "decoupled search", number, places=part.places),
                aims=aims,
                kappa=kappa,
                batch_size=batch_size,
                tally=counted,
                progress=lambda done, total: progress(
                    (start + done * iterations) // max(self.gradients, 1), len(problem)
                ),
                jit_compile=jit_compile,
            )
            tally.add(counted, chosen)
            nearer = state.best_norm < best_norm[chosen]
            best[chosen[nearer]], best_norm[chosen[nearer]] = state.best[nearer], state.best_norm[nearer]
            return state

        everything = np.arange(len(problem))
        first = _ONE if self.restarts and self.gradients >= _ONE + _LEAST_MORE else self.gradients
        state = once(everything, first, 0)
        left = self.gradients - first
        ranked = 0 if problem.targeted else rivals.count(classifier)
        if ranked and left - ranked >= _LEAST_MORE:
            left -= ranked
            reached = np.where(np.isfinite(best_norm), classifier.predict(best), NO_AIM)
            tally.forwards += len(problem)
            classes, estimates = rivals.nearest(
                classifier, problem, reached, norm=self.norm, batch_size=batch_size, tally=tally
            )
        else:
            reached, classes = np.full(len(problem), NO_AIM), np.zeros((len(problem), 0), np.int32)
            estimates = np.zeros((len(problem), 0), np.float32)
        turning = state.kappa >= _TURNING
        promising = estimates < np.where(turning, _TURNING_REACH, _REACH)[:, None] * best_norm[:, None]
        aims = np.where(promising, classes, NO_AIM)
        self._noisy(everything[turning], aims, state.kappa, left, once)
        self._aimed(everything[~turning], aims, reached, left, best_norm, once)
        progress(len(problem), len(problem))
        return best

    def _noisy(self, images: Any, aims: Any, kappa: Any, left: int, once: Callable[..., Any]) -> None:
        """Searches of images whose gradients turn, which differ in noise; the first is aimed, if there is an aim."""
        for number, iterations in enumerate(_shares(left, max(1, round(left / _ONE)))):
            aim = aims[images, 0] if number == 0 and aims.shape[1] else np.full(len(images), NO_AIM)
            if len(images):
                once(images, iterations, number + 1, aims=aim, kappa=kappa[images])

    def _aimed(
        self, images: Any, aims: Any, reached: Any, left: int, best_norm: FloatArray, once: Callable[..., Any]
    ) -> None:
        """Searches of other images, aimed at promising classes; the last of many goes on towards the best class.

        An image without a promising class is left alone: it would end where it is.
        """
        others = 1 if left <= 2 * _ONE else (2 if left <= 4 * _ONE else 3)
        last = left - others * _ONE if left > 4 * _ONE else 0
        chosen, nearest = reached[images].copy(), best_norm[images].copy()
        lengths = _shares(left - last, others)
        for number, iterations in enumerate(lengths[: aims.shape[1]]):
            aim = aims[images, number]
            aimed = aim != NO_AIM
            if aimed.any():
                once(images[aimed], iterations, number + 1, aims=aim[aimed], kappa=np.zeros(int(aimed.sum())))
            nearer = best_norm[images] < nearest
            chosen[nearer], nearest = aim[nearer], best_norm[images].copy()
        if last and len(images):
            kappa = np.full(len(images), _RESTART_KAPPA if NORMS[self.norm].noisy else 0.0)
            once(images, last, others + 1, aims=chosen, kappa=kappa)


def _shares(total: int, parts: int) -> list[int]:
    """A total in parts as equal as whole numbers can be; without those that are 0."""
    return [share for share in (total // parts + (place < total % parts) for place in range(parts)) if share]
