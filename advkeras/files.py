"""Writing files whole or not at all, under names that are safe on all systems."""

import errno
import functools
import hashlib
import json
import os
import platform
import shutil
import tempfile
import unicodedata
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from advkeras.errors import InvalidInputError

# Bytes of a name that a file gets; there is room for an ending below what file systems take.
_LONGEST = 100
# What Windows takes for a device, whatever the ending.
_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10))}
# Bytes that a file takes beside what is in it.
_SPARE = 2**16
# What other libraries say of a disk on which there is no room.
_FULL = ("no space left on device", "disk quota exceeded", "errno = 28")


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file to write under a temporary name beside its place, which is renamed in the end, once it is on the disk.

    Raises:
        InvalidInputError: if the folder cannot be written, or the disk is full.
    """
    path = Path(path)
    require_writable_folder(path.parent)
    _sweep_once(path.parent.absolute())
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


def safe_name(name: object) -> str:
    """A name as the name of a file or a folder, on all systems and whoever chose it; most are left as they are.

    Letters, digits and ``_-+.@ ()`` stay, but for dots, spaces and hyphens at the start, and dots and spaces at the
    end; all else becomes an underscore, and a long name is cut. Where something had to be changed, ``~`` and ten
    characters of the name's SHA-256 make the difference, so that different names stay different.
    """
    whole = str(name)
    kept = "".join(each if each.isalnum() or each in "_-+.@ ()" else "_" for each in whole[:_LONGEST])
    kept = kept.lstrip(" .-").rstrip(" .") or "unnamed"
    if kept.split(".")[0].rstrip().lower() in _RESERVED:
        kept = f"_{kept}"
    if kept == whole == unicodedata.normalize("NFC", whole) and len(whole.encode()) <= _LONGEST:
        return kept
    digest = hashlib.sha256(whole.encode(errors="surrogatepass")).hexdigest()[:10]
    return f"{kept.encode()[: _LONGEST - 11].decode(errors='ignore')}~{digest}"


def scratch_prefix() -> str:
    """How the names of what this process is writing begin; they say which process of which machine it is."""
    return f".writing-{platform.node()}-{os.getpid()}-"


def sweep(folder: str | os.PathLike[str]) -> None:
    """Removes what processes of this machine that are no more have left half written in a folder."""
    import psutil

    for left in Path(folder).glob(f".writing-{platform.node()}-*-*"):
        process = left.name.removeprefix(f".writing-{platform.node()}-").split("-")[0]
        if process.isdecimal() and len(process) < 10 and not psutil.pid_exists(int(process)):
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)


_sweep_once = functools.cache(sweep)
"""Of each folder that this process writes to; a folder may have very many files."""


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


def write_json(path: Path, data: Any) -> None:
    """Writes plain values as indented JSON, whole or not at all."""
    write_atomically(path, (json.dumps(data, indent=2) + "\n").encode())


@contextmanager
def room_in(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Makes one line of what any library raises that finds no room on a disk while this holds.

    Args:
        folder: that is written to, for the message.

    Raises:
        InvalidInputError: if the disk is full.
    """
    try:
        yield
    except InvalidInputError:
        raise
    except Exception as error:
        if not _is_full(error):
            raise
        raise InvalidInputError(f"cannot write to the folder {folder}: {os.strerror(errno.ENOSPC)}") from error


def require_space(folder: str | os.PathLike[str], size: int) -> None:
    """Makes sure that a disk has room for a file; for libraries that a full one leaves in disorder.

    Args:
        folder: that is written to.
        size: of the file in bytes, about.

    Raises:
        InvalidInputError: if it has not.
    """
    if shutil.disk_usage(folder).free < size + _SPARE:
        raise InvalidInputError(f"cannot write to the folder {folder}: {os.strerror(errno.ENOSPC)}")


def _is_full(error: BaseException | None) -> bool:
    while error is not None:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            return True
        if any(words in str(error).lower() for words in _FULL):
            return True
        error = error.__cause__ or error.__context__
    return False


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
        why = "it is a file" if folder.is_file() else error.strerror
        raise InvalidInputError(f"cannot write to the folder {folder}: {why}; name another one") from None
