"""The registry, the shipped sample, and preparing the full set without a network."""

import gzip
import hashlib
import struct
import tarfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from advkeras import datasets
from advkeras.datasets import preparation
from advkeras.errors import AdvkerasError, InvalidInputError

TRAIN, TEST = 30, 1_000


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def original_files(tmp_path, monkeypatch, sample) -> Path:
    """Stand-ins for the four original files: the shipped sample as the test set, in the same format."""
    from tensorflow_datasets.image_classification import mnist as official

    images = np.rint(sample.images[..., 0] * 255).astype(np.uint8)
    labels = sample.labels.astype(np.uint8)
    contents = {
        "train-images-idx3-ubyte": idx(images[:TRAIN]),
        "train-labels-idx1-ubyte": idx(labels[:TRAIN]),
        "t10k-images-idx3-ubyte": idx(images),
        "t10k-labels-idx1-ubyte": idx(labels),
    }
    folder = tmp_path / "raw"
    folder.mkdir()
    checksums = {}
    for (key, (stem, _)), (name, content) in zip(preparation._MNIST_FILES.items(), contents.items(), strict=True):
        (folder / name).write_bytes(content)
        checksums[key] = (stem, hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(preparation, "_MNIST_FILES", checksums)
    monkeypatch.setattr(official, "_TRAIN_EXAMPLES", TRAIN)
    monkeypatch.setattr(official, "_TEST_EXAMPLES", TEST)
    return folder


def gzipped(folder: Path) -> Path:
    target = folder.parent / "gz"
    target.mkdir()
    for file in folder.iterdir():
        (target / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
    return target


def packed(folder: Path) -> Path:
    target = folder.parent / "mnist.tgz"
    with tarfile.open(target, "w:gz") as archive:
        archive.add(folder, "package/data")
    return target


def test_the_sample_is_real_mnist(sample):
    assert sample.images.shape == (1_000, 28, 28, 1)
    assert sample.images.dtype == np.float32
    assert (sample.images.min(), sample.images.max()) == (0.0, 1.0)
    assert sample.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert np.bincount(sample.labels).tolist() == [85, 126, 116, 107, 110, 87, 87, 99, 89, 94]
    assert "first 1,000 MNIST test images" in sample.source


@pytest.mark.parametrize("arrange", [lambda folder: folder, gzipped, packed], ids=["raw", "gz", "tarball"])
def test_a_prepared_set_is_what_tfds_reads(original_files, arrange, no_prepared_data, sample):
    import tensorflow_datasets as tfds

    assert not datasets.is_prepared(datasets.MNIST)
    folder = datasets.prepare("mnist", source=arrange(original_files))
    assert folder == no_prepared_data / "mnist" / "3.0.1"
    assert datasets.is_prepared(datasets.MNIST)
    assert len(tfds.load("mnist", split="train", data_dir=no_prepared_data, download=False)) == TRAIN
    test = datasets.load("mnist")
    np.testing.assert_array_equal(test.images, sample.images)
    np.testing.assert_array_equal(test.labels, sample.labels)
    assert "full MNIST test set" in test.source
    assert len(datasets.load("mnist", split="train", examples=5)) == 5
    assert not [path for path in no_prepared_data.iterdir() if path.name.startswith("advkeras-")]


def test_a_prepared_set_is_left_alone(original_files):
    first = datasets.prepare("mnist", source=original_files)
    before = (first / "dataset_info.json").stat().st_mtime_ns
    assert datasets.prepare("mnist", source="nowhere") == first
    assert (first / "dataset_info.json").stat().st_mtime_ns == before


def test_a_corrupt_file_is_named_and_nothing_is_left(original_files, no_prepared_data):
    file = original_files / "t10k-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:-1] + b"\xff")
    with pytest.raises(InvalidInputError, match="t10k-images-idx3-ubyte .* is not the original file"):
        datasets.prepare("mnist", source=original_files)
    assert not datasets.is_prepared(datasets.MNIST)
    assert list(no_prepared_data.iterdir()) == []


def test_a_missing_file_is_named(original_files):
    (original_files / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(InvalidInputError, match="lacks train-labels"):
        datasets.prepare("mnist", source=original_files)


def test_a_truncated_gz_is_named(original_files):
    folder = gzipped(original_files)
    file = folder / "t10k-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(InvalidInputError, match=r"t10k-images-idx3-ubyte.gz .* cannot be unpacked"):
        datasets.prepare("mnist", source=folder)


def test_a_source_that_is_something_else_is_refused(tmp_path):
    with pytest.raises(InvalidInputError, match="no such file"):
        datasets.prepare("mnist", source=tmp_path / "nowhere")
    (tmp_path / "text").write_text("no tarball")
    with pytest.raises(InvalidInputError, match="neither a folder nor a readable tarball"):
        datasets.prepare("mnist", source=tmp_path / "text")


def test_a_missing_network_is_noticed_at_once(monkeypatch):
    def unreachable(*_, **__):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    start = time.monotonic()
    with pytest.raises(AdvkerasError, match=r"cannot be downloaded \(no route to host\).*--from"):
        datasets.prepare("mnist")
    assert time.monotonic() - start < 30


def test_what_is_not_there_is_refused(tmp_path):
    for call, message in (
        (lambda: datasets.get("mnits"), "did you mean 'mnist'"),
        (lambda: datasets.load("mnist", split="validation"), "unknown split"),
        (lambda: datasets.load("mnist", split="train"), "datasets prepare mnist"),
        (lambda: datasets.load("mnist", examples=1_001), "datasets prepare mnist"),
        (lambda: datasets.load("mnist", examples=0), "at least 1"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            call()


def test_the_cache_is_the_argument_then_the_variable_then_tfds_default(monkeypatch, tmp_path):
    assert datasets.resolve_data_dir(tmp_path) == tmp_path
    monkeypatch.setenv("ADVKERAS_DATA_DIR", "/somewhere")
    assert datasets.resolve_data_dir() == Path("/somewhere")
    monkeypatch.delenv("ADVKERAS_DATA_DIR")
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    assert datasets.resolve_data_dir() == Path.home() / "tensorflow_datasets"


def test_npz_files_are_read_and_checked(tmp_path):
    good = tmp_path / "good.npz"
    np.savez(good, images=np.zeros((3, 2, 2, 1)), labels=np.array([0, 1, 2]))
    assert len(datasets.load_npz(good)) == 3
    assert len(datasets.load_npz(good, examples=2)) == 2
    bad = {
        "labels": {"images": np.zeros((3, 2, 2, 1))},
        "expected images": {"images": np.zeros((3, 2, 2)), "labels": np.zeros(3, int)},
        "whole numbers": {"images": np.zeros((3, 2, 2, 1)), "labels": np.zeros(3)},
        "numbers from 0": {"images": np.zeros((3, 2, 2, 1)), "labels": np.array([0, 1, 2**32 + 7])},
        "images must be numbers": {"images": np.full((3, 2, 2, 1), "x"), "labels": np.zeros(3, int)},
    }
    for message, arrays in bad.items():
        np.savez(tmp_path / "bad.npz", **arrays)
        with pytest.raises(InvalidInputError, match=message):
            datasets.load_npz(tmp_path / "bad.npz")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(InvalidInputError, match="no .npz file"):
        datasets.load_npz(tmp_path / "text.npz")
