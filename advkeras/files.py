"""Writing files whole or not at all."""

import os
import tempfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from advkeras.errors import InvalidInputError


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file under a temporary name beside its place and renames it.

    Raises:
        InvalidInputError: if the folder cannot be written.
    """
    require_writable_folder(path.parent)
    handle, scratch = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        Path(scratch).chmod(0o644)
        Path(scratch).replace(path)
    except OSError as error:
        Path(scratch).unlink(missing_ok=True)
        raise InvalidInputError(f"cannot write {path}: {error.strerror}") from None


def write_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Writes arrays as a compressed .npz file, whole or not at all."""
    content = BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    write_atomically(path, content.getvalue())


def require_writable_folder(folder: Path) -> None:
    """Makes a folder, and makes sure that files can be written there.

    Raises:
        InvalidInputError: if not.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InvalidInputError(f"cannot write to the folder {folder}: {error.strerror}") from None
