"""Where the results of units are kept: a folder of a disk, or behind a URL (``gs://``, ``s3://``)."""

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np

from advkeras import limits
from advkeras.errors import InvalidInputError, first_line, plain_text
from advkeras.files import (
    arrays_as_bytes,
    require_writable_folder,
    scratch_prefix,
    sweep,
    write_atomically,
    writing,
)
from advkeras.npz import headers, read_arrays
from advkeras.runs.remote import RemotePath, is_url
from advkeras.runs.unit import Result, Unit, digest_of, is_digest

_UNITS, _FAILURES, _CLAIMS, _SUFFIX = "units", "failures", "claims", ".npz"
_ALONE = "alone"
_FACTS, _IDENTITY, _CHECKSUM = "facts.json", "identity.json", "sha256"
# Bytes of these in a unit's file, at most.
_TEXT = 2**24


class Store:
    """Results of units, each in a file of its own that is whole or not there.

    Args:
        folder: of a run; a path or a URL. It need not exist.

    Raises:
        InvalidInputError: if the package that reaches the URL is not installed. All methods raise it if they cannot
            reach what is behind the URL.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._local = not is_url(folder)
        self.folder: Any = Path(folder) if self._local else RemotePath(str(folder))

    def __reduce__(self) -> tuple[type["Store"], tuple[str]]:
        """Pickled, it finds the folder from any working directory of another process."""
        return Store, (str(Path(self.folder).absolute() if self._local else self.folder),)

    def __contains__(self, unit: Unit) -> bool:
        """Whether there is a result, which may be damaged."""
        return bool(self._file(unit.digest).exists())

    def get(self, unit: Unit) -> Result | None:
        """The unit's result; None where there is none. One that is damaged is removed."""
        return self.result(unit.digest)

    def result(self, digest: str) -> Result | None:
        """The result of the unit that has a digest, as :meth:`get` gives it.

        Raises:
            InvalidInputError: if it is larger than what is read.
        """
        if not is_digest(digest):
            return None
        file = self._file(digest)
        try:
            content = limits.read_file(file, limits.UNIT, str(file))
        except OSError:
            return None
        result = result_of(content, digest)
        if result is None:
            file.unlink(missing_ok=True)
        return result

    def put(self, unit: Unit, result: Result) -> None:
        """Keeps the unit's result.

        Raises:
            InvalidInputError: if it cannot be written.
        """
        told = {_FACTS: json.dumps(result.facts), _IDENTITY: unit.identity, _CHECKSUM: result.checksum}
        arrays = {**result.arrays, **{name: np.array(text) for name, text in told.items()}}
        size = sum(values.nbytes for values in arrays.values())
        limits.require_room(size, limits.UNIT, f"the result of {unit.title} (smaller slices have smaller ones)")
        self.write(f"{_UNITS}/{unit.digest}{_SUFFIX}", arrays_as_bytes(arrays))
        (self.folder / _FAILURES / unit.digest).unlink(missing_ok=True)

    @contextmanager
    def claim(self, unit: Unit) -> Iterator[bool]:
        """Whether nobody else is working on the unit; while this holds, others are told so.

        A process that dies lets go of what it held. Behind a URL, and on a file system that has no locks, everybody
        may work on everything.
        """
        if not self._local:
            yield True
            return
        path = self._place(f"{_CLAIMS}/{unit.digest}")
        with ExitStack() as until_done:
            try:
                held = until_done.enter_context(_lockable(path))
            except OSError as error:
                raise InvalidInputError(f"cannot write {path}: {error.strerror}") from None
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            except OSError:  # of a file system without locks, where nobody can tell, as behind a URL
                pass
            try:
                yield True
            finally:
                path.unlink(missing_ok=True)

    def note_failure(self, unit: Unit, error: BaseException) -> None:
        """Keeps why a unit could not be computed, until it is."""
        self.write(f"{_FAILURES}/{unit.digest}", f"{type(error).__name__}: {first_line(error)}".encode())

    def failures(self) -> dict[str, str]:
        """Why units could not be computed, by their digests."""
        folder = self.folder / _FAILURES
        return {path.name: _first_of(path) for path in folder.iterdir()} if folder.exists() else {}

    def digests(self) -> set[str]:
        """Of the units whose results are there; a damaged one is among them until it is read."""
        folder = self.folder / _UNITS
        names = (path.name for path in folder.iterdir()) if folder.exists() else ()
        digests = (name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX))
        return {digest for digest in digests if is_digest(digest)}

    def write(self, name: str, content: bytes) -> None:
        """Writes a file of the run's folder, whole or not at all.

        Raises:
            InvalidInputError: if it cannot be written, or would not lie in the folder.
        """
        path = self._place(name)
        if self._local:
            write_atomically(path, content)
        else:
            path.write_bytes(content)

    def require_writable(self) -> None:
        """Makes sure that results can be written, before there are any.

        Raises:
            InvalidInputError: if not.
        """
        if self._local:
            require_writable_folder(Path(self.folder))
        else:
            attempt = self.folder / f"{scratch_prefix()}attempt"
            attempt.write_bytes(b"")
            attempt.unlink(missing_ok=True)

    def times(self) -> dict[str, float]:
        """When each result was written, in seconds since 1970, by the digests of the units."""
        found = {}
        for digest in self.digests():
            with suppress(FileNotFoundError):  # removed by another process, since it was damaged
                found[digest] = self._file(digest).stat().st_mtime
        return found

    @contextmanager
    def writing(self, name: str) -> Iterator[BinaryIO]:
        """A file of the run's folder that is written bit by bit, and is whole or not there.

        Raises:
            InvalidInputError: if it cannot be written, or would not lie in the folder.
        """
        place = self._place(name)
        if self._local:
            with writing(place) as stream:
                yield stream
            return
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "content"
            with path.open("wb") as stream:
                yield stream
            place.upload(path)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While this holds, no other process has it; behind a URL, or where nothing can be written, nobody can tell."""
        with ExitStack() as until_done:
            if self._local:
                path = self._place(f"{_CLAIMS}/{_ALONE}")
                with suppress(OSError):
                    fcntl.flock(until_done.enter_context(_lockable(path)), fcntl.LOCK_EX)
            yield

    def sweep(self) -> None:
        """Removes what processes that were killed have left half written, in the folder and in those within it."""
        if self._local and self.folder.is_dir():
            for folder in (
                self.folder,
                *(each.path for each in os.scandir(self.folder) if each.is_dir(follow_symlinks=False)),
            ):
                sweep(folder)

    def _file(self, digest: str) -> Any:
        return self.folder / _UNITS / f"{digest}{_SUFFIX}"

    def _place(self, name: str) -> Any:
        """Where a file of a name lies; whatever the name, and whatever links there are, in the folder."""
        path = self.folder / name
        inside = not PurePosixPath(name).is_absolute() and ".." not in PurePosixPath(name).parts
        if self._local and inside:
            inside = path.resolve().is_relative_to(Path(self.folder).resolve())
        if not inside:
            raise InvalidInputError(f"{plain_text(name)} would lie outside the folder {self.folder}")
        return path


def result_of(content: bytes, digest: str) -> Result | None:
    """The result of the unit that has a digest, from the file that holds it; None where it is damaged or another one's.

    Raises:
        InvalidInputError: if it unpacks to more than what is read.
    """
    try:
        sizes = {name: header.size() for name, header in headers(BytesIO(content)).items()}
    except InvalidInputError:
        return None
    limits.require_room(sum(sizes.values()), limits.UNIT, f"the result of unit {digest}")
    if any(sizes.get(name, _TEXT) >= _TEXT for name in (_CHECKSUM, _IDENTITY, _FACTS)):
        return None
    try:
        arrays = read_arrays(BytesIO(content), limit=limits.UNIT)
        checksum, identity, facts = (str(arrays.pop(name)) for name in (_CHECKSUM, _IDENTITY, _FACTS))
        result = Result(arrays, json.loads(facts))
        whole = isinstance(result.facts, dict) and (digest_of(identity), result.checksum) == (digest, checksum)
    except (InvalidInputError, KeyError, ValueError, RecursionError):
        return None
    return result if whole else None


def _lockable(path: Path) -> BinaryIO:
    """A file that can be locked. What it holds stays, a link is not followed, and nobody waited for behind a pipe."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), "rb+", buffering=0)


def _first_of(path: Any) -> str:
    """How a file begins, as one line."""
    with suppress(OSError), limits.opened(path) as stream:
        return plain_text(stream.read(2_000).decode(errors="replace"))
    return ""
