"""Writes the sample of real MNIST that ships inside the package.

    python scripts/make_sample.py FOLDER_WITH_T10K_FILES

The folder holds the original, uncompressed t10k-images and t10k-labels files; the sample is their first 1,000 images.
"""

import sys
from pathlib import Path

import numpy as np

TARGET = Path(__file__).parents[1] / "advkeras" / "datasets" / "samples" / "mnist_test.npz"
EXAMPLES = 1_000

folder = Path(sys.argv[1])
images = np.fromfile(next(folder.glob("t10k-images?idx3-ubyte")), np.uint8)[16:].reshape(-1, 28, 28, 1)
labels = np.fromfile(next(folder.glob("t10k-labels?idx1-ubyte")), np.uint8)[8:]
np.savez_compressed(TARGET, images=images[:EXAMPLES], labels=labels[:EXAMPLES])
print(f"{TARGET}: {EXAMPLES} images, first labels {labels[:5].tolist()}")
