"""One search for the least distortion, of all images or of some, from the beginning or from where it was left."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from advkeras.arrays import Progress, no_progress
from advkeras.models import Classifier
from advkeras.searches.active_set import run_active_set
from advkeras.searches.decoupled_step import LISTENED, LISTENING, SearchState, steps
from advkeras.searches.ensembles import NO_AIM, Ensemble
from advkeras.searches.norms import NORMS, NormName
from advkeras.searches.noting import columns
from advkeras.searches.problem import Problem

# The share of the iterations that look at a few members of a large ensemble at a time, and how many iterations it takes
# for that. (OptMargin on CIFAR-10: the same distortion to 1% as with all members from the beginning, in half the time.)
_FEW_SHARE, _FEW_FROM = 0.53, 10


@dataclass(frozen=True, kw_only=True)
class SingleSearch:
    """The search, without the images that it is run on.

    Args:
        classifier: what to attack.
        ensemble: what to fool around each point.
        norm: to make small.
        batch_size: members, over all images, that go through the network at once.
        jit_compile: compile by XLA.
    """

    classifier: Classifier
    ensemble: Ensemble
    norm: NormName
    batch_size: int
    jit_compile: bool = False

    def once(
        self,
        problem: Problem,
        *,
        iterations: int,
        seeds: Any,
        aims: Any | None = None,
        kappa: Any | None = None,
        progress: Progress,
    ) -> SearchState:
        """One search on all of a problem's images.

        Of a large ensemble it looks at a few members at a time to begin with, and at all of them from the beginning for
        the images on which that finds nothing.

        Args:
            problem: images and goals.
            iterations: gradients of each image's ensemble.
            seeds: as :meth:`begin` takes them, and so are aims and kappa.
            aims: see there.
            kappa: see there.
            progress: called with the number of images done and to do.

        Returns:
            The final state of all images, as arrays.
        """
        beginning = self.begin(problem, seeds=seeds, aims=aims, kappa=kappa)
        few = self.ensemble.few if iterations >= _FEW_FROM else None
        if few is None:
            self.go_on(problem, beginning, iterations=iterations, until=iterations, progress=progress)
            return beginning
        state, begun = beginning.where(np.arange(len(problem))), round(_FEW_SHARE * iterations)
        few_at_once = replace(self, ensemble=few)
        few_at_once.go_on(problem, state, iterations=iterations, until=begun, progress=no_progress)
        state = _unreached(state)
        self.go_on(problem, state, iterations=iterations, until=iterations, progress=progress)
        missed = np.flatnonzero(np.isinf(state.best_norm))
        if len(missed):
            again = beginning.where(missed)
            self.go_on(problem.where(missed), again, iterations=iterations, until=iterations, progress=no_progress)
            for values, new in zip(state, again, strict=True):
                values[missed] = new
        return state

    def begin(self, problem: Problem, *, seeds: Any, aims: Any | None = None, kappa: Any | None = None) -> SearchState:
        """The state before the first iteration.

        Args:
            problem: images and goals.
            seeds: (N, 2) int32, of the images' noise.
            aims: (N,) the wrong class to climb towards; whichever leads, by default.
            kappa: (N,) RMS of the noise over the perturbation's; found out by how much the gradients turn, by default.
                In a norm whose search takes no noise it is 0.
        """
        if not NORMS[self.norm].noisy:
            kappa = np.zeros(len(problem))
        elif kappa is None:
            kappa = np.full(len(problem), -1.0)
        return _initial(problem, seeds, aims, kappa)

    def go_on(self, problem: Problem, state: SearchState, *, iterations: int, until: int, progress: Progress) -> None:
        """Goes on from a state, all of whose images are at the same iteration, and changes it in place.

        Args:
            problem: whose images they are; counts gradients that say nothing.
            state: from :meth:`begin`, or from here.
            iterations: of the whole search.
            until: the iteration before which to stop.
            progress: called with the number of images done and to do.
        """
        if not len(state.finished) or until <= state.iteration[0]:
            return
        state.finished[:] = False
        before = state._replace(zero=state.zero.copy(), nonfinite=state.nonfinite.copy())
        run_active_set(
            self.classifier,
            ("decoupled search", self.norm, self.ensemble.key),
            lambda: steps(self.classifier, self.ensemble, NORMS[self.norm]),
            state,
            (np.int32(iterations), np.int32(until), *self.ensemble.shared),
            members=self.ensemble.size,
            batch_size=self.batch_size,
            progress=progress,
            jit_compile=self.jit_compile,
        )
        problem.weak.add(state.zero - before.zero, state.nonfinite - before.nonfinite)

    def turns(self, state: SearchState) -> Any:
        """Of which images the gradients turn with every step, so that a linear estimate says little: (N,) bool.

        None, as long as a search has not been through so many iterations that it is known.
        """
        disagreeing, agreeing = NORMS[self.norm].agreement
        turning = state.agreement < LISTENING * (disagreeing + agreeing) / 2
        return turning & (state.iteration >= LISTENED)


def _unreached(state: SearchState) -> SearchState:
    """The same state, as one that has not been to the goal: what a few members say is not what all of them do."""
    nowhere = np.full(len(state.finished), np.inf, np.float32)
    return state._replace(
        best=state.images.copy(),
        best_norm=nowhere,
        best_step=np.full_like(state.best_step, -1),
        seen=columns(len(nowhere)),
        crossing=nowhere.copy(),
    )


def _initial(problem: Problem, seeds: Any, aims: Any, kappa: Any) -> SearchState:
    count = len(problem)
    nothing = np.zeros(count, np.float32)
    return SearchState(
        images=problem.images,
        goals=problem.goals,
        aims=np.full(count, NO_AIM, np.int32) if aims is None else np.asarray(aims, np.int32),
        seeds=seeds,
        noise=np.zeros_like(problem.images),
        kappa=np.asarray(kappa, np.float32),
        direction=np.zeros_like(problem.images),
        momentum=np.zeros_like(problem.images),
        norm=nothing.copy(),
        agreement=nothing.copy(),
        iteration=np.zeros(count, np.int32),
        best=problem.images.copy(),
        best_norm=np.full(count, np.inf, np.float32),
        best_step=np.full(count, -1, np.int32),
        seen=columns(count),
        crossing=np.full(count, np.inf, np.float32),
        zero=np.zeros(count, np.int32),
        nonfinite=np.zeros(count, np.int32),
        finished=np.zeros(count, bool),
    )
