"""Where a trained model lies, and what is known of it: a name of the zoo, a SavedModel's folder, or a file."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from advkeras.errors import InvalidInputError
from advkeras.models import layout, lite, saved_model, zoo
from advkeras.models.card import ModelCard
from advkeras.models.networks import Network, keras_network, load_keras_file
from advkeras.models.usage import Usage


def found(
    source: str | os.PathLike[str], bounds: tuple[float, float] | None, usage: Usage
) -> tuple[Network, dict[str, Any]]:
    """A network, and what :class:`advkeras.models.Classifier` is to know of it beside.

    Args:
        source: as for :meth:`advkeras.models.Classifier.load`.
        bounds: lowest and highest pixel value; those of the model card by default.
        usage: what was said of how the model is used.

    Raises:
        InvalidInputError: if nothing can be loaded from there, or no bounds are known, or other ones than the card's.
    """
    path = zoo.locate(source)
    facts: dict[str, Any] = {"source": str(source), "usage": usage}
    if not path.is_file():
        network, more = _of_folder(path, bounds, usage)
        return network, {**facts, **more}
    facts |= {"name": path.stem, "bounds": _require_bounds(bounds, path)}
    if path.suffix.lower() == lite.SUFFIX:
        return lite.lite_network(path), facts
    model = load_keras_file(path, trust=usage.trust)
    return keras_network(model), {**facts, "model": model}


def _of_folder(path: Path, bounds: tuple[float, float] | None, usage: Usage) -> tuple[Network, dict[str, Any]]:
    """A SavedModel, and what its card says."""
    version = layout.version_folder(path)
    card = ModelCard.read(version)
    network = saved_model.load_network(version)
    if card and bounds and tuple(map(float, bounds)) != tuple(map(float, card.bounds)):
        raise InvalidInputError(
            f"the model card of {path} says that its pixels lie in {list(card.bounds)}. Received: "
            f"bounds={tuple(bounds)}"
        )
    name = (card.name if card else "") or (version.parent.name if layout.is_version(version.name) else version.name)
    known = _require_bounds(bounds or (card.bounds if card else None), path)
    facts: dict[str, Any] = {"name": name, "bounds": known, "folder": version, "card": card}
    if card and usage.shape is None:
        facts["usage"] = replace(usage, shape=card.input_shape)
    return network, facts


def _require_bounds(bounds: tuple[float, float] | None, path: Path) -> tuple[float, float]:
    if bounds is None:
        raise InvalidInputError(
            f"{path} has no model card that says its pixels' bounds: give --bounds LOW HIGH (in Python, bounds=)"
        )
    return bounds
