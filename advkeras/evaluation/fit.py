"""Whether classifiers fit a data set, and can be told apart."""

from collections.abc import Sequence

from advkeras.attacks.base import Attack
from advkeras.datasets import DatasetSpec
from advkeras.errors import InvalidInputError
from advkeras.models import Classifier


def check_fit(classifier: Classifier, spec: DatasetSpec) -> None:
    """Makes sure that a classifier takes a data set's images and knows as many classes.

    Raises:
        InvalidInputError: if not.
    """
    classifier.check_takes(
        spec.shape, spec.bounds, spec.num_classes, otherwise=f"{classifier.name} does not fit {spec.name}"
    )


def check_all_fit(classifiers: Sequence[Classifier], spec: DatasetSpec) -> None:
    """Makes sure that each of some classifiers fits a data set, and that no two have the same name.

    Raises:
        InvalidInputError: if not.
    """
    for classifier in classifiers:
        check_fit(classifier, spec)
    names = [classifier.name for classifier in classifiers]
    if len(set(names)) < len(names):
        raise InvalidInputError(
            f"models must have different names: rename a file or folder. Received: {', '.join(names)}"
        )


def usable(attacks: Sequence[Attack], classifier: Classifier) -> tuple[Attack, ...]:
    """Those of some attacks that can be tried on a classifier: without gradients, those that need none.

    Raises:
        InvalidInputError: if none of them can.
    """
    found = tuple(attack for attack in attacks if classifier.differentiable or not attack.needs_gradient)
    if attacks and not found:
        attacks[0].check_gradients(classifier)
    return found


def check_attacks(attacks: Sequence[Attack]) -> None:
    """Makes sure that no two attacks have the same name, since their examples would replace each other.

    Raises:
        InvalidInputError: if two do.
    """
    names = [attack.name for attack in attacks]
    if len(set(names)) < len(names):
        raise InvalidInputError(f"attacks must have different names. Received: {', '.join(names)}")
