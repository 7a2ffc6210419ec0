"""How much of a file from elsewhere is believed: limits on what is unpacked, and on what is read at once."""

import errno
import os
import re
from pathlib import Path
from typing import Any, BinaryIO

from advkeras.errors import InvalidInputError

VARIABLE = "ADVKERAS_MAX_BYTES"
"""The environment variable that sets all the limits below to another number of bytes."""

ARRAYS = 8 * 2**30
"""Of the arrays that are read of a data set's file."""
UNIT = 2**29
"""Of the arrays of a unit's result, and of one file of examples."""
RECORD = 2**25
"""Of a file of JSON: results, a plan, a model card."""
ARCHIVE, MEMBER = 2**31, 2**28
"""Of all that an archive unpacks to, and of one of its files."""
DOWNLOAD = 8 * 2**30
"""Of all that is fetched from a URL."""
PICTURE, PIECE = 2**28, 2**28
"""Of a picture's pixels, with four bytes for each; of an image of an array, and of what HDF5 has compressed as one."""

# Bytes that a size may be; no memory is larger.
_MOST = 2**63
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)I?B?", re.IGNORECASE)


def limit(usual: int) -> int:
    """A limit in bytes: the usual one, or what ``ADVKERAS_MAX_BYTES`` says, for example ``20GB``.

    Raises:
        InvalidInputError: if the variable says no number.
    """
    said = os.environ.get(VARIABLE, "").strip()
    if not said:
        return usual
    return parse_size(VARIABLE, said)


def parse_size(name: str, size: int | str) -> int:
    """``"1.5GB"`` or ``"800 MiB"`` in bytes; units are powers of 1,024.

    Args:
        name: of what is a size, for the message.
        size: to be parsed.

    Raises:
        InvalidInputError: if it is no such size, or nothing.
    """
    found = _SIZE.fullmatch(str(size).strip())
    bytes_ = float(found[1]) * _UNITS[found[2].upper()] if found else 0.0
    if not 1 <= bytes_ <= _MOST:
        raise InvalidInputError(f"{name} is a size like 2GB or 800MB. Received: {size}")
    return int(bytes_)


def require_room(size: int, usual: int, what: str) -> None:
    """Makes sure that something is not larger than a limit.

    Args:
        size: in bytes.
        usual: the limit that :func:`limit` may change.
        what: it is, for the message.

    Raises:
        InvalidInputError: if it is.
    """
    if size > limit(usual):
        raise too_large(what, size, usual)


def too_large(what: str, size: int | None, usual: int) -> InvalidInputError:
    """The error that something takes more than a limit, and how to raise that."""
    takes = "more than is read" if size is None else in_words(size)
    return InvalidInputError(
        f"{what} takes {takes}".lstrip()
        + f"; the limit is {in_words(limit(usual))}: set {VARIABLE} to another number of bytes if you "
        "trust the file"
    )


def in_words(size: int) -> str:
    """``17 MB``, ``4 GB``; powers of ten."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:,.3g} {unit}" if size < 1e6 * factor else f"more than 1,000,000 {unit}"
    return f"{size} bytes"


def read_at_most(stream: Any, usual: int, what: str = "") -> bytes:
    """All of a stream, unless it is larger than a limit.

    Args:
        stream: to be read.
        usual: the limit that :func:`limit` may change.
        what: it is, for the message.

    Raises:
        InvalidInputError: if it is.
    """
    most, parts, found = limit(usual), [], 0
    while part := stream.read(min(2**20, most + 1 - found)):
        parts.append(part)
        found += len(part)
        if found > most:
            raise too_large(what, None, usual)
    return b"".join(parts)


def opened(path: Any) -> BinaryIO:
    """A file, or an object behind a URL, to be read; not a pipe or a device, which may never end.

    Raises:
        OSError: if it cannot be read.
    """
    if isinstance(path, Path) and not (path.is_file() or path.is_dir()) and path.exists():
        raise OSError(errno.EINVAL, "it is no file", str(path))
    stream: BinaryIO = path.open("rb")
    return stream


def read_file(path: Any, usual: int, what: str = "") -> bytes:
    """The content of a file, or of an object behind a URL, unless it is larger than a limit.

    Args:
        path: of the file.
        usual: the limit that :func:`limit` may change.
        what: it is, for the message.

    Raises:
        OSError: if it cannot be read.
        InvalidInputError: if it is larger.
    """
    with opened(path) as stream:
        return read_at_most(stream, usual, what)


class Wary:
    """A stream of which a reader that believes what it reads takes no more than so much at once.

    Args:
        stream: with ``read``, ``seek`` and ``tell``.
        at_once: bytes, at most.
    """

    def __init__(self, stream: Any, at_once: int) -> None:
        self._stream, self._at_once = stream, at_once

    def read(self, size: int = -1, /) -> bytes:
        """Some bytes.

        Raises:
            ValueError: if more are asked for than are given at once.
        """
        if size > self._at_once:
            raise ValueError(f"a part of it claims {in_words(size)}, and at most {in_words(self._at_once)} make sense")
        found: bytes = self._stream.read(self._at_once + 1 if size < 0 else size)
        if len(found) > self._at_once:
            raise ValueError(f"a part of it takes more than {in_words(self._at_once)}")
        return found

    def seek(self, *place: int) -> int:
        """Goes to a place."""
        return int(self._stream.seek(*place))

    def tell(self) -> int:
        """The place."""
        return int(self._stream.tell())

    def seekable(self) -> bool:
        """Whether places can be gone to."""
        return bool(self._stream.seekable())

    def close(self) -> None:
        """Closes the stream."""
        self._stream.close()
