"""TF Serving's layout of SavedModels on disk, NAME/VERSION/; nothing here needs TensorFlow."""

import hashlib
from pathlib import Path

from advkeras.errors import InvalidInputError

_MODEL_FILE = "saved_model.pb"
_AT_ONCE = 2**20
_DIGITS = 18


def versions(parent: Path) -> list[Path]:
    """The folders of a model's versions, the lowest number first."""
    numbered = (child for child in parent.glob("[0-9]*") if is_version(child.name) and (child / _MODEL_FILE).is_file())
    return sorted(numbered, key=lambda child: int(child.name))


def is_version(name: str) -> bool:
    """Whether a folder's name is a version's number, as TF Serving takes it: a whole number of 64 bits."""
    return name.isascii() and name.isdecimal() and len(name) <= _DIGITS


def version_folder(path: Path) -> Path:
    """The folder that holds a SavedModel: the path itself, or its subfolder with the highest version number.

    Raises:
        InvalidInputError: if there is no SavedModel.
    """
    if (path / _MODEL_FILE).is_file():
        return path
    numbered = versions(path)
    if not numbered:
        raise InvalidInputError(f"{path} holds no SavedModel: expected {_MODEL_FILE} there or in a numbered subfolder")
    return numbered[-1]


def checksum(folder: Path) -> str:
    """SHA-256 over a SavedModel's graph and weights.

    Raises:
        InvalidInputError: if they cannot be read.
    """
    digest = hashlib.sha256()
    try:
        for path in [folder / _MODEL_FILE, *sorted((folder / "variables").iterdir())]:
            digest.update(path.name.encode(errors="surrogateescape"))
            with path.open("rb") as stream:
                while part := stream.read(_AT_ONCE):
                    digest.update(part)
    except OSError as error:
        raise InvalidInputError(
            f"{folder} is a damaged SavedModel: cannot read {error.filename}: {error.strerror}"
        ) from None
    return digest.hexdigest()
