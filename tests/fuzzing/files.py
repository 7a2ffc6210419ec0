"""Valid files in memory."""

import io
from typing import Any

import numpy as np


def packed(**arrays: Any) -> bytes:
    """An .npz file."""
    made = io.BytesIO()
    np.savez_compressed(made, **arrays)
    return made.getvalue()


def saved(array: Any) -> bytes:
    """An .npy file."""
    made = io.BytesIO()
    np.save(made, array)
    return made.getvalue()
