"""The trained models that come with advkeras: the folder saved_models/, part of the wheel."""

import os
from pathlib import Path

from advkeras.errors import InvalidInputError, require, unknown_name
from advkeras.models import layout
from advkeras.models.card import ModelCard
from advkeras.runs.remote import fetched, is_url

_PACKAGE = Path(__file__).parents[1]


def root() -> Path:
    """The folder of the zoo: inside the installed package, or at the top of a checkout."""
    installed = _PACKAGE / "saved_models"
    return installed if installed.is_dir() else _PACKAGE.parent / "saved_models"


def names() -> tuple[str, ...]:
    """Names of the models in the zoo."""
    if not root().is_dir():
        return ()
    return tuple(sorted(child.name for child in root().iterdir() if layout.versions(child)))


def names_for(dataset: str) -> tuple[str, ...]:
    """Names of the models that were trained on a data set.

    Raises:
        InvalidInputError: if there is none.
    """
    cards = {name: card(name) for name in names()}
    chosen = tuple(name for name, entry in cards.items() if entry and entry.dataset == dataset)
    if not chosen:
        raise InvalidInputError(f"the zoo in {root()} has no model of {dataset}: give a model, or train one")
    return chosen


def path(name: str) -> Path:
    """The folder above a model's versions."""
    return root() / name


def locate(source: str | os.PathLike[str]) -> Path:
    """The place of a model: its folder in the zoo where the source is a name of the zoo, else the source itself.

    What is behind a URL is fetched.

    Raises:
        InvalidInputError: if there is nothing.
    """
    require(isinstance(source, str | os.PathLike), "a model is a name, a folder or a file", source=source)
    if is_url(source):
        return fetched(str(source))
    if str(source) in names():
        return path(str(source))
    if not os.path.exists(source):  # noqa: PTH110  (a path's own method fails on names that no file can have)
        if Path(source).suffix:
            raise InvalidInputError(
                f"there is no model {source}: give a SavedModel's folder, or a .keras, .h5 or .tflite file"
            )
        raise InvalidInputError(unknown_model(str(source)))
    return Path(source)


def card(name: str) -> ModelCard | None:
    """The model card of the version that would be loaded."""
    return ModelCard.read(layout.version_folder(path(name)))


def is_intact(name: str) -> bool:
    """Whether graph and weights still have the checksum of the card."""
    version = layout.version_folder(path(name))
    entry = ModelCard.read(version)
    return entry is not None and layout.checksum(version) == entry.checksum


def unknown_model(received: str) -> str:
    """One line about a model that is neither in the zoo nor on disk."""
    return (
        unknown_name("model", received, names()) + ", or give a SavedModel's folder, or a .keras, .h5 or .tflite file"
    )
