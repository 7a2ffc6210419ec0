"""Preparing a full data set for tensorflow-datasets, from the internet or from files that are already here."""

import contextlib
import gzip
import hashlib
import io
import lzma
import os
import re
import tarfile
import tempfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from advkeras.datasets.loading import is_prepared, prepared_dir, resolve_data_dir
from advkeras.datasets.registry import DatasetSpec, get
from advkeras.errors import AdvkerasError, InvalidInputError, first_line
from advkeras.files import require_writable_folder

# SHA-256 of the four original files, uncompressed; keys are tensorflow-datasets' names for them.
_MNIST_FILES = {
    "train_data": ("train-images", "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
    "train_labels": ("train-labels", "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    "test_data": ("t10k-images", "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
    "test_labels": ("t10k-labels", "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
}
_MNIST_NAME = re.compile(r"(train|t10k)-(images|labels)[-.]idx[13]-ubyte(\.gz)?")
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
        source: a folder or a tarball that holds the original files, each plain or as .gz; the internet by default.
        data_dir: the cache's folder, see :func:`advkeras.datasets.resolve_data_dir`.

    Returns:
        The folder of the prepared data set.

    Raises:
        InvalidInputError: if the source lacks a file, a file differs from the original, or the folder is read-only.
        AdvkerasError: if the internet is needed and cannot be reached.
    """
    spec = get(name)
    if is_prepared(spec, data_dir):
        return prepared_dir(spec, data_dir)
    cache = resolve_data_dir(data_dir)
    require_writable_folder(cache)
    with tempfile.TemporaryDirectory(prefix="advkeras-", dir=cache) as scratch:
        files = _verified_files(Path(source), Path(scratch)) if source is not None else None
        try:
            _build(spec, cache, files)
        # A download that breaks off raises whatever the layers below tensorflow-datasets raise.
        except Exception as error:
            if isinstance(error, AdvkerasError):
                raise
            raise AdvkerasError(f"{name} could not be prepared in {cache}: {first_line(error)}") from error
    return prepared_dir(spec, data_dir)


def _verified_files(source: Path, scratch: Path) -> dict[str, str]:
    """Copies the original files, uncompressed and checked against their checksums, into a scratch folder."""
    if not source.exists():
        raise InvalidInputError(f"--from {source}: there is no such file or folder")
    found: dict[str, str] = {}
    for file_name, read in _candidates(source):
        match = _MNIST_NAME.fullmatch(file_name)
        if match is None:
            continue
        stem = f"{match[1]}-{match[2]}"
        key, digest = next((key, digest) for key, (known, digest) in _MNIST_FILES.items() if known == stem)
        try:
            content = gzip.decompress(read()) if match[3] else read()
        except (OSError, EOFError, zlib.error) as error:
            raise InvalidInputError(f"{file_name} in {source} cannot be unpacked: {error}") from None
        received = hashlib.sha256(content).hexdigest()
        if received != digest:
            raise InvalidInputError(
                f"{file_name} in {source} is not the original file (SHA-256 {received[:16]}..., expected "
                f"{digest[:16]}...): fetch it again"
            )
        target = scratch / stem
        target.write_bytes(content)
        found[key] = str(target)
    missing = [stem for key, (stem, _) in _MNIST_FILES.items() if key not in found]
    if missing:
        raise InvalidInputError(
            f"--from {source} lacks {', '.join(missing)}: expected the four MNIST files (…-idx3-ubyte and "
            "…-idx1-ubyte, each plain or .gz) in a folder or a tarball"
        )
    return found


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


def _build(spec: DatasetSpec, cache: Path, files: dict[str, str] | None) -> None:
    import tensorflow_datasets as tfds
    from tensorflow_datasets.image_classification import mnist as official

    tfds.disable_progress_bar()
    if files is None:
        _require_network(official.MNIST.URL, spec)
        builder_class: Any = official.MNIST
    else:
        builder_class = _builder_of_local_files(official.MNIST, files)
    # What the builder prints about sizes that it does not know helps nobody.
    with contextlib.redirect_stdout(io.StringIO()):
        builder_class(data_dir=str(cache), version=spec.version).download_and_prepare()


def _builder_of_local_files(official: Any, files: dict[str, str]) -> Any:
    """The official builder, except that its download step hands out files that are already here."""

    class LocalFiles:
        def download_and_extract(self, urls: dict[str, str]) -> dict[str, str]:
            return {key: files[key] for key in urls}

    def split_generators(self: Any, _: Any) -> Any:
        return official._split_generators(self, LocalFiles())

    # The builder's name, and with it the cache's folder, is derived from the class's name.
    return type(
        official.__name__,
        (official,),
        {"_split_generators": split_generators, "__module__": official.__module__},
        skip_registration=True,
    )


def _require_network(base_url: str, spec: DatasetSpec) -> None:
    """Fails within seconds where the internet is missing; tensorflow-datasets itself would retry for minutes."""
    url = base_url + "t10k-labels-idx1-ubyte.gz"
    request = urllib.request.Request(url, method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=_NETWORK_TIMEOUT_S).close()
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise AdvkerasError(
            f"{spec.name} cannot be downloaded ({reason}): fetch its files elsewhere and run "
            f"`advkeras datasets prepare {spec.name} --from FOLDER_OR_TARBALL`"
        ) from None
