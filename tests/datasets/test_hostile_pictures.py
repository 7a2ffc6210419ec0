"""Pictures and archives that are damaged, lie, or unpack to far more than they take: one line, nothing elsewhere."""

import gzip
import io
import struct
import tarfile
import zlib

import numpy as np
import pytest
from PIL import Image

from advkeras import datasets
from advkeras.datasets import pictures
from advkeras.datasets.archives import files_of
from advkeras.datasets.originals import ORIGINALS
from advkeras.errors import InvalidInputError

from ..commands import error_of
from .refusing import MIB, at_most, refused


def bomb(width, height):
    """A PNG file that claims any size."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    values = zlib.compress(bytes(10**6))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", values) + chunk(b"IEND", b"")


def test_a_picture_that_unpacks_to_too_much_is_refused(tmp_path):
    for number, label in enumerate(("cat", "dog")):
        (tmp_path / label).mkdir()
        (tmp_path / label / f"{number}.png").write_bytes(bomb(12_000, 12_000))
    with at_most(30 * MIB):
        refused(tmp_path, r"0.png: what it unpacks to takes 576 MB; the limit is 268 MB")
        (tmp_path / "cat" / "0.png").write_bytes(bomb(60_000, 60_000))
        refused(tmp_path, r"0.png: what it unpacks to takes more than is read; the limit is 268 MB")
    (tmp_path / "cat" / "0.png").write_bytes(bomb(0, 4))
    refused(tmp_path, "0.png is no readable image")


def test_a_picture_is_what_its_ending_says(tmp_path):
    """PostScript would be given to another program."""
    for number, label in enumerate(("cat", "dog")):
        (tmp_path / label).mkdir()
        (tmp_path / label / f"{number}.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    refused(tmp_path, "cannot identify image file|is no readable image")


@pytest.mark.parametrize(
    ("mode", "suffix"), [("L", ".bmp"), ("L", ".gif"), ("1", ".bmp"), ("P", ".gif"), ("I;16", ".tif")]
)
def test_grey_pictures_of_all_formats_are_grey(tmp_path, mode, suffix):
    grey = np.random.default_rng(0).integers(0, 2, (5, 6), dtype=np.uint8) * 255
    picture = Image.fromarray(grey.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(grey).convert(mode)
    picture.save(tmp_path / f"a{suffix}")
    found = pictures.read(tmp_path / f"a{suffix}", channels=1).pixels
    np.testing.assert_array_equal(found[..., 0], grey)


def test_labels_name_no_pictures_elsewhere(tmp_path):
    (tmp_path / "flat").mkdir()
    Image.fromarray(np.zeros((4, 5, 3), np.uint8)).save(tmp_path / "secret.png")
    for name in ("../secret.png", str(tmp_path / "secret.png"), "x" * 5_000 + ".png", "\x1b.png"):
        (tmp_path / "labels.csv").write_text(f"name,label\n{name},0\n")
        refused(tmp_path / "flat", "which is no picture there", labels=tmp_path / "labels.csv")


def tarball(path, *members):
    with tarfile.open(path, "w:gz") as archive:
        for name, content, kind in members:
            info = tarfile.TarInfo(name)
            info.type, info.size = kind, len(content) if kind == tarfile.REGTYPE else 0
            info.linkname = "" if kind == tarfile.REGTYPE else content
            archive.addfile(info, io.BytesIO(content) if kind == tarfile.REGTYPE else None)
    return path


def test_an_archive_is_not_unpacked_and_its_links_are_not_followed(tmp_path):
    path = tarball(
        tmp_path / "a.tgz",
        ("../../../train-images-idx3-ubyte", b"1", tarfile.REGTYPE),
        ("train-labels-idx1-ubyte", "/etc/passwd", tarfile.SYMTYPE),
        ("t10k-images-idx3-ubyte", "../x", tarfile.LNKTYPE),
        ("t10k-labels-idx1-ubyte", "", tarfile.FIFOTYPE),
    )
    assert [(name, read()) for name, read in files_of(path)] == [("train-images-idx3-ubyte", b"1")]
    assert [each.name for each in tmp_path.iterdir()] == ["a.tgz"]
    said = error_of("datasets", "prepare", "mnist", "--from", path)
    assert "train-images in" in said
    assert "is not the original file" in said


def test_an_archive_unpacks_to_so_much_and_no_more(tmp_path, monkeypatch):
    monkeypatch.setenv("ADVKERAS_MAX_BYTES", "1MB")
    large = tarball(tmp_path / "a.tgz", ("train-images-idx3-ubyte", bytes(2 * MIB), tarfile.REGTYPE))
    beside = tarball(tmp_path / "b.tgz", ("other", bytes(2 * MIB), tarfile.REGTYPE))
    for path in (large, beside):
        with pytest.raises(InvalidInputError, match=r"takes 2.1 MB; the limit is 1.05 MB"):
            list(files_of(path))
    folder = tmp_path / "raw"
    folder.mkdir()
    (folder / "train-images-idx3-ubyte").write_bytes(bytes(2 * MIB))
    with pytest.raises(InvalidInputError, match="takes more than is read; the limit is 1.05 MB"):
        datasets.prepare("mnist", source=folder)
    swollen = {"train-images-idx3-ubyte.gz": gzip.compress(bytes(2 * MIB))}
    with pytest.raises(InvalidInputError, match="takes more than is read"):
        ORIGINALS["mnist"].write_verified(swollen, folder, tmp_path)


def test_a_tarball_that_claims_a_negative_size_ends(tmp_path):
    info = tarfile.TarInfo("train-images-idx3-ubyte")
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[124:136] = b"\xff" * 12  # -1, in base 256
    block[148:156] = b"%06o\0 " % (sum(block[:148]) + 8 * 32 + sum(block[156:512]))
    (tmp_path / "a.tar").write_bytes(bytes(block) * 3)
    with pytest.raises(InvalidInputError, match="nor a readable tarball"):
        list(files_of(tmp_path / "a.tar"))


def test_what_a_damaged_tarball_raises_is_one_line(tmp_path):
    path = tarball(
        tmp_path / "a.tgz", ("train-images-idx3-ubyte", np.random.default_rng(0).bytes(9_999), tarfile.REGTYPE)
    )
    path.write_bytes(path.read_bytes()[:5_000])
    with pytest.raises(InvalidInputError, match="nor a readable tarball"):
        datasets.prepare("mnist", source=path)
