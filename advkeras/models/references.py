"""Classifiers in other processes: loaded there, once, from where they were loaded here."""

import os
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advkeras.errors import InvalidInputError
from advkeras.models import zoo
from advkeras.models.usage import Usage

if TYPE_CHECKING:
    from advkeras.models import Classifier


def reference(classifier: "Classifier") -> tuple[Any, ...]:
    """What :func:`load_again` takes to load a classifier in another process.

    Raises:
        InvalidInputError: if it was made in memory.
    """
    if classifier.source is None:
        raise InvalidInputError(
            f"{classifier.name} was made in memory and cannot go to another process: save it, and load it from there"
        )
    source = str(classifier.source)
    if "://" not in source and source not in zoo.names():
        source = os.fspath(Path(source).absolute())
    return source, classifier.bounds, classifier.usage, classifier.name, classifier.at_once


@cache
def load_again(source: str, bounds: tuple[float, float], usage: Usage, name: str, at_once: int) -> "Classifier":
    """Loads a classifier as it was loaded elsewhere; once in a process."""
    from advkeras.models import Classifier

    said = {field.name: getattr(usage, field.name) for field in fields(usage)}
    classifier = Classifier.load(source, bounds=bounds, **said)
    classifier.name = name
    classifier.at_once = at_once  # batches are to be the same, whatever memory is free here
    return classifier
