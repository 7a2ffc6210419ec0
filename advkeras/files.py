"""Writing files whole or not at all, and reading them with messages that say what is wrong."""

import json
import os
import platform
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import numpy.typing as npt

from advkeras.errors import InvalidInputError, first_line

T = TypeVar("T")
# What NumPy raises where a file is no .npz file, or a damaged one.
_DAMAGED = (
    *(OSError, ValueError, EOFError, TypeError, AttributeError, KeyError),
    *(NotImplementedError, zipfile.BadZipFile, zlib.error),
)


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file to write under a temporary name beside its place, which is renamed in the end, once it is on the disk.

    Raises:
        InvalidInputError: if the folder cannot be written, or the disk is full.
    """
    path = Path(path)
    require_writable_folder(path.parent)
    scratch: Path | None = None
    try:
        handle, name = tempfile.mkstemp(prefix=scratch_prefix(), dir=path.parent)
        scratch = Path(name)
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        scratch.chmod(0o644)
        scratch.replace(path)
    except OSError as error:
        raise InvalidInputError(f"cannot write {path}: {error.strerror}") from None
    finally:
        if scratch is not None:
            scratch.unlink(missing_ok=True)


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Writes a file whole or not at all.

    Raises:
        InvalidInputError: if the folder cannot be written, or the disk is full.
    """
    with writing(path) as stream:
        stream.write(content)


def scratch_prefix() -> str:
    """How the names of what this process is writing begin; they say which process of which machine it is."""
    return f".writing-{platform.node()}-{os.getpid()}-"


def sweep(folder: str | os.PathLike[str]) -> None:
    """Removes what processes of this machine that are no more have left half written in a folder."""
    import psutil

    for left in Path(folder).glob(f".writing-{platform.node()}-*-*"):
        process = left.name.removeprefix(f".writing-{platform.node()}-").split("-")[0]
        if process.isdigit() and not psutil.pid_exists(int(process)):
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)


def write_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Writes arrays as a compressed .npz file, whole or not at all."""
    write_atomically(path, arrays_as_bytes(arrays))


def arrays_as_bytes(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """A compressed .npz file of arrays."""
    content = BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    return content.getvalue()


def write_in_parts(stream: BinaryIO, rows: int, arrays: Mapping[str, Iterable[npt.NDArray[Any]]]) -> None:
    """Writes a compressed .npz file of arrays that are never in memory as a whole.

    Args:
        stream: to write to.
        rows: of all the arrays.
        arrays: by name, each as parts of its rows, at least one.
    """
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, parts in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                for number, part in enumerate(parts):
                    if not number:
                        shape = (rows, *part.shape[1:]) if part.ndim else ()
                        header = {"descr": np.lib.format.dtype_to_descr(part.dtype), "fortran_order": False}
                        np.lib.format.write_array_header_1_0(entry, {**header, "shape": shape})
                    entry.write(np.ascontiguousarray(part).tobytes())


def read_arrays_of(content: BinaryIO, names: Sequence[str] | None = None) -> dict[str, npt.NDArray[Any]]:
    """The named arrays of what an .npz file holds; all of them by default.

    Raises:
        InvalidInputError: if it is none, or lacks one of them.
    """
    return _opened(
        content, lambda archive: {name: np.asarray(archive[name]) for name in names or archive}, "what was read"
    )


def array_names(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """What the arrays of an .npz file are called.

    Raises:
        InvalidInputError: if the file cannot be read.
    """
    return _from_archive(path, tuple, "")


def read_arrays(path: str | os.PathLike[str], names: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    """The named arrays of an .npz file.

    Raises:
        InvalidInputError: if the file cannot be read or lacks one of them.
    """

    def read(archive: Any) -> dict[str, npt.NDArray[Any]]:
        if missing := [name for name in names if name not in archive]:
            raise ValueError(f"{', '.join(missing)} missing, it has {', '.join(archive) or 'none'}")
        return {name: np.asarray(archive[name]) for name in names}

    return _from_archive(path, read, f" with the arrays {', '.join(names)}")


def _from_archive(path: str | os.PathLike[str], read: Callable[[Any], T], what: str) -> T:
    if not Path(path).is_file():
        raise InvalidInputError(f"there is no file {path}")
    return _opened(path, read, str(path), what)


def _opened(source: str | os.PathLike[str] | BinaryIO, read: Callable[[Any], T], name: str, what: str = "") -> T:
    try:
        with np.load(source, allow_pickle=False) as archive:
            return read(archive)
    except _DAMAGED as error:
        raise InvalidInputError(f"{name} is no .npz file{what}: {first_line(error)}") from None


def write_json(path: Path, data: Any) -> None:
    """Writes plain values as indented JSON, whole or not at all."""
    write_atomically(path, (json.dumps(data, indent=2) + "\n").encode())


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
