"""Writes the samples of real MNIST and CIFAR-10 that ship inside the package.

    python scripts/make_sample.py mnist FOLDER      original, uncompressed t10k-images and t10k-labels files
    python scripts/make_sample.py cifar10 FOLDER    test_batch.bin of the binary version

A sample is the first images of the test set, unchanged.
"""

import sys
from pathlib import Path

import numpy as np

from advkeras import datasets

SAMPLES = Path(__file__).parents[1] / "advkeras" / "datasets" / "samples"

spec, folder = datasets.get(sys.argv[1]), Path(sys.argv[2])
if spec.name == "mnist":
    images = np.fromfile(next(folder.glob("t10k-images?idx3-ubyte")), np.uint8)[16:].reshape(-1, *spec.shape)
    labels = np.fromfile(next(folder.glob("t10k-labels?idx1-ubyte")), np.uint8)[8:]
else:
    records = np.fromfile(folder / "test_batch.bin", np.uint8).reshape(-1, 1 + 3 * 32 * 32)
    images, labels = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), records[:, 0]
target = SAMPLES / f"{spec.name}_test.npz"
np.savez_compressed(target, images=images[: spec.sample_size], labels=labels[: spec.sample_size])
print(f"{target.name}: {spec.sample_size} images, first labels {labels[:5].tolist()}")
