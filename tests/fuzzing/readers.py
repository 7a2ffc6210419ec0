"""The readers of files from elsewhere, with valid files for each and what makes others of them; without TensorFlow."""

import contextlib
import gzip
import io
import json
import random
import tarfile
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console

from advkeras import datasets, records
from advkeras.datasets import pictures
from advkeras.datasets.archives import files_of
from advkeras.datasets.csv_files import read_csv
from advkeras.datasets.originals import ORIGINALS
from advkeras.errors import AdvkerasError
from advkeras.models.card import ModelCard
from advkeras.reporting import documents
from advkeras.runs.plan import SCHEMA_VERSION, Plan
from advkeras.runs.store import Store, result_of

from .files import packed, saved
from .mutations import of_archive, of_bytes, of_json, of_npy, of_npz
from .runs import digest, of_run, read_run, results_of_units, run_seeds, unit

REPOSITORY = Path(__file__).parents[2]
SECONDS = 2.0


@dataclass(frozen=True)
class Target:
    """A reader.

    Attributes:
        seeds: valid contents.
        read: gives a content to the reader; the folder is for files.
        mutate: makes another content of one.
        weight: how often its turn comes.
    """

    seeds: Callable[[], list[bytes]]
    read: Callable[[bytes, Path], object]
    mutate: Callable[[bytes, list[bytes], random.Random], bytes]
    weight: int = 10


IMAGES = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 3), dtype=np.uint8)
LABELS = np.arange(6) % 3


@cache
def npz_seeds() -> list[bytes]:
    """Data sets."""
    return [
        packed(images=IMAGES, labels=LABELS),
        packed(x_test=np.asfortranarray(IMAGES / 255), y_test=np.eye(3)[LABELS]),
        packed(images=IMAGES > 99, labels=np.array(["cat", "dog", "emu"])[LABELS]),
    ]


def found(suffix: str, **said: Any) -> Callable[[bytes, Path], object]:
    """Reads a data set."""

    def read(content: bytes, folder: Path) -> object:
        path = folder / f"mine{suffix}"
        path.write_bytes(content)
        source = datasets.find(path, **said)
        source.load(at_most=3)
        return source.load()

    return read


def read_npy(content: bytes, folder: Path) -> object:
    """Reads images, and labels beside them."""
    (folder / "x.npy").write_bytes(content)
    (folder / "y.npy").write_bytes(saved(LABELS))
    return datasets.find(folder / "x.npy", labels=folder / "y.npy", bounds=(0, 255)).load(at_most=2)


def read_npy_labels(content: bytes, folder: Path) -> object:
    """Reads labels, and images beside them."""
    (folder / "x.npy").write_bytes(saved(IMAGES))
    (folder / "y.npy").write_bytes(content)
    return datasets.find(folder / "x.npy", labels=folder / "y.npy").load()


@cache
def hdf5_seeds() -> list[bytes]:
    """HDF5 files, compressed and not."""
    import h5py

    seeds = []
    for options in ({}, {"compression": "gzip", "chunks": (2, 4, 5, 3)}):
        made = io.BytesIO()
        with h5py.File(made, "w") as file:
            file.create_dataset("images", data=IMAGES, **options)
            file["labels"] = LABELS
        seeds.append(made.getvalue())
    return seeds


@cache
def csv_seeds() -> list[bytes]:
    """Rows of pixels."""
    rows = [",".join(map(str, (label, *image[:, :4, 0].ravel()))) for image, label in zip(IMAGES, LABELS, strict=True)]
    return ["\n".join([",".join(["label", *(f"p{place}" for place in range(16))]), *rows]).encode()]


def read_labels(content: bytes, folder: Path) -> object:
    """Reads a file of labels beside images, and one beside pictures."""
    (folder / "x.npy").write_bytes(saved(IMAGES))
    (folder / "y.csv").write_bytes(content)
    with contextlib.suppress(AdvkerasError):
        datasets.find(folder / "x.npy", labels=folder / "y.csv").load()
    read_csv(folder / "y.csv", slice(0, 2))
    return datasets.find(folder, labels=folder / "y.csv")


@cache
def picture_seeds() -> list[bytes]:
    """Pictures of all formats."""
    seeds = []
    for kind, mode in (*((each, "RGB") for each in pictures._FORMATS), ("PNG", "P"), ("PNG", "I;16"), ("TIFF", "L")):
        made = io.BytesIO()
        picture = Image.fromarray(np.repeat(np.repeat(IMAGES[0], 3, 0), 3, 1))
        (
            Image.fromarray(np.arange(99, dtype=np.uint16).reshape(9, 11)) if mode == "I;16" else picture.convert(mode)
        ).save(made, kind)
        seeds.append(made.getvalue())
    return seeds


def read_picture(content: bytes, folder: Path) -> object:
    """Reads a picture as it is, and in grey and turned."""
    with contextlib.suppress(AdvkerasError):
        pictures.read(io.BytesIO(content), name="picture", channels=1, exif=True)
    return pictures.read(io.BytesIO(content), name="picture")


@cache
def tarball_seeds() -> list[bytes]:
    """Tarballs with files, folders and links."""
    seeds = []
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w:gz", format=form) as archive:
            for name in ("train-images-idx3-ubyte", "a/" * 70 + "t10k-labels-idx1-ubyte", "ä/x"):
                info = tarfile.TarInfo(name)
                info.size = 300
                archive.addfile(info, io.BytesIO(b"\x00\x00\x08\x03" + bytes(296)))
            link = tarfile.TarInfo("../../link")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(link)
        seeds.append(made.getvalue())
    return seeds


def read_tarball(content: bytes, folder: Path) -> object:
    """Reads all of a tarball."""
    path = folder / "mnist.tgz"
    path.write_bytes(content)
    return [(name, read()) for name, read in files_of(path)]


def idx(array: Any) -> bytes:
    """An array as MNIST's files have it."""
    return (
        bytes((0, 0, 8, array.ndim)) + b"".join(length.to_bytes(4, "big") for length in array.shape) + array.tobytes()
    )


def originals_of(name: str, found_of: Callable[[bytes], dict[str, bytes]]) -> Callable[[bytes, Path], object]:
    """Holds files against those that were published."""

    def read(content: bytes, folder: Path) -> object:
        return ORIGINALS[name].write_verified(found_of(content), folder, folder)

    return read


def sprites() -> list[bytes]:
    """A row of pixels for each image."""
    made = io.BytesIO()
    Image.fromarray(np.zeros((2, 1024, 3), np.uint8)).save(made, "PNG")
    return [made.getvalue()]


def read_record(kind: type, version: int | None = None) -> Callable[[bytes, Path], object]:
    """Reads JSON."""
    return lambda content, _: records.record_of(kind, content, what="a record", schema_version=version)


NOWHERE = Console(file=io.StringIO(), width=100)


def read_results(content: bytes, folder: Path) -> object:
    """Reads a results file, whichever it is, and shows it."""
    path = folder / "results.json"
    path.write_bytes(content)
    for document in documents.read_documents(path):
        for table in document.tables:
            NOWHERE.print(table)
        NOWHERE.file = io.StringIO()
    return None


def shortened(name: str) -> bytes:
    """A results file of the repository with a few rows."""
    data = json.loads((REPOSITORY / "docs" / "results" / f"{name}.json").read_text())
    if isinstance(data.get("models"), list):
        data["models"] = data["models"][:1]
        for part in {"rows", "distances", "points"}.intersection(data["models"][0]):
            data["models"][0][part] = data["models"][0][part][:3]
    elif "models" in data:
        data["models"] = {name: rows[:2] for name, rows in list(data["models"].items())[:1]}
    else:
        data["rows"] = data["rows"][:2]
    return json.dumps(data).encode()


def results_seeds(name: str) -> Callable[[], list[bytes]]:
    """Of one study."""
    return cache(lambda: [shortened(name)])


def unit_seeds() -> list[bytes]:
    """The file of a unit's result."""
    arrays, facts = results_of_units()["walks fgsm"]
    with tempfile.TemporaryDirectory() as folder:
        name = unit(Store(folder), arrays, facts, "walks fgsm")
        return [(Path(folder) / "units" / f"{name}.npz").read_bytes()]


def card_seeds() -> list[bytes]:
    """A card of the zoo."""
    return [(REPOSITORY / "saved_models" / "mnist-pgd" / "1" / "assets" / "model_card.json").read_bytes()]


TARGETS = {
    "npz": Target(npz_seeds, found(".npz", bounds=(0.0, 255.0)), of_npz, 20),
    "npy": Target(lambda: [saved(IMAGES), saved(np.asfortranarray(IMAGES / 2))], read_npy, of_npy, 15),
    "npy-labels": Target(lambda: [saved(LABELS), saved(np.array(["a", "bc"] * 3))], read_npy_labels, of_npy, 8),
    "hdf5": Target(hdf5_seeds, found(".h5"), of_bytes, 3),
    "csv": Target(csv_seeds, found(".csv"), of_bytes, 10),
    "labels-csv": Target(lambda: [b"name,label\nx.png,0\ny.png,1\n", b"0\n1\n2\n0\n1\n2\n"], read_labels, of_bytes, 6),
    "picture": Target(picture_seeds, read_picture, of_bytes, 20),
    "tarball": Target(tarball_seeds, read_tarball, of_archive, 12),
    "idx": Target(
        lambda: [idx(IMAGES[..., 0])],
        originals_of("mnist", lambda content: {"train-images-idx3-ubyte": content, "other": b""}),
        of_bytes,
        15,
    ),
    "idx-gz": Target(
        lambda: [gzip.compress(idx(IMAGES[..., 0]))],
        originals_of("mnist", lambda content: {"t10k-images-idx3-ubyte.gz": content}),
        of_archive,
        12,
    ),
    "cifar": Target(
        lambda: [bytes([3]) + bytes(3072)],
        originals_of("cifar10", lambda content: {"test_batch.bin": content}),
        of_bytes,
        8,
    ),
    "cifar-labels": Target(
        lambda: [b"[3, 1]"],
        originals_of("cifar10", lambda content: {"test_batch.png": sprites()[0], "test_labels.json": content}),
        of_json,
        8,
    ),
    "cifar-sprites": Target(
        sprites,
        originals_of("cifar10", lambda content: {"test_batch.png": content, "test_labels.json": b"[3, 1]"}),
        of_bytes,
        5,
    ),
    "unit": Target(unit_seeds, lambda content, _: result_of(content, digest("walks fgsm")), of_npz, 12),
    "card": Target(card_seeds, read_record(ModelCard), of_json, 15),
    "plan": Target(
        lambda: [json.dumps(json.loads(seed)["plan"]).encode() for seed in run_seeds()],
        read_record(Plan, SCHEMA_VERSION),
        of_json,
        12,
    ),
    "results": Target(results_seeds("mnist"), read_results, of_json, 6),
    "boundaries": Target(results_seeds("mnist-boundaries"), read_results, of_json, 8),
    "detection": Target(results_seeds("mnist-detection"), read_results, of_json, 4),
    "curve": Target(results_seeds("mnist-curve"), read_results, of_json, 4),
    "run": Target(run_seeds, read_run, of_run, 1),
}


def content_of(name: str, number: int) -> bytes:
    """The content of an execution: always the same."""
    target, draw = TARGETS[name], random.Random(f"{name} {number}")
    seeds = target.seeds()
    return target.mutate(draw.choice(seeds), seeds, draw)


def executed(name: str, content: bytes, folder: Path) -> str:
    """What went wrong when a reader was given a content: where it is in the code, and the traceback; mostly nothing."""
    start = time.process_time()
    try:
        TARGETS[name].read(content, folder)
    except AdvkerasError as error:
        if len(str(error).splitlines()) > 1 or len(str(error)) > 2_000:
            return f"{name}: a message that is no line\n{error}"
    except Exception as error:
        ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "advkeras" in frame.filename]
        place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "a reader"
        return f"{name}: {type(error).__name__} at {place}\n{traceback.format_exc()}"
    if time.process_time() - start > SECONDS:
        return f"{name}: slow\n"
    return ""
