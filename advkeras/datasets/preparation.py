"""Preparing a full data set for tensorflow-datasets, from the internet or from files that are already here."""

import contextlib
import functools
import io
import os
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from advkeras import limits
from advkeras.datasets.archives import files_of
from advkeras.datasets.loading import is_prepared, prepared_dir, resolve_data_dir
from advkeras.datasets.originals import ORIGINALS, Originals
from advkeras.datasets.prepared_sets import tfds_folder
from advkeras.datasets.registry import get, names
from advkeras.errors import AdvkerasError, InvalidInputError, first_line, plain_text, unknown_name
from advkeras.files import require_writable_folder, room_in

_NETWORK_TIMEOUT_S = 10
_TFDS_URL = "https://storage.googleapis.com/tfds-data/"


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
        name: a registered data set, or another one of tensorflow-datasets.
        source: a folder or a tarball that holds the original files of a registered data set, in one of the forms that
            :data:`advkeras.datasets.originals.ORIGINALS` describes; the internet by default.
        data_dir: the cache's folder, see :func:`advkeras.datasets.resolve_data_dir`.

    Returns:
        The folder of the prepared data set.

    Raises:
        InvalidInputError: if there is no such data set, the source lacks a file, a file differs from the original, or
            the folder is read-only.
        AdvkerasError: if the internet is needed and cannot be reached.
    """
    known = prepared_folder(name, data_dir)
    if known is not None:
        return known
    originals = ORIGINALS.get(name)
    if originals is None and source is not None:
        raise InvalidInputError(f"--from reads the original files of {', '.join(ORIGINALS)} only. Received: {name}")
    cache = resolve_data_dir(data_dir)
    require_writable_folder(cache)
    with room_in(cache), tempfile.TemporaryDirectory(prefix="advkeras-", dir=cache) as scratch:
        if originals is None:
            builder = _builder_of_any(name)
        elif source is None:
            _require_network(originals.url, name, f"`advkeras datasets prepare {name} --from FOLDER_OR_TARBALL`")
            builder = _official(originals)
        else:
            _write_originals(originals, Path(source), Path(scratch))
            builder = _builder_of_local_files(_official(originals), originals, Path(scratch))
        version = {"version": get(name).version} if originals else {}
        try:
            # What the builder prints about sizes that it does not know helps nobody.
            with contextlib.redirect_stdout(io.StringIO()):
                builder(data_dir=str(cache), **version).download_and_prepare()
        # A download that breaks off raises whatever the layers below tensorflow-datasets raise.
        except Exception as error:
            raise AdvkerasError(f"{name} could not be prepared in {cache}: {plain_text(first_line(error))}") from error
    prepared = prepared_folder(name, data_dir)
    if prepared is None:
        raise AdvkerasError(f"{name} could not be prepared in {cache}: tensorflow-datasets has left nothing there")
    return prepared


def prepared_folder(name: str, data_dir: str | os.PathLike[str] | None = None) -> Path | None:
    """Where a prepared data set lies; None where it is not prepared."""
    if name in names():
        spec = get(name)
        return prepared_dir(spec, data_dir) if is_prepared(spec, data_dir) else None
    return tfds_folder(name, data_dir)


def _write_originals(originals: Originals, source: Path, scratch: Path) -> None:
    """Copies the original files, uncompressed and checked against their checksums, into a scratch folder."""
    found = {}
    for name, read in files_of(source):
        if originals.pattern.fullmatch(name):
            found[name] = read()
            limits.require_room(sum(map(len, found.values())), limits.ARCHIVE, f"what --from {source} holds")
    originals.write_verified(found, source, scratch)


def _official(originals: Originals) -> Any:
    """The class of the official builder."""
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    return getattr(tfds.image_classification, originals.builder)


def _builder_of_any(name: str) -> Any:
    """What makes the builder of a data set that only tensorflow-datasets knows."""
    import tensorflow_datasets as tfds

    available = tfds.list_builders(with_community_datasets=False)
    if name.partition("/")[0] not in available:
        others = tuple(each for each in available if each not in names())
        raise InvalidInputError(unknown_name("data set", name, names(), others=others))
    _require_network(_TFDS_URL, name, f"`tfds build {name}`, and copy its folder to the cache")
    tfds.disable_progress_bar()
    return functools.partial(tfds.builder, name)


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


def _require_network(url: str, name: str, instead: str) -> None:
    """Fails within seconds where the internet is missing; tensorflow-datasets itself would retry for minutes."""
    # The addresses are those of the registered data sets, and of nobody else.
    request = urllib.request.Request(url, method="HEAD")  # noqa: S310
    try:
        urllib.request.urlopen(request, timeout=_NETWORK_TIMEOUT_S).close()  # noqa: S310
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise AdvkerasError(
            f"{name} cannot be downloaded ({reason}): fetch its files elsewhere and run {instead}"
        ) from None
