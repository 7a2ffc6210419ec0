"""Reading .npz and .npy files that others may have written: nothing is believed before it is checked, no pickles."""

import math
import os
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from advkeras import limits
from advkeras.errors import InvalidInputError, first_line, plain_text

T = TypeVar("T")
Array = npt.NDArray[Any]
Source = str | os.PathLike[str] | BinaryIO

_ENDING = ".npy"
# What is unpacked at once; what a part may take that is read whole, an archive's table of contents for example.
_CHUNK, _AT_ONCE = 2**20, 2**22
_MOST_ARRAYS = 10_000
_READ = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
# How other files begin.
_KNOWN = ((b"\x89HDF\r\n\x1a\n", "an HDF5 file"), (b"\x93NUMPY", "an .npy file"))


@dataclass(frozen=True)
class Header:
    """What a file says of an array before any of it is read.

    Attributes:
        shape: of the array.
        dtype: number type, or text; never Python objects.
        fortran: whether its first axis varies fastest.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool

    def size(self, rows: int | None = None) -> int:
        """Bytes of the first rows; of all where the number is None. Where there are none, its longest axis counts."""
        shape = self.shape if rows is None or not self.shape else (min(rows, self.shape[0]), *self.shape[1:])
        return math.prod(shape) * self.dtype.itemsize or max(shape, default=0)


def array_names(source: Source) -> tuple[str, ...]:
    """What the arrays of an .npz file are called.

    Raises:
        InvalidInputError: if there is no such file, or it cannot be read.
    """
    with _archive(source) as archive:
        return _names(archive)


def headers(source: Source, names: Sequence[str] | None = None) -> dict[str, Header]:
    """What an .npz file says of its arrays, by name.

    Args:
        source: a path, or an open file.
        names: of the arrays; all of them by default.

    Raises:
        InvalidInputError: if there is no such file, or one of the arrays cannot be read.
    """
    with _archive(source) as archive:
        chosen = _names(archive) if names is None else names
        return {name: _member(archive, name, lambda _, header: header) for name in chosen}


def read_arrays(
    source: Source, names: Sequence[str] | None = None, *, rows: int | None = None, limit: int = limits.ARRAYS
) -> dict[str, Array]:
    """The named arrays of an .npz file.

    Args:
        source: a path, or an open file.
        names: of the arrays; all of them by default.
        rows: so many, from the start of each; all by default. What lies behind them is not unpacked.
        limit: bytes of all of them together, which :func:`advkeras.limits.limit` may change.

    Raises:
        InvalidInputError: if the file cannot be read, lacks an array, or one holds Python objects or is too large.
    """
    with _archive(source) as archive:
        there = _names(archive)
        chosen = there if names is None else names
        if missing := [name for name in chosen if name not in there]:
            listed = plain_text(", ".join(there[:20]) or "none")
            raise _no_npz(source, f"{', '.join(missing)} missing, it has {listed}", names)
        sizes = [_member(archive, name, lambda _, header: header.size(rows)) for name in chosen]
        limits.require_room(sum(sizes), limit, f"what {_called(source)} unpacks to")
        return {name: _member(archive, name, lambda stream, header: _read(stream, header, rows)) for name in chosen}


def npy_header(path: str | os.PathLike[str]) -> Header:
    """What an .npy file says of its array.

    Raises:
        InvalidInputError: if there is no such file, or it cannot be read.
    """
    return _of_npy(path, lambda _, header: header)


def read_npy(path: str | os.PathLike[str], rows: int | None = None, *, limit: int = limits.ARRAYS) -> Array:
    """The array of an .npy file; its first rows, where a number of them is given.

    Raises:
        InvalidInputError: if there is no such file, it cannot be read, holds Python objects or is too large.
    """

    def read(stream: BinaryIO, header: Header) -> Array:
        limits.require_room(header.size(rows), limit, f"the array of {path}")
        return _read(stream, header, rows)

    return _of_npy(path, read)


def require_file(path: str | os.PathLike[str]) -> Path:
    """The path, where there is a file.

    Raises:
        InvalidInputError: if there is none, or something that is not read, a device for example.
    """
    if not Path(path).is_file():
        raise InvalidInputError(f"there is no file {path}")
    return Path(path)


def _of_npy(path: str | os.PathLike[str], use: Callable[[BinaryIO, Header], T]) -> T:
    with _one_line(path, ".npy"), require_file(path).open("rb") as stream:
        header = _header(stream)
        _require_whole(header, _size(stream) - stream.tell())
        return use(stream, header)


def _size(stream: BufferedReader) -> int:
    """Bytes of an open file."""
    return os.fstat(stream.fileno()).st_size


@contextmanager
def _archive(source: Source) -> Iterator[zipfile.ZipFile]:
    with _one_line(source, ".npz"):
        if not isinstance(source, (str, os.PathLike)):
            with zipfile.ZipFile(limits.Wary(source, _AT_ONCE)) as archive:
                yield archive
            return
        with require_file(source).open("rb") as stream:
            start = stream.read(8)
            other = next((what for begins, what in _KNOWN if start.startswith(begins)), None)
            if other is not None:
                raise ValueError(f"it is {other}")
            if not start.startswith(b"PK"):
                raise ValueError("it begins as no archive does")
            with zipfile.ZipFile(limits.Wary(stream, _AT_ONCE)) as archive:
                yield archive


@contextmanager
def _one_line(source: Source, kind: str) -> Iterator[None]:
    try:
        yield
    except (InvalidInputError, MemoryError):
        raise
    # What a damaged file raises depends on where it is damaged, and is no part of zipfile's or NumPy's interface.
    except Exception as error:
        reason = plain_text(first_line(error))
        raise InvalidInputError(f"{_called(source)} is no readable {kind} file: {reason}") from None


def _no_npz(source: Source, reason: str, names: Sequence[str] | None) -> InvalidInputError:
    expected = f" with the arrays {', '.join(names)}" if names else ""
    return InvalidInputError(f"{_called(source)} is no readable .npz file{expected}: {reason}")


def _called(source: Source) -> str:
    return str(source) if isinstance(source, (str, os.PathLike)) else "what was read"


def _names(archive: zipfile.ZipFile) -> tuple[str, ...]:
    names = tuple(name.removesuffix(_ENDING) for name in archive.NameToInfo if name.endswith(_ENDING))
    if len(names) > _MOST_ARRAYS:
        raise ValueError(f"it has {len(names):,} arrays, and at most {_MOST_ARRAYS:,} are looked at")
    return names


def _member(archive: zipfile.ZipFile, name: str, use: Callable[[BinaryIO, Header], T]) -> T:
    """What a function makes of an array of an archive, once what is said of it fits the archive."""
    info = archive.getinfo(name + _ENDING)
    if info.flag_bits & 1:
        raise ValueError(f"{name} is encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} is compressed in a way that NumPy does not write")
    with archive.open(info) as stream:
        header = _header(stream)
        _require_whole(header, info.file_size - stream.tell())
        return use(stream, header)  # type: ignore[arg-type]


def _header(stream: Any) -> Header:
    wary = limits.Wary(stream, _AT_ONCE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of headers that Python 2 wrote
        version = npy.read_magic(wary)
        if version not in _READ:
            raise ValueError(f"an array's format of version {version[0]}.{version[1]} is not read")
        shape, fortran, dtype = _READ[version](wary)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which would have to be unpickled, and pickles are never read")
    if dtype.kind not in "biufcSU" or dtype.subdtype is not None or not dtype.itemsize:
        raise ValueError(f"it holds {plain_text(dtype, 60)}, which is neither numbers nor text")
    if any(isinstance(length, bool) or length < 0 for length in shape):
        raise ValueError(f"it claims the shape {plain_text(shape, 60)}")
    return Header(tuple(map(int, shape)), dtype, bool(fortran))


def _require_whole(header: Header, there: int) -> None:
    """Makes sure that an array's values are there that its header claims, before there is room made for them."""
    claimed = math.prod(header.shape) * header.dtype.itemsize
    if claimed > there:
        raise ValueError(
            f"it is cut off: {plain_text(header.shape, 60)} of {header.dtype} take {limits.in_words(claimed)}, and "
            f"{limits.in_words(max(0, there))} are there"
        )


def _read(stream: Any, header: Header, rows: int | None) -> Array:
    length = header.shape[0] if header.shape else 1
    kept = length if rows is None else min(rows, length)
    shape = (kept, *header.shape[1:]) if header.shape else ()
    others = math.prod(header.shape[1:])
    if not math.prod(shape):
        return np.zeros(shape, header.dtype)
    if not header.fortran or len(header.shape) < 2 or others == 1:
        values = _values(stream, kept * others, header.dtype).reshape(shape)
    elif kept == length:
        values = _values(stream, kept * others, header.dtype).reshape(shape[::-1]).transpose()
    else:
        columns = _starts(stream, (others, length), kept, header.dtype)
        values = columns.reshape((*header.shape[:0:-1], kept)).transpose()
    if kept == length and isinstance(stream, zipfile.ZipExtFile) and stream.read(1):
        raise ValueError("there is more behind an array than belongs to it")
    return values


def _starts(stream: Any, shape: tuple[int, int], kept: int, dtype: np.dtype[Any]) -> Array:
    """The first values of each column, of columns that lie one behind the other."""
    columns, length = shape
    found = np.empty((columns, kept), dtype)
    together = _CHUNK // (length * dtype.itemsize)
    if together:
        for start in range(0, columns, together):
            count = min(together, columns - start)
            found[start : start + count] = _values(stream, count * length, dtype).reshape(count, length)[:, :kept]
        return found
    for column in found:
        column[:] = _values(stream, kept, dtype)
        _skip(stream, (length - kept) * dtype.itemsize)
    return found


def _values(stream: Any, count: int, dtype: np.dtype[Any]) -> Array:
    room = np.empty(count * dtype.itemsize, np.uint8)
    view, filled = room.data, 0
    while filled < len(view):
        part = stream.read(min(_CHUNK, len(view) - filled))
        if not part:
            raise ValueError("it is cut off")
        view[filled : filled + len(part)] = part
        filled += len(part)
    # What Python knows neither as a boolean nor as a character ends it.
    if dtype.kind == "b":
        return np.asarray(room != 0)
    if dtype.kind == "U" and room.size and room.view(f"{dtype.str[0]}u4").max() > sys.maxunicode:
        raise ValueError("its text is none")
    values: Array = room.view(dtype)
    return values


def _skip(stream: Any, size: int) -> None:
    while size:
        part = stream.read(min(_CHUNK, size))
        if not part:
            raise ValueError("it is cut off")
        size -= len(part)
