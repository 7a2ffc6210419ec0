"""Files that are damaged, lie, or unpack to far more than they take: one line, little memory, nothing elsewhere."""

import io
import struct
import zipfile

import h5py
import numpy as np
import pytest

from advkeras import datasets, limits, npz
from advkeras.datasets import array_parts
from advkeras.errors import InvalidInputError

from ..fuzzing.files import packed, saved
from .refusing import MIB, at_most, refused

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 3), dtype=np.uint8)
LABELS = np.arange(6) % 3


def swollen(path, count, *, method=zipfile.ZIP_DEFLATED, fortran=False, shape=(100, 100, 1)):
    """An .npz file of so many black images, and their labels."""
    head = io.BytesIO()
    said = {"descr": "|u1", "fortran_order": fortran, "shape": (count, *shape)}
    np.lib.format.write_array_header_1_0(head, said)
    with zipfile.ZipFile(path, "w", method, compresslevel=1) as archive:
        with archive.open("images.npy", "w", force_zip64=True) as entry:
            entry.write(head.getvalue())
            for _ in range(0, count, 100):
                entry.write(bytes(100 * int(np.prod(shape))))
        archive.writestr("labels.npy", saved(np.zeros(count, np.uint8)))
    return path


@pytest.mark.parametrize("fortran", [False, True])
def test_of_a_large_file_as_much_is_read_as_is_needed(tmp_path, fortran, monkeypatch):
    monkeypatch.setattr(array_parts, "_LOOKED_AT", 4 * MIB)
    path = swollen(tmp_path / "mine.npz", 20_000, fortran=fortran)
    assert path.stat().st_size < 2 * MIB
    with at_most(40 * MIB):
        data = datasets.find(path, bounds=(0, 1)).load(examples=3)
    assert data.images.shape == (3, 100, 100, 1)


def test_a_single_image_is_no_larger_than_a_picture(tmp_path):
    path = swollen(tmp_path / "mine.npz", 100, shape=(10, 10, 1))
    said = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.uint8, (2, 30_000, 30_000, 1))
    del said
    with at_most(30 * MIB):
        refused(tmp_path / "x.npy", "a single image takes 900 MB; the limit is 268 MB", labels=path)


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".h5", ".csv"])
def test_the_first_images_of_a_file_are_the_same_as_those_of_all(tmp_path, suffix, monkeypatch):
    images = np.asfortranarray(np.random.default_rng(1).integers(0, 256, (40, 5, 5, 1), dtype=np.uint8))
    labels, said = np.arange(40) % 7, {}
    path = tmp_path / f"mine{suffix}"
    if suffix == ".npz":
        np.savez_compressed(path, images=images, labels=labels)
    elif suffix == ".npy":
        np.save(path, images)
        np.save(tmp_path / "y.npy", labels)
        said["labels"] = tmp_path / "y.npy"
    elif suffix == ".h5":
        with h5py.File(path, "w") as file:
            file.create_dataset("images", data=images, chunks=(7, 5, 5, 1), compression="gzip")
            file["labels"] = labels
    else:
        rows = [",".join(map(str, (label, *image.ravel()))) for image, label in zip(images, labels, strict=True)]
        path.write_text("\n".join([",".join(["label", *(f"p{place}" for place in range(25))]), *rows]))
    whole = datasets.find(path, bounds=(0, 1), **said).load()
    np.testing.assert_allclose(whole.images, images / 255, atol=1e-6)
    monkeypatch.setattr(array_parts, "_LOOKED_AT", 100)
    for count in (1, 3, 20, 40):
        data = datasets.find(path, bounds=(0, 1), **said).load(examples=count)
        np.testing.assert_array_equal(data.images, whole.images[:count])
        np.testing.assert_array_equal(data.labels, labels[:count])
    assert datasets.find(path, bounds=(0, 1), **said).spec.num_classes == 7
    with pytest.raises(InvalidInputError, match="ask for 1 to 40 examples .* Received: 41"):
        datasets.find(path, bounds=(0, 1), **said).load(examples=41)


def test_a_limit_on_what_is_unpacked_is_said_and_set(tmp_path, monkeypatch):
    path = swollen(tmp_path / "mine.npz", 2_000)
    monkeypatch.setenv("ADVKERAS_MAX_BYTES", "1MB")
    with at_most(8 * MIB):
        refused(path, r"takes 20 MB; the limit is 1.05 MB: set ADVKERAS_MAX_BYTES to another number of bytes")
    monkeypatch.setenv("ADVKERAS_MAX_BYTES", "0.1 GiB")
    assert len(datasets.find(path, bounds=(0, 1)).load()) == 2_000
    monkeypatch.setenv("ADVKERAS_MAX_BYTES", "much")
    refused(path, "ADVKERAS_MAX_BYTES is a size like 2GB or 800MB. Received: much")


@pytest.mark.parametrize(
    ("said", "limit"), [("", 7), ("5", 5), ("2kB", 2048), ("1.5 MiB", 1_572_864), ("3g", 3 * 2**30)]
)
def test_the_limit_is_a_number_of_bytes(monkeypatch, said, limit):
    monkeypatch.setenv("ADVKERAS_MAX_BYTES", said)
    assert limits.limit(7) == limit


def changed(content, offset, value):
    """An archive with something else in each of its entries' headers, in front of the values and at the end."""
    made = bytearray(content)
    for begins, place in ((b"PK\x03\x04", 0), (b"PK\x01\x02", 2)):
        start = made.find(begins)
        while start >= 0:
            made[start + offset + place : start + offset + place + 2] = struct.pack("<H", value)
            start = made.find(begins, start + 4)
    return bytes(made)


def with_header(said, values=b""):
    """An .npz file of an array with any header."""
    text = said.encode() + b"\n"
    array = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + values
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("images.npy", array)
        archive.writestr("labels.npy", saved(LABELS))
    return made.getvalue()


def header(shape, descr="|u1"):
    return f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}"


GOOD = packed(images=IMAGES, labels=LABELS)
BAD = {
    "empty": (b"", "begins as no archive does"),
    "text": (b"label,p0\n1,2\n", "begins as no archive does"),
    "an .npy file": (saved(IMAGES), "it is an .npy file"),
    "an HDF5 file": (b"\x89HDF\r\n\x1a\n" + bytes(99), "it is an HDF5 file"),
    "cut off": (GOOD[:-30], "no readable .npz file"),
    "cut in the middle": (GOOD[: len(GOOD) // 2], "no readable .npz file"),
    "encrypted": (changed(GOOD, 6, 1), "is encrypted"),
    "of an unknown compression": (changed(GOOD, 8, 97), "compressed in a way that NumPy does not write"),
    "of bzip2": (changed(GOOD, 8, zipfile.ZIP_BZIP2), "compressed in a way that NumPy does not write"),
    "a bit flipped": (GOOD[:200] + bytes([GOOD[200] ^ 4]) + GOOD[201:], "no readable .npz file"),
    "10^15 bytes": (with_header(header((10**15,))), "it is cut off: .* take 1,000,000 GB|take more than|take 1e"),
    "more images than there are": (with_header(header((6, 4, 5, 4)), IMAGES.tobytes()), "it is cut off"),
    "fewer images than there are": (with_header(header((5, 4, 5, 3)), IMAGES.tobytes()), "more behind an array"),
    "of height 0": (packed(images=IMAGES[:, :0], labels=LABELS), r"images without pixels. Received: .*\(6, 0, 5, 3\)"),
    "no images": (packed(images=IMAGES[:0], labels=np.eye(3)[:0]), r"has no images. Received: .*\(0, 4, 5, 3\)"),
    "objects": (packed(images=np.array([None] * 6), labels=LABELS), "pickles are never read"),
    "objects as labels": (packed(images=IMAGES, labels=np.array([None] * 6)), "pickles are never read"),
    "a structure": (packed(images=np.zeros(6, [("a", "u1")]), labels=LABELS), "neither numbers nor text"),
    "durations": (packed(images=IMAGES.astype("m8[s]"), labels=LABELS), "neither numbers nor text"),
    "a negative shape": (with_header(header((-6, 4, 5, 3)), IMAGES.tobytes()), "claims the shape|no readable"),
    "no header": (with_header("{", IMAGES.tobytes()), "no readable .npz file"),
    "a header that is nested": (with_header("[" * 9_000, b""), "no readable .npz file"),
    "a header that is code": (with_header("__import__('os').abort()"), "no readable .npz file"),
    "text that is none": (
        packed(images=IMAGES, labels=np.full(6, 2**31 - 1, np.int32).view("<U1")),
        "its text is none",
    ),
    "a label that is a million": (packed(images=IMAGES, labels=LABELS + 10**6), "from 0 to 999,999. Received: 1000002"),
    "a label that is a long number": (packed(images=IMAGES, labels=np.array(["1" * 5_000] * 6)), "from 0 to 999,999"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_damaged_npz_file_is_one_line(kind, tmp_path):
    content, message = BAD[kind]
    (tmp_path / "mine.npz").write_bytes(content)
    with at_most(30 * MIB):
        refused(tmp_path / "mine.npz", message)


def test_arrays_beside_the_images_may_be_anything(tmp_path):
    (tmp_path / "mine.npz").write_bytes(packed(images=IMAGES, labels=LABELS, notes=np.array([None])))
    np.testing.assert_array_equal(datasets.find(tmp_path / "mine.npz").load().images, IMAGES)


def test_arrays_in_memory_are_numbers():
    for kind in ("m8[s]", "M8[s]", "c8", "U1", object):
        with pytest.raises(InvalidInputError, match="images must be numbers"):
            datasets.from_arrays(IMAGES.astype("i8").astype(kind), LABELS)


def test_no_pickle_is_opened(tmp_path, monkeypatch):
    def opened(*_, **__):
        raise AssertionError("a pickle was opened")

    monkeypatch.setattr("pickle.load", opened)
    monkeypatch.setattr("pickle.loads", opened)
    array = np.array([{"a": 1}] * 6, object)
    (tmp_path / "mine.npz").write_bytes(packed(images=array, labels=array))
    np.save(tmp_path / "x.npy", array)
    refused(tmp_path / "mine.npz", "pickles are never read")
    refused(tmp_path / "x.npy", "pickles are never read", labels=tmp_path / "x.npy")
    with pytest.raises(InvalidInputError, match="pickles are never read"):
        npz.read_arrays(tmp_path / "mine.npz")


def test_a_table_of_contents_is_not_read_for_ever(tmp_path):
    """As many entries as make a table of contents of some MB; an honest one has a few hundred bytes."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("images.npy", saved(IMAGES))
    content = bytearray(made.getvalue())
    end = content.rfind(b"PK\x05\x06")
    content[end:end] = bytes(6 * MIB)
    content[-10:-6] = struct.pack("<I", 6 * MIB)
    (tmp_path / "mine.npz").write_bytes(content)
    with at_most(40 * MIB):
        refused(tmp_path / "mine.npz", "at most 4.19 MB make sense")


def test_a_file_of_another_kind_is_told_what_is_taken(tmp_path):
    (tmp_path / "mine.txt").write_text("1")
    refused(tmp_path / "mine.txt", r"ends with .npz, .npy, .h5, .hdf5, .csv")
    refused(tmp_path / "gone.h5", "there is no file .*gone.h5")
    refused(tmp_path / "gone.csv", "there is no file .*gone.csv")


def hdf5(path, fill):
    with h5py.File(path, "w") as file:
        file["labels"] = LABELS
        fill(file)
    return path


def elsewhere(file):
    file.create_dataset("images", (6, 4, 5, 3), "u1", external=[("/etc/passwd", 0, 360)])


def virtual(file):
    layout = h5py.VirtualLayout((6, 4, 5, 3), "u1")
    layout[:] = h5py.VirtualSource("/etc/passwd", "images", (6, 4, 5, 3))
    file.create_virtual_dataset("images", layout)


def link(file):
    file["images"] = h5py.ExternalLink("/tmp/other.h5", "images")


def one_piece(file):
    file.create_dataset("images", (60_000, 100, 100, 1), "u1", chunks=(60_000, 100, 100, 1), compression="gzip")


def nothing_stored(file):
    file.create_dataset("images", (10**12, 100, 100, 1), "u1", chunks=(1, 100, 100, 1))


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        (elsewhere, "lie in other files, which are not read"),
        (virtual, "lie in other files, which are not read"),
        (link, "Received arrays: labels"),
        (one_piece, "a single piece of images takes 600 MB; the limit is"),
        (nothing_stored, "at most 100,000,000 images are read"),
    ],
)
def test_of_an_hdf5_file_nothing_is_read_that_lies_elsewhere_or_is_too_large(tmp_path, fill, message):
    with at_most(30 * MIB):
        refused(hdf5(tmp_path / "mine.h5", fill), message)


def test_a_csv_file_is_read_row_by_row(tmp_path):
    path = tmp_path / "mine.csv"
    heading = ",".join(["label", *(f"p{place}" for place in range(784))])
    with path.open("w") as stream:
        stream.write(heading + "\n")
        for number in range(500):
            stream.write(",".join([str(number % 10)] + ["255"] * 784) + "\n")
    with at_most(10 * MIB):
        assert len(datasets.find(path, bounds=(0, 1)).load(examples=3)) == 3
    path.write_text(heading + "\n1" + ",1" * 2**23)
    refused(path, "a line of more than 16,777,216 characters")
    path.write_bytes(b"\xff\xfe\x00")
    refused(path, "no readable CSV file")
    for content, message in (
        ("", "is empty"),
        ("\n1,2\n", "a heading with a column label"),
        ("label\n1\n", "without pixels"),
    ):
        path.write_text(content)
        refused(path, message)


def test_a_long_label_makes_no_other_label_long(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((2_000, 2, 2, 1), np.uint8))
    (tmp_path / "y.csv").write_text("\n".join(["a" * 100_000, *["b"] * 1_999]))
    with at_most(30 * MIB):
        source = datasets.find(tmp_path / "x.npy", labels=tmp_path / "y.csv")
    assert [len(name) for name in source.spec.class_names] == [100_000, 1]
