"""A budget of gradients, spent on one decoupled search of each image or on several: by noise, or by aim."""

from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import numpy as np
from annotated_types import Interval

from advkeras.arrays import FloatArray, Progress
from advkeras.models import Classifier
from advkeras.parameters import hold_fields
from advkeras.searches import rivals
from advkeras.searches.decoupled_step import LISTENED
from advkeras.searches.ensembles import NO_AIM, Ensemble
from advkeras.searches.norms import NORMS, NormName
from advkeras.searches.problem import Problem
from advkeras.searches.several_searches import Several
from advkeras.searches.single_search import SingleSearch

# The kappa of the search that goes on towards the best class.
_LAST_KAPPA = 2.0
# A class is aimed at whose linear estimate of the distance is less than so many times the distance found.
_REACH = 2.0
# Gradients of one search, of a further one at least, and from how many on a class is aimed at; searches in several
# directions, at most.
_ONE, _LEAST_MORE, _AIMED_FROM, _DIRECTIONS = 50, 15, 40, 4


@dataclass(frozen=True, kw_only=True)
class DecoupledSearch:
    """Minimises ``|x' - x|`` over the x' whose ensemble reaches the goal.

    The gradients are spent on searches of some 50 each. The first of them say whether they turn with every step, as on
    adversarially trained networks. Where they do, the searches differ in their noise; in L-inf, which takes none, one
    search has all the gradients. Elsewhere they would all end at the same place, and go towards the nearest classes by
    a linear estimate, the nearest one first: the class that leads at the image often is not it. Where no class seems
    near any more, noise takes what is left. (In L-inf, and for ensembles of several members, the first search goes
    towards whichever class leads. Where a target is given, there is nothing else to aim at, and one search has all the
    gradients.) The last of many gradients go on towards the best class.

    Args:
        gradients: of each image's ensemble, at most; at least 2, since the first is taken at the image itself. (Where a
            large ensemble is looked at a few members at a time to begin with, and nothing is found like that, half as
            many again.)
        norm: ``"l2"`` or ``"linf"``.
        restarts: whether there is more than one search of an image; otherwise one takes all the gradients, with noise
            from its first step on, as a goal wants that is far away.
    """

    gradients: Annotated[int, Interval(ge=2)] = 50
    norm: NormName = "l2"
    restarts: bool = True

    kind: ClassVar[str] = "decoupled"
    work: ClassVar[str] = "gradients"

    def __post_init__(self) -> None:
        hold_fields(self)

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
            progress: called with the number of images done and to do.
            jit_compile: compile by XLA.

        Returns:
            (N, H, W, C); the image itself where nothing was found.
        """
        search = SingleSearch(
            classifier=classifier, ensemble=ensemble, norm=self.norm, batch_size=batch_size, jit_compile=jit_compile
        )
        found = Several(search, problem, seed, lambda done: progress(done // self.gradients, len(problem)))
        everything = np.arange(len(problem))
        ranked = 0 if problem.targeted else rivals.count(classifier)
        first = _ONE if self.restarts and self.gradients >= _ONE + ranked + _LEAST_MORE else self.gradients
        if self.restarts and ensemble.size == 1 and self.gradients >= _AIMED_FROM:
            self._point(found, everything, first, ranked)
        else:
            # On the way to a goal that is far away, noise from the first step on ends 5% nearer on cifar10-natural.
            known = None if self.restarts else np.full(len(problem), ensemble.noise)
            first = first if ranked else self.gradients
            state = found.once(everything, first, kappa=known)
            turning, left = search.turns(state) & NORMS[self.norm].noisy, self.gradients - first
            self._noisy(found, everything[turning], state.kappa[turning], left)
            self._aimed(found, everything[~turning], left - ranked, afterwards=True)
        progress(len(problem), len(problem))
        return found.best

    def _point(self, found: Several, images: Any, first: int, ranked: int) -> None:
        """Searches for a single point, which differ as the first iterations say.

        A search that neither noise nor an aim could send elsewhere takes all the gradients.

        Args:
            found: nothing yet.
            images: indices.
            first: gradients of the first search, where others follow.
            ranked: wrong classes that one can aim at.
        """
        noisy = NORMS[self.norm].noisy
        state = found.begin(images)
        found.go_on(images, state, first, LISTENED)
        turning = found.search.turns(state)
        length = first if noisy else self.gradients
        found.go_on(images[turning], state.where(turning), length, length)
        if noisy:
            self._noisy(found, images[turning], state.kappa[turning], self.gradients - first)
        # A linear estimate at the image says where to go to fool a point, in L2 from the beginning.
        length = self.gradients if not ranked else LISTENED if noisy else first
        found.go_on(images[~turning], state.where(~turning), length, length)
        self._aimed(found, images[~turning], self.gradients - length - ranked, afterwards=not noisy)

    def _noisy(self, found: Several, images: Any, kappa: Any, left: int) -> None:
        """Searches of images whose gradients turn, which differ in noise."""
        if not len(images):
            return
        for number, iterations in enumerate(_shares(left, max(1, round(left / _ONE)))):
            found.once(images, iterations, number + 1, kappa=kappa)

    def _aimed(self, found: Several, images: Any, left: int, *, afterwards: bool) -> None:
        """Searches of other images: towards the nearest classes, and one towards whichever leads.

        An image that has no promising class left would end where it is. Noise may send it elsewhere: 200 gradients end
        0.6% nearer on cifar10-pgd and 0.8% on mnist-pgd, over all images. In a norm that takes none the image is left
        alone. The last of many gradients go on towards the best class.

        Args:
            found: so far.
            images: indices.
            left: gradients of each; where they are too few for a search, nothing happens.
            afterwards: whether there has been a search towards whichever class leads.
        """
        if not len(images) or left < _LEAST_MORE:
            return
        reached = found.classes(images) if afterwards else np.full(len(images), NO_AIM)
        classes, estimates = found.nearest(images, reached)
        directions = max(1, min(_DIRECTIONS, round(left / _ONE)))
        last = max(0, left - directions * _ONE) if left >= (_DIRECTIONS + 1) * _ONE else 0
        rows, place = np.arange(len(images)), np.zeros(len(images), int)
        led = np.full(len(images), afterwards)
        for number, iterations in enumerate(_shares(left - last, directions)):
            known = place < classes.shape[1]
            nearest = np.minimum(place, classes.shape[1] - 1)
            promising = known & (estimates[rows, nearest] < _REACH * found.best_norm[images])
            plain = promising | ~led
            go = plain | NORMS[self.norm].noisy
            aims = np.where(promising, classes[rows, nearest], NO_AIM)
            kappa = np.where(plain, 0.0, found.search.ensemble.noise)
            if go.any():
                found.once(images[go], iterations, number + 1, aims=aims[go], kappa=kappa[go])
            place, led = place + promising, led | ~promising
        if last:
            kappa = np.full(len(images), _LAST_KAPPA)
            found.once(images, last, directions + 1, aims=found.classes(images), kappa=kappa)


def _shares(total: int, parts: int) -> list[int]:
    """A total in parts as equal as whole numbers can be; without those that are 0."""
    return [share for share in (total // parts + (place < total % parts) for place in range(parts)) if share]
