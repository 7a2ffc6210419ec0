"""What an attack returns, and keeps on disk: one .npz file."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from advkeras.arrays import BoolArray, FloatArray, IntArray
from advkeras.errors import InvalidInputError, first_line, plain_text
from advkeras.files import write_arrays
from advkeras.npz import array_names, read_arrays
from advkeras.searches.trace import ARRAYS, Trace

IMAGES = ("images", "labels")
FOUND = (
    *("adversarials", "success", "attacked", "distortion", "predictions", "benign_predictions"),
    *("zero_gradients", "nonfinite_gradients"),
)
COUNTS = ("forward_count", "gradient_count", "seconds")
_FACTS = "facts"
# Of arrays that are none of floating-point numbers, the kind of their number type.
_KINDS = {
    **dict.fromkeys(("labels", "predictions", "benign_predictions", "zero_gradients", "nonfinite_gradients"), "iu"),
    **dict.fromkeys(("success", "attacked"), "b"),
    **dict.fromkeys((name for name in ARRAYS if name != "trace_margins"), "iu"),
}


@dataclass(frozen=True, kw_only=True)
class AttackResult:
    """What an attack found, as verified by forward passes of its own.

    Attributes:
        images: (N, H, W, C) float32, what was attacked, in the pixel unit of the classifier.
        labels: (N,) int32, their true classes.
        adversarials: (N, H, W, C) float32. Where a minimum-norm attack found nothing, and where there was nothing to
            attack, the image itself.
        success: (N,) bool; untargeted: the image was classified correctly and the adversarial example is not;
            targeted: the image was not classified as the target and the adversarial example is. For an attack on
            region classification, by the region's vote.
        attacked: (N,) bool, whether there was anything to attack: untargeted, the image was classified correctly.
        distortion: (N,) float32, RMS over pixels and channels of adversarial minus image, in the pixel unit.
        predictions: (N,) int32, classes of the adversarial examples.
        benign_predictions: (N,) int32, classes of the images.
        zero_gradients: (N,) int32, gradients of each image (of its whole ensemble) that were zero everywhere.
        nonfinite_gradients: (N,) int32, gradients of each image of which something was NaN or infinite.
        forward_count: single images sent forward only, verification included.
        gradient_count: single images sent forward and backward; an ensemble's members count one each. An image that is
            done may go on for a few steps beside the others of its batch, so both counts depend a little on the batch.
        seconds: wall-clock time, compilation included.
        facts: what else is known of how they were made, as plain values.
        trace: what the search saw on its way; None of an attack that keeps none.
    """

    images: FloatArray
    labels: IntArray
    adversarials: FloatArray
    success: BoolArray
    attacked: BoolArray
    distortion: FloatArray
    predictions: IntArray
    benign_predictions: IntArray
    zero_gradients: IntArray
    nonfinite_gradients: IntArray
    forward_count: int
    gradient_count: int
    seconds: float
    facts: Mapping[str, Any] = field(default_factory=dict)
    trace: Trace | None = None

    @property
    def success_rate(self) -> float:
        """Successes over the images that were attacked; NaN where there were none."""
        return float(self.success.sum() / self.attacked.sum()) if self.attacked.any() else float("nan")

    @property
    def average_distortion(self) -> float:
        """Mean distortion of the successful examples; NaN where there are none."""
        return float(self.distortion[self.success].mean()) if self.success.any() else float("nan")

    @property
    def found(self) -> dict[str, npt.NDArray[Any]]:
        """The arrays of what was found, by name, those of the trace included where there is one."""
        return {name: getattr(self, name) for name in FOUND} | ({} if self.trace is None else self.trace.arrays)

    @property
    def counts(self) -> dict[str, Any]:
        """Forwards, gradients and seconds, as plain values."""
        return {**{name: getattr(self, name) for name in COUNTS}, "seconds": round(self.seconds, 3)}

    def with_facts(self, **facts: Any) -> "AttackResult":
        """The same result, of which more is known."""
        return replace(self, facts={**self.facts, **facts})

    def write(self, path: Path) -> None:
        """Writes the arrays as .npz, whole or not at all; the counts and facts as JSON in the array ``facts``."""
        arrays = {name: getattr(self, name) for name in IMAGES} | self.found
        write_arrays(path, {**arrays, _FACTS: np.array(json.dumps({**self.facts, **self.counts}))})

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "AttackResult":
        """Reads a result that was written before.

        Raises:
            InvalidInputError: if the file is not there, damaged or something else.
        """
        traced = ARRAYS if set(ARRAYS).issubset(array_names(path)) else ()
        arrays = read_arrays(path, (*IMAGES, *FOUND, *traced, _FACTS))
        try:
            facts = json.loads(str(arrays.pop(_FACTS)))
            counts = {name: facts.pop(name) for name in COUNTS}
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
            raise InvalidInputError(f"{path} holds no adversarial examples: {plain_text(first_line(error))}") from None
        count = len(arrays["labels"]) if arrays["labels"].ndim else -1
        for name, values in arrays.items():
            pixels = name in ("images", "adversarials")
            axes = 2 if name == "trace_margins" else 1
            fits = values.shape == arrays["images"].shape and values.ndim == 4 if pixels else values.ndim == axes
            if not fits or len(values) != count or values.dtype.kind not in _KINDS.get(name, "f"):
                raise InvalidInputError(
                    f"{path} holds no adversarial examples: {name} of shape {values.shape} and type {values.dtype} for "
                    f"{count} labels"
                )
        for name, value in counts.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise InvalidInputError(f"{path} holds no adversarial examples: {name} is no number")
        try:
            trace = Trace.of_arrays(arrays)
        except InvalidInputError as error:
            raise InvalidInputError(f"{path} holds no adversarial examples: {error}") from None
        kept = {name: arrays[name] for name in (*IMAGES, *FOUND)}
        return cls(**kept, **counts, facts=facts, trace=trace)  # type: ignore[arg-type]
