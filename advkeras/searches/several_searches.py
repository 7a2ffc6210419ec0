"""What several searches of the same images have found: the nearest point of any."""

from collections.abc import Callable
from typing import Any

import numpy as np

from advkeras.arrays import FloatArray, IntArray, Progress
from advkeras.randomness import derive_seeds
from advkeras.searches import rivals
from advkeras.searches.decoupled_step import SearchState
from advkeras.searches.ensembles import NO_AIM
from advkeras.searches.noting import stride_of
from advkeras.searches.problem import Problem
from advkeras.searches.single_search import SingleSearch


class Several:
    """What several searches of the same images have found so far.

    Args:
        search: that is run.
        problem: images and goals.
        seed: of the noise.
        spent: called with the gradients of all images so far.
        farthest: distance up to which examples count, for the record of what was seen; any by default.

    Attributes:
        search: that is run.
        best: (N, H, W, C) the nearest points; the image itself where there is none.
        best_norm: (N,) their distances, infinite where there is none.
    """

    def __init__(
        self,
        search: SingleSearch,
        problem: Problem,
        seed: int,
        spent: Callable[[int], None],
        *,
        farthest: float = np.inf,
    ) -> None:
        self.search, self._problem, self._seed = search, problem, seed
        self._report, self._spent, self._farthest = spent, 0, farthest
        self.best = problem.images.copy()
        self.best_norm = np.full(len(problem), np.inf, np.float32)

    def once(
        self,
        chosen: Any,
        iterations: int,
        number: int = 0,
        *,
        aims: Any = None,
        kappa: Any = None,
    ) -> SearchState:
        """One search of some of the images; what it finds that is nearer is kept."""
        state = self.search.once(
            self._problem.where(chosen),
            iterations=iterations,
            seeds=self._seeds(chosen, number),
            aims=aims,
            kappa=kappa,
            progress=self._progress(len(chosen), iterations),
        )
        self._keep(chosen, state, iterations=iterations)
        return state

    def begin(self, chosen: Any, number: int = 0, *, aims: Any = None) -> SearchState:
        """A search of some of the images, before its first iteration."""
        return self.search.begin(self._problem.where(chosen), seeds=self._seeds(chosen, number), aims=aims)

    def go_on(self, chosen: Any, state: SearchState, iterations: int, until: int) -> None:
        """Goes on with a search of some of the images; what it finds that is nearer is kept."""
        if not len(chosen):
            return
        begun = int(state.iteration[0])
        further = until - begun
        state.seen[:] = -np.inf
        self.search.go_on(
            self._problem.where(chosen),
            state,
            iterations=iterations,
            until=until,
            progress=self._progress(len(chosen), further),
        )
        self._keep(chosen, state, iterations=iterations, begun=begun)

    def classes(self, chosen: Any) -> IntArray:
        """The classes of the points found for some of the images; NO_AIM where there is none."""
        classes = self.search.classifier.predict(self.best[chosen], batch_size=self.search.batch_size)
        # In another batch a point on the boundary may be rounded to the other side of it.
        known = np.isfinite(self.best_norm[chosen]) & (classes != self._problem.goals[chosen])
        return np.where(known, classes, NO_AIM)

    def nearest(self, chosen: Any, known: IntArray) -> tuple[IntArray, FloatArray]:
        """As :func:`rivals.nearest` says it of some of the images."""
        return rivals.nearest(
            self.search.classifier,
            self._problem.where(chosen),
            known,
            norm=self.search.norm,
            batch_size=self.search.batch_size,
        )

    def _progress(self, images: int, iterations: int) -> Progress:
        before = self._spent
        self._spent += images * iterations
        return lambda done, total: self._report(before + done * iterations)

    def _seeds(self, chosen: Any, number: int) -> Any:
        return derive_seeds(self._seed, "decoupled search", number, places=self._problem.places[chosen])

    def _keep(self, chosen: Any, state: SearchState, *, iterations: int, begun: int = 0) -> None:
        """Keeps what is nearer, and records what was seen from an iteration on of a search of so many in all."""
        nearer, stride = state.best_norm < self.best_norm[chosen], stride_of(iterations)
        self.best[chosen[nearer]], self.best_norm[chosen[nearer]] = state.best[nearer], state.best_norm[nearer]
        seen = state.seen[:, begun // stride :]
        # An example that is farther away than counts is none.
        far = (self.best_norm[chosen] > self._farthest)[:, None]
        self._problem.where(chosen).recorder.add(
            np.where(far, np.minimum(seen, 0.0), seen),
            state.iteration - begun,
            stride=stride,
            best=np.where(nearer, np.maximum(state.best_step - begun, 0), -1),
            goes_on=begun > 0,
        )
