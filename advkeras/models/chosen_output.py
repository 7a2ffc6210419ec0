"""Which of several outputs of a network tells the classes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras

from advkeras.errors import InvalidInputError, UnknownOutputError

_USUAL = "logits"


@dataclass(frozen=True)
class ChosenOutput:
    """One of a network's outputs.

    Attributes:
        function: from images to that output alone.
        name: its name or place; None for the only one.
        guessed: whether nobody said it, and its name does not.
    """

    function: Callable[[Any], Any]
    name: str | None = None
    guessed: bool = False


def named(outputs: Any) -> Mapping[str, Any]:
    """Outputs in any structure by name or place; the name of a single one is empty."""
    return {"/".join(map(str, path)): value for path, value in keras.tree.flatten_with_path(outputs)}


def choose(
    function: Callable[[Any], Any], outputs: Any, *, name: str, wanted: str | None = None, classes: int | None = None
) -> ChosenOutput:
    """Takes one of a network's outputs.

    Args:
        function: from images to one or several outputs, in a dictionary, a sequence, or a nest of both.
        outputs: what it returns for some images.
        name: of the network, for messages.
        wanted: the output's name or place, counted from 0; by default the one called ``logits``, or the only one that
            has a row for each image and a column for each class.
        classes: how many there are, where that is known.

    Raises:
        UnknownOutputError: if several may be it, and the number of classes is not known.
        InvalidInputError: if none is, or there is none of the name.
    """
    found = named(outputs)
    described = ", ".join(f"{key} {_shape_of(value)}" for key, value in found.items())
    if wanted is not None:
        by_place = {str(place): key for place, key in enumerate(found)}
        wanted = wanted if wanted in found else by_place.get(wanted, wanted)
        if wanted not in found:
            known = described if len(found) > 1 else f"one of shape {_shape_of(outputs)}"
            raise InvalidInputError(f"{name} has no output {wanted!r}. Received outputs: {known}")
        return ChosenOutput(_only(function, wanted), wanted)
    if len(found) == 1:
        [key] = found
        return ChosenOutput(_only(function, key) if key else function)
    if _USUAL in found:
        return ChosenOutput(_only(function, _USUAL), _USUAL)
    rows = [key for key, value in found.items() if len(value.shape) == 2 and value.dtype.is_floating]
    fitting = [key for key in rows if (found[key].shape[1] == classes if classes else found[key].shape[1] > 1)]
    if len(fitting) == 1:
        return ChosenOutput(_only(function, fitting[0]), fitting[0], guessed=True)
    raise (InvalidInputError if classes else UnknownOutputError)(
        f"{name} has several outputs, and which of them tells the classes is not clear: give output_name "
        f"(--output-name). Received outputs: {described}"
    )


def _only(function: Callable[[Any], Any], key: str) -> Callable[[Any], Any]:
    return lambda images: named(function(images))[key]


def _shape_of(value: Any) -> str:
    return f"({', '.join(['N', *map(str, value.shape[1:])])})" if value.shape.rank else "()"
