"""The registry, the shipped samples, and preparing the full sets without a network."""

import gzip
import hashlib
import json
import struct
import tarfile
import time
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from advkeras import datasets
from advkeras.attacks import configure
from advkeras.boundary import BoundarySearch
from advkeras.datasets import originals
from advkeras.errors import AdvkerasError, InvalidInputError

TRAIN, TEST = 30, 1_000


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


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
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    digests = zip(originals.ORIGINALS["mnist"].digests, map(sha256, contents.values()), strict=True)
    monkeypatch.setitem(originals.ORIGINALS, "mnist", replace(originals.ORIGINALS["mnist"], digests=dict(digests)))
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
    with pytest.raises(InvalidInputError, match="t10k-images in .* is not the original file"):
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
    with pytest.raises(InvalidInputError, match=r"t10k-images-idx3-ubyte.gz cannot be unpacked"):
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
    for name, advice in (("mnist", "--from"), ("cifar10", "--from"), ("fashion_mnist", "tfds build fashion_mnist")):
        with pytest.raises(AdvkerasError, match=rf"{name} cannot be downloaded \(no route to host\).*{advice}"):
            datasets.prepare(name)
    assert time.monotonic() - start < 30


def test_what_is_not_there_is_refused(tmp_path):
    for call, message in (
        (lambda: datasets.get("mnits"), "did you mean 'mnist'"),
        (lambda: datasets.prepare("fashion_mnits"), "did you mean 'fashion_mnist'"),
        (lambda: datasets.prepare("fashion_mnist", source=tmp_path), "original files of mnist, cifar10 only"),
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


@pytest.fixture
def cifar10_files(tmp_path, monkeypatch) -> Path:
    """Stand-ins for the binary version's files: ten images of the shipped sample in each."""
    sample = datasets.load_sample("cifar10")
    images, labels = sample.images.astype(np.uint8), sample.labels.astype(np.uint8)
    folder = tmp_path / "binary"
    folder.mkdir()
    digests = {}
    for number, name in enumerate(originals.ORIGINALS["cifar10"].digests):
        part = slice(10 * number, 10 * number + 10)
        planes = images[part].transpose(0, 3, 1, 2).reshape(10, -1)
        content = np.concatenate([labels[part, None], planes], axis=1).tobytes()
        (folder / name).write_bytes(content)
        digests[name] = sha256(content)
    monkeypatch.setitem(originals.ORIGINALS, "cifar10", replace(originals.ORIGINALS["cifar10"], digests=digests))
    monkeypatch.setattr(datasets.loading, "_sample_arrays", lambda _: (images[50:60], labels[50:60]))
    return folder


def as_sprites(folder: Path) -> Path:
    """The same images as one .png a batch, a row for each image, and the labels as JSON."""
    import tensorflow as tf

    target = folder.parent / "sprites"
    target.mkdir()
    labels: dict[str, list[int]] = {"train": [], "test": []}
    for file in sorted(folder.iterdir()):
        records = np.frombuffer(file.read_bytes(), np.uint8).reshape(-1, 3073)
        sprite = records[:, 1:].reshape(-1, 3, 1024).transpose(0, 2, 1)
        tf.io.write_file(str(target / f"{file.stem}.png"), tf.io.encode_png(sprite))
        labels["test" if file.stem == "test_batch" else "train"] += records[:, 0].tolist()
    for split, values in labels.items():
        (target / f"{split}_lables.json").write_text(json.dumps(values))
    return target


@pytest.mark.parametrize("arrange", [lambda folder: folder, as_sprites, packed], ids=["bin", "sprites", "tarball"])
def test_cifar10_is_prepared_from_each_of_its_forms(cifar10_files, arrange, no_prepared_data):
    import tensorflow_datasets as tfds

    sample = datasets.load_sample("cifar10")
    folder = datasets.prepare("cifar10", source=arrange(cifar10_files))
    assert folder == no_prepared_data / "cifar10" / "3.0.2"
    assert len(tfds.load("cifar10", split="train", data_dir=no_prepared_data, download=False)) == 50
    test = datasets.load("cifar10")
    np.testing.assert_array_equal(test.images, sample.images)
    np.testing.assert_array_equal(test.labels, sample.labels)
    builder = tfds.builder("cifar10", data_dir=no_prepared_data)
    assert tuple(builder.info.features["label"].names) == datasets.CIFAR10.class_names


def test_cifar10s_pickles_are_not_read(tmp_path):
    (tmp_path / "data_batch_1").write_bytes(b"pickled")
    with pytest.raises(InvalidInputError, match=r"lacks data_batch_1.bin, .*pickles are not read"):
        datasets.prepare("cifar10", source=tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("data_batch_2.png", b"no picture", r"data_batch_2.png does not hold"),
        ("train_lables.json", b"[1, 2", r"train_lables.json is no list"),
    ],
)
def test_damaged_sprites_are_named(cifar10_files, name, content, message):
    folder = as_sprites(cifar10_files)
    (folder / name).write_bytes(content)
    with pytest.raises(InvalidInputError, match=message):
        datasets.prepare("cifar10", source=folder)


def test_the_cifar10_sample_is_real_cifar10():
    sample = datasets.load_sample("cifar10")
    assert sample.images.shape == (500, 32, 32, 3)
    assert (sample.images.min(), sample.images.max()) == (0.0, 255.0)
    assert sample.labels[:5].tolist() == [3, 8, 8, 0, 6]
    np.testing.assert_array_equal(sample.images, np.rint(sample.images))


def test_the_protocol_grows_with_the_bounds():
    spec = datasets.MNIST.with_bounds((-1.0, 1.0))
    assert (spec.epsilon, spec.region_radius, configure("optmargin", spec).member_rms) == (0.6, 0.6, 0.6)
    pgd = configure("pgd", spec, full_search=True)
    assert (pgd.epsilon, pgd.step, pgd.iterations) == (0.6, pytest.approx(0.02), 40)
    assert configure("optmimic", spec).reach == BoundarySearch.paper(spec).reach == 1.0
    with pytest.raises(InvalidInputError, match=r"bounds=\(1, 0\)"):
        datasets.MNIST.with_bounds((1.0, 0.0))
