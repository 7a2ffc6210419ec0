"""Adversarial examples on disk: one .npz file for each attack on each model."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from advkeras.arrays import BoolArray, FloatArray, IntArray
from advkeras.attacks.result import AttackResult
from advkeras.datasets import LabelledImages
from advkeras.errors import InvalidInputError
from advkeras.files import read_arrays, write_arrays

_ARRAYS = (
    "images",
    "adversarials",
    "labels",
    "predictions",
    "benign_predictions",
    "success",
    "attacked",
    "distortion",
)


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Images, what an attack made of them, and what is known of the result.

    Attributes:
        images: (N, H, W, C) float32, in pixel units.
        adversarials: (N, H, W, C) float32.
        labels: (N,) int32, true classes.
        predictions: (N,) int32, classes of the adversarial examples.
        benign_predictions: (N,) int32, classes of the images.
        success: (N,) bool.
        attacked: (N,) bool, whether there was anything to attack.
        distortion: (N,) float32, RMS in pixel units.
        facts: what they were made with, as plain values.
    """

    images: FloatArray
    adversarials: FloatArray
    labels: IntArray
    predictions: IntArray
    benign_predictions: IntArray
    success: BoolArray
    attacked: BoolArray
    distortion: FloatArray
    facts: dict[str, Any]

    @classmethod
    def of(cls, data: LabelledImages, result: AttackResult, facts: dict[str, Any]) -> "Examples":
        """The examples that an attack found on images."""
        return cls(
            images=data.images,
            adversarials=result.adversarials,
            labels=data.labels,
            predictions=result.predictions,
            benign_predictions=result.benign_predictions,
            success=result.success,
            attacked=result.attacked,
            distortion=result.distortion,
            facts=facts,
        )

    def write(self, path: Path) -> None:
        """Writes them as .npz, whole or not at all; the facts as JSON in the array ``facts``."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        write_arrays(path, {**arrays, "facts": np.array(json.dumps(self.facts))})

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "Examples":
        """Reads examples that were written before.

        Raises:
            InvalidInputError: if the file is not there, damaged or something else.
        """
        arrays = read_arrays(path, (*_ARRAYS, "facts"))
        try:
            facts = json.loads(str(arrays.pop("facts")))
        except ValueError as error:
            raise InvalidInputError(f"{path} holds no adversarial examples: {error}") from None
        return cls(**arrays, facts=facts)
