"""Whether an attack's figures are those of a search that has ended: the same attack again, with twice the work."""

import time

import numpy as np
import numpy.typing as npt

from advkeras.attacks.base import Attack
from advkeras.attacks.families import MinimumNormAttack
from advkeras.datasets import LabelledImages
from advkeras.evaluation.examples import Examples
from advkeras.evaluation.results import Convergence
from advkeras.models import Classifier

FACTOR = 2
# Images that are attacked again, at most, and the share of a run's images that they are: with twice the work, and in
# small batches, about a fifth of the attack's time.
_IMAGES, _SHARE = 8, 1 / 16


def check_convergence(
    attack: Attack, classifier: Classifier, data: LabelledImages, examples: Examples
) -> Convergence | None:
    """Runs an attack again with twice the work, on a few of the images.

    Args:
        attack: with the work of the run.
        classifier: what it attacked.
        data: the run's images.
        examples: what it found on them.

    Returns:
        How both compare; None for an attack whose work is fixed, and where nothing was attacked.
    """
    chosen = _chosen(examples.attacked)
    more = attack.with_work(FACTOR).beside(data.images[examples.attacked])
    setting = more.work_setting
    if setting is None or not chosen.any():
        return None
    start = time.perf_counter()
    few = data.where(chosen)
    again = more(classifier, few.images, few.labels, places=few.places)
    success = examples.success[chosen]
    both = success & again.success
    before, after = None, None
    if isinstance(attack, MinimumNormAttack) and both.any():
        before, after = (
            float(attack.distance(found[both] - few.images[both]).mean())
            for found in (examples.adversarials[chosen], again.adversarials)
        )
    return Convergence(
        setting=f"{attack.name}.{setting[0]}={setting[1]}",
        images=int(chosen.sum()),
        success=int(success.sum()),
        success_again=int(again.success.sum()),
        distortion=before,
        distortion_again=after,
        seconds=round(time.perf_counter() - start, 3),
    )


def _chosen(attacked: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """A few of the attacked images, spread over all of them."""
    places = np.flatnonzero(attacked)
    count = min(_IMAGES, len(places), max(1, int(_SHARE * len(attacked))))
    chosen = np.zeros(len(attacked), bool)
    chosen[places[np.linspace(0, len(places) - 1, count).round().astype(int)]] = True
    return chosen
