"""The flags that an attack's examples raise, for the studies and commands that are no evaluation."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from advkeras.evaluation import signs
from advkeras.evaluation.flags import Flag, in_order
from advkeras.evaluation.results import BENIGN
from advkeras.evaluation.unit_results import EXAMPLES, LABELS, result_of
from advkeras.proportion import Proportion
from advkeras.runs.unit import Find

if TYPE_CHECKING:
    from advkeras.attacks.result import AttackResult


class Kind(Protocol):
    """Images of one kind of a study: benign ones, or an attack's examples; ``examples`` are units' digests."""

    @property
    def kind(self) -> str: ...  # noqa: D102
    @property
    def title(self) -> str: ...  # noqa: D102
    @property
    def within(self) -> bool: ...  # noqa: D102
    @property
    def examples(self) -> Sequence[str]: ...  # noqa: D102


def of_kinds(model: str, kinds: Sequence[Kind], num_classes: int, find: Find) -> list[Flag]:
    """What raises a flag in the examples of a study, as far as their units are done.

    Args:
        model: name.
        kinds: of images.
        num_classes: of the data set.
        find: units' results.
    """
    flags: list[Flag] = []
    for kind in kinds:
        holds = (EXAMPLES, LABELS) if kind.kind == BENIGN else (EXAMPLES,)
        parts = [found for each in kind.examples if (found := result_of(find, each, *holds)) is not None]
        if parts and kind.kind == BENIGN:
            right = [each.arrays["predictions"] == each.arrays["labels"] for each in parts]
            flags += signs.of_benign(model, _share(right), num_classes)
        elif parts:
            seen = [signs.seen_in(each.arrays) for each in parts]
            joined = {name: np.concatenate([each[name] for each in seen]) for name in signs.SEEN}
            flags += signs.of_attack(
                signs.Attacked(model=model, attack=kind.kind, title=kind.title, within=kind.within, **joined)
            )
    return flags


def of_result(
    result: "AttackResult", *, model: str, attack: str, title: str, within: bool, num_classes: int
) -> tuple[Flag, ...]:
    """What raises a flag in what an attack returned.

    Args:
        result: of the attack.
        model: name.
        attack: its name.
        title: as people call it.
        within: whether it stays within a distance, instead of making one small.
        num_classes: of the data set.
    """
    right = result.benign_predictions == result.labels
    seen = signs.Attacked(model=model, attack=attack, title=title, within=within, **signs.seen_in(result.found))
    return in_order([*signs.of_benign(model, _share([right]), num_classes), *signs.of_attack(seen)])


def _share(parts: Sequence[np.ndarray]) -> Proportion:
    return Proportion(sum(int(part.sum()) for part in parts), sum(map(len, parts)))
