"""The quick attack: within epsilon by searches for the least distortion, on what they have not fooled yet."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from advkeras.arrays import FloatArray, Progress, slack
from advkeras.attacks.families import FixedNormAttack
from advkeras.attacks.rounding import beyond_rounding
from advkeras.models import Classifier
from advkeras.parameters import Count
from advkeras.searches import rivals
from advkeras.searches.ensembles import FixedEnsemble
from advkeras.searches.norms import NormName
from advkeras.searches.problem import Problem
from advkeras.searches.several_searches import Several
from advkeras.searches.single_search import SingleSearch

# The share of the gradients that go towards whichever class leads.
_SHARE = 0.6
# Between two looks at which images are fooled, iterations: after so many of a search, and before that.
_SETTLED, _LATE, _EARLY = 20, 10, 5


@dataclass(frozen=True, kw_only=True)
class QuickAttack(FixedNormAttack):
    """One search of an example within epsilon, and one towards the nearest class where it found none.

    The decoupled search of OptLinf and OptBrittle for the least distortion, which has neither a step nor a loss that
    would have to fit the model. An image that has an example within epsilon is done; those that are left are searched
    again, towards the wrong class whose linearised boundary is nearest.

    Args:
        epsilon: radius of the ball, in the classifier's pixel unit: the largest change of a pixel (``linf``) or the
            Euclidean length of the change (``l2``).
        norm: ``"linf"`` or ``"l2"``.
        gradients: of an image, at most.
    """

    norm: NormName = "linf"  # type: ignore[misc]
    gradients: Count = 160

    name: ClassVar[str] = "quick"
    title: ClassVar[str] = "Quick"
    work: ClassVar[str] = "gradients"

    def run(self, classifier: Classifier, problem: Problem, progress: Progress) -> FloatArray:
        """The nearest points found."""
        ensemble = FixedEnsemble(
            bounds=classifier.bounds,
            levels=classifier.levels,
            targeted=problem.targeted,
            offsets=np.zeros((1, *classifier.input_shape), np.float32),
            clip=False,
            confidence=0.0,
        )
        enough = self.epsilon + slack(classifier.bounds)  # as it is verified
        search = SingleSearch(classifier=classifier, ensemble=ensemble, norm=self.norm, batch_size=self.batch_size)
        found = Several(
            search,
            problem,
            self.seed,
            lambda spent: progress(spent // self.gradients, len(problem)),
            farthest=enough,
        )
        ranked = 0 if problem.targeted else rivals.count(classifier)
        first = round(_SHARE * self.gradients) if ranked else self.gradients
        second = self.gradients - first - ranked
        left = self._search(found, np.arange(len(problem)), enough, first)
        if len(left) and ranked and second > 1:
            aims = found.nearest(left, found.classes(left))[0][:, 0]
            self._search(found, left, enough, second, number=1, aims=aims)
        progress(len(problem), len(problem))
        return self._near(classifier, problem, beyond_rounding(self, classifier, problem, found.best))

    def _search(
        self, found: Several, images: Any, enough: float, gradients: int, *, number: int = 0, aims: Any = None
    ) -> Any:
        """Searches some of the images, each until an example is near enough; returns those that have none."""
        state, done = found.begin(images, number, aims=aims), 0
        while done < gradients and len(images):
            done = min(gradients, done + (_EARLY if done < _SETTLED else _LATE))
            found.go_on(images, state, gradients, done)
            left = found.best_norm[images] > enough
            images, state = images[left], state.where(left)
        return images
