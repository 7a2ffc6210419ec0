"""The files of a folder or a tarball, read without being unpacked to a disk; links are not followed."""

import bz2
import gzip
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from advkeras import limits
from advkeras.errors import InvalidInputError, first_line, plain_text

Files = Iterator[tuple[str, Callable[[], bytes]]]

_COMPRESSED: dict[bytes, Callable[[Any], Any]] = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open}
_MOST_FILES = 100_000
# Bytes that a tarball's reader takes at once: names and other facts of a file.
_AT_ONCE = 2**22


def files_of(source: Path) -> Files:
    """Every file below a folder or inside a tarball: its name, without folders, and a function that reads it.

    What is read of a tarball has to be read before the next name is asked for.

    Args:
        source: the folder or the tarball.

    Raises:
        InvalidInputError: if it is neither, or it or a file in it is larger than what is read.
    """
    if not source.exists():
        raise InvalidInputError(f"--from {source}: there is no such file or folder")
    return _of_folder(source) if source.is_dir() else _of_tarball(source)


def _of_folder(source: Path) -> Files:
    for number, path in enumerate(sorted(path for path in source.rglob("*") if path.is_file())):
        _require_few(number, source)
        yield path.name, partial(_content, path, source)


def _content(path: Path, source: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return limits.read_at_most(stream, limits.MEMBER, str(path))
    except OSError as error:
        raise InvalidInputError(f"--from {source}: cannot read {path.name}: {error.strerror}") from None


def _of_tarball(source: Path) -> Files:
    with _one_line(source), ExitStack() as until_done:
        raw = until_done.enter_context(source.open("rb"))
        opener = _COMPRESSED.get(raw.read(2))
        raw.seek(0)
        stream = limits.Wary(until_done.enter_context(opener(raw)) if opener else raw, _AT_ONCE)
        archive = until_done.enter_context(tarfile.TarFile(fileobj=stream))  # type: ignore[arg-type]
        size = 0
        for number, member in enumerate(archive):
            _require_few(number, source)
            if member.size < 0:
                raise ValueError(f"a file in it claims {member.size} bytes")
            # What is passed over has to be unpacked, too.
            size += member.size
            limits.require_room(size, limits.ARCHIVE, f"what --from {source} unpacks to")
            if member.isfile():
                yield PurePosixPath(member.name).name, partial(_unpacked, archive, member, source)


def _unpacked(archive: tarfile.TarFile, member: tarfile.TarInfo, source: Path) -> bytes:
    with _one_line(source):
        stream = archive.extractfile(member)
        return (
            limits.read_at_most(stream, limits.MEMBER, f"{plain_text(member.name, 60)} in {source}") if stream else b""
        )


@contextmanager
def _one_line(source: Path) -> Iterator[None]:
    try:
        yield
    except InvalidInputError:
        raise
    # Beside tarfile's own errors, what a damaged tarball raises depends on its compression.
    except Exception as error:
        reason = plain_text(first_line(error))
        raise InvalidInputError(f"--from {source} is neither a folder nor a readable tarball: {reason}") from None


def _require_few(number: int, source: Path) -> None:
    if number >= _MOST_FILES:
        raise InvalidInputError(f"--from {source} has more than {_MOST_FILES:,} files")
