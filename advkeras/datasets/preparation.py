"""Preparing a full data set for tensorflow-datasets, from the internet or from files that are already here."""

import contextlib
import io
import lzma
import os
import tarfile
import tempfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from advkeras.datasets.loading import is_prepared, prepared_dir, resolve_data_dir
from advkeras.datasets.originals import ORIGINALS, Originals
from advkeras.datasets.registry import DatasetSpec, get
from advkeras.errors import AdvkerasError, InvalidInputError, first_line
from advkeras.files import require_writable_folder

_NETWORK_TIMEOUT_S = 10


def prepare(
    name: str,
    *,
    source: str | os.PathLike[str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
) -> Path:
    """Prepares a full data set so that plain ``tfds.load(name, data_dir=..., download=False)`` reads it.

    The work is done by the official tensorflow-datasets builder, which writes to a temporary folder and renames it,
    so a preparation that is stopped leaves nothing half-written. A set that is already prepared is left alone.

    Args:
        name: a registered data set.
        source: a folder or a tarball that holds the original files, in one of the forms that
            :data:`advkeras.datasets.originals.ORIGINALS` describes; the internet by default.
        data_dir: the cache's folder, see :func:`advkeras.datasets.resolve_data_dir`.

    Returns:
        The folder of the prepared data set.

    Raises:
        InvalidInputError: if there is no such data set, the source lacks a file, a file differs from the original, or
            the folder is read-only.
        AdvkerasError: if the internet is needed and cannot be reached.
    """
    spec, originals = get(name), ORIGINALS[name]
    if is_prepared(spec, data_dir):
        return prepared_dir(spec, data_dir)
    cache = resolve_data_dir(data_dir)
    require_writable_folder(cache)
    with tempfile.TemporaryDirectory(prefix="advkeras-", dir=cache) as scratch:
        files = Path(scratch) if source is not None else None
        if source is not None:
            _write_originals(originals, Path(source), Path(scratch))
        try:
            _build(spec, cache, originals, files)
        # A download that breaks off raises whatever the layers below tensorflow-datasets raise.
        except Exception as error:
            if isinstance(error, AdvkerasError):
                raise
            raise AdvkerasError(f"{name} could not be prepared in {cache}: {first_line(error)}") from error
    return prepared_dir(spec, data_dir)


def _write_originals(originals: Originals, source: Path, scratch: Path) -> None:
    """Copies the original files, uncompressed and checked against their checksums, into a scratch folder."""
    if not source.exists():
        raise InvalidInputError(f"--from {source}: there is no such file or folder")
    found = {name: read() for name, read in _candidates(source) if originals.pattern.fullmatch(name)}
    originals.write_verified(found, source, scratch)


def _candidates(source: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Every file below a folder or inside a tarball: its name and a function that reads it."""
    if source.is_dir():
        for path in sorted(path for path in source.rglob("*") if path.is_file()):
            yield path.name, path.read_bytes
        return
    try:
        with tarfile.open(source) as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.isfile() else None
                if stream is not None:
                    yield PurePosixPath(member.name).name, stream.read
    except (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise InvalidInputError(f"--from {source} is neither a folder nor a readable tarball: {error}") from None


def _build(spec: DatasetSpec, cache: Path, originals: Originals, files: Path | None) -> None:
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    official = getattr(tfds.image_classification, originals.builder)
    if files is None:
        _require_network(originals.url, spec)
        builder_class: Any = official
    else:
        builder_class = _builder_of_local_files(official, originals, files)
    # What the builder prints about sizes that it does not know helps nobody.
    with contextlib.redirect_stdout(io.StringIO()):
        builder_class(data_dir=str(cache), version=spec.version).download_and_prepare()


def _builder_of_local_files(official: Any, originals: Originals, files: Path) -> Any:
    """The official builder, except that its download step hands out files that are already here."""

    class LocalFiles:
        def download_and_extract(self, requested: Any) -> Any:
            return originals.hand_out(files, requested)

    def split_generators(self: Any, _: Any) -> Any:
        return official._split_generators(self, LocalFiles())

    # The builder's name, and with it the cache's folder, is derived from the class's name.
    return type(
        official.__name__,
        (official,),
        {"_split_generators": split_generators, "__module__": official.__module__},
        skip_registration=True,
    )


def _require_network(url: str, spec: DatasetSpec) -> None:
    """Fails within seconds where the internet is missing; tensorflow-datasets itself would retry for minutes."""
    request = urllib.request.Request(url, method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=_NETWORK_TIMEOUT_S).close()
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise AdvkerasError(
            f"{spec.name} cannot be downloaded ({reason}): fetch its files elsewhere and run "
            f"`advkeras datasets prepare {spec.name} --from FOLDER_OR_TARBALL`"
        ) from None
