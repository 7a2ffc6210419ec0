"""Folders of cloud storage by their URL, with those methods of a path that a run needs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

import fsspec

from advkeras import limits
from advkeras.errors import InvalidInputError, first_line, require

# What reaches a scheme.
_PACKAGES = {
    **{"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"},
    **dict.fromkeys(("http", "https"), "aiohttp"),
}


@dataclass(frozen=True)
class RemoteStat:
    """What is known of an object.

    Attributes:
        st_mtime: when it was written, in seconds since 1970.
    """

    st_mtime: float


class RemotePath:
    """A folder or an object behind a URL.

    Nothing is remembered of what is there, as others may write at the same time. An object appears whole.

    Args:
        url: for example ``"s3://bucket/run"``.

    Raises:
        InvalidInputError: if the URL's scheme is not known, or the package that reaches it is not installed. All
            methods raise it for what cannot be reached.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        try:
            self._system, self._path = fsspec.core.url_to_fs(self._url, use_listings_cache=False)
        except ImportError:
            package = _PACKAGES.get(url.split("://", maxsplit=1)[0])
            advice = f"pip install '{package}'" if package else "its package is not installed"
            raise InvalidInputError(f"cannot reach {url}: {advice}") from None
        except Exception as error:
            raise InvalidInputError(f"cannot reach {url}: {first_line(error)}") from None

    def __str__(self) -> str:
        return self._url

    def __truediv__(self, name: str) -> "RemotePath":
        return RemotePath(f"{self._url}/{name}")

    @property
    def name(self) -> str:
        """The last part."""
        return self._url.rsplit("/", maxsplit=1)[-1]

    def joinpath(self, *names: str) -> "RemotePath":
        """What lies in the folder by a name, in another one, and so on."""
        return RemotePath("/".join((self._url, *names)))

    def exists(self) -> bool:
        """Whether there is such an object, or a folder with something in it."""
        with self._reached("read"):
            return bool(self._system.exists(self._path))

    def iterdir(self) -> Iterator["RemotePath"]:
        """What lies in the folder.

        Raises:
            FileNotFoundError: if there is none.
        """
        require(not self._is_web, "a web server has files, and no folders: give s3:// or gs://", url=self._url)
        with self._reached("list"):
            paths = self._system.ls(self._path, detail=False)
        return (self / path.rstrip("/").rsplit("/", maxsplit=1)[-1] for path in paths)

    def open(self, mode: str = "rb") -> BinaryIO:
        """The object as a stream, of which only those parts come that are read.

        Raises:
            FileNotFoundError: if there is none.
        """
        with self._reached("read"):
            stream: BinaryIO = self._system.open(self._path, mode)
        return stream

    def read_bytes(self) -> bytes:
        """The object.

        Raises:
            FileNotFoundError: if there is none.
        """
        with self._reached("read"):
            return bytes(self._system.cat_file(self._path))

    def read_text(self) -> str:
        """The object as text.

        Raises:
            FileNotFoundError: if there is none.
        """
        return self.read_bytes().decode()

    def write_bytes(self, content: bytes) -> None:
        """Puts an object there, in the place of one that there may be."""
        with self._reached("write", missing_ok=False):
            self._system.pipe_file(self._path, content)

    def upload(self, file: str | PathLike[str]) -> None:
        """Puts a file of this machine there, in the place of an object that there may be."""
        with self._reached("write", missing_ok=False):
            self._system.put_file(str(file), self._path)

    def download(self, place: str | PathLike[str]) -> None:
        """Puts the object, or all that is in the folder, into a place on this machine.

        Raises:
            FileNotFoundError: if there is none.
            InvalidInputError: if it is larger than what is fetched, or a name in it leads elsewhere.
        """
        fetching = _Fetching(self._url)
        with self._reached("read"):
            if self._is_web or not self._system.isdir(self._path):
                self._system.get_file(self._path, str(place), callback=fetching)
                return
            found = self._system.find(self._path)
            names = [path[len(self._path) :].lstrip("/") for path in found]
            places = [Path(place, name) for name in names]
            for name, each in zip(names, places, strict=True):
                require(".." not in each.parts, f"{self} names what does not lie there", name=name)
                each.parent.mkdir(parents=True, exist_ok=True)
            self._system.get(found, list(map(str, places)), callback=fetching)

    def unlink(self, missing_ok: bool = False) -> None:
        """Removes the object.

        Raises:
            FileNotFoundError: if there is none, where storage tells and it is not OK.
        """
        try:
            with self._reached("remove"):
                self._system.rm_file(self._path)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def stat(self) -> RemoteStat:
        """What is known of the object.

        Raises:
            FileNotFoundError: if there is none.
        """
        with self._reached("read"):
            return RemoteStat(self._system.modified(self._path).timestamp())

    @property
    def _is_web(self) -> bool:
        """Whether it is a web server's; what its package takes for a folder is a page with links, of any length."""
        return self._url.startswith(("http://", "https://"))

    @contextmanager
    def _reached(self, action: str, *, missing_ok: bool = True) -> Iterator[None]:
        """Makes one line of whatever the storage's package raises."""
        try:
            yield
        except InvalidInputError:
            raise
        except Exception as error:
            if missing_ok and isinstance(error, FileNotFoundError):
                raise
            raise InvalidInputError(
                f"cannot {action} {self}: {first_line(error)}; check the address, the network and the credentials"
            ) from None


# The package has no type information, so its classes look like Any to a type checker.
class _Fetching(fsspec.callbacks.Callback):  # type: ignore[misc]
    """Counts the bytes that come from a URL, and ends what is larger than what is fetched."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url, self._bytes = url, 0

    def branched(self, path_1: str, path_2: str, **kwargs: Any) -> "_Fetching":
        """What counts a file of a folder: the same."""
        return self

    def set_size(self, size: int | None) -> None:
        """Looks at a size that is announced."""
        limits.require_room(size or 0, limits.DOWNLOAD, self._url)

    def relative_update(self, inc: int = 1) -> None:
        """Looks at bytes that have come."""
        self._bytes += inc
        limits.require_room(self._bytes, limits.DOWNLOAD, self._url)


def is_url(place: str | PathLike[str]) -> bool:
    """Whether a place is behind a URL."""
    return "://" in str(place)


@cache
def fetched(url: str) -> Path:
    """A copy of an object or a folder on this machine, for as long as the process lives; fetched once.

    Raises:
        InvalidInputError: if it cannot be reached, or is not there.
    """
    place = Path(_scratch().name) / str(len(list(Path(_scratch().name).iterdir()))) / RemotePath(url).name
    place.parent.mkdir()
    try:
        RemotePath(url).download(place)
    except FileNotFoundError:
        raise InvalidInputError(f"there is nothing at {url}") from None
    return place


@cache
def _scratch() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="advkeras-")
