"""Images and labels of a tf.data pipeline."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from advkeras.errors import InvalidInputError


def collected(pairs: Iterable[Any], *, examples: int | None) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Images and labels of a ``tf.data.Dataset``, batched or not, or of any other iterable of pairs.

    Args:
        pairs: of images and labels, as ``keras.utils.image_dataset_from_directory`` gives them.
        examples: so many images at least, or all where there are fewer.

    Raises:
        InvalidInputError: if they are no pairs, or there are none.
    """
    images: list[Any] = []
    labels: list[Any] = []
    for pair in pairs:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise InvalidInputError(f"expected pairs of images and labels. Received: {type(pair).__name__}")
        batch, of_batch = np.asarray(pair[0]), np.asarray(pair[1])
        single = batch.ndim < 4 and of_batch.ndim == 0
        images += [batch] if single else list(batch)
        labels += [of_batch] if single else list(of_batch)
        if examples is not None and len(images) >= examples:
            break
    if not images:
        raise InvalidInputError("expected pairs of images and labels. Received: none")
    return np.stack(images), np.stack(labels)
