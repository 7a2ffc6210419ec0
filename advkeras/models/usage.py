"""What a model's file does not say of how it is used."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Interval

from advkeras.errors import require
from advkeras.models.intake import require_image_shape
from advkeras.models.preprocessing import Mode, Standardising, of_mode
from advkeras.parameters import Count, WithinOne, hold_fields

Preprocessing = Mode | Callable[[Any], Any]


@dataclass(frozen=True)
class Usage:
    """What a user says of it; nothing for most models.

    Attributes:
        threshold: the probability from which on the second of two classes is taken, for one output; a half by default.
        output_name: which of several outputs is taken, by its name or place; by default the one called ``logits``, or
            the only one with as many columns as classes.
        classes: how many there are, to tell outputs apart.
        shape: height, width and channels of the images, for a model that leaves them open, or takes them flat.
        channels_first: whether the model takes images (N, C, H, W); found out by the number of channels by default.
        preprocessing: what is done to images before the model gets them: ``"caffe"``, ``"tf"`` or ``"torch"`` as in
            ``keras.applications``, or a differentiable TensorFlow function of images (N, H, W, C) float32.
        levels: how many values a pixel of an example may have: 256, where examples are to exist as pictures of 8 bits;
            any number by default.
        trust: run Python code that a Keras file holds.

    Raises:
        InvalidInputError: if a value makes no sense.
    """

    threshold: WithinOne | None = None
    output_name: str | None = None
    classes: Count | None = None
    shape: tuple[int, int, int] | None = None
    channels_first: bool | None = None
    preprocessing: Preprocessing | None = None
    levels: Annotated[int, Interval(ge=2)] | None = None
    trust: bool = False

    def __post_init__(self) -> None:
        hold_fields(self)
        if self.shape is not None:
            require_image_shape("shape", self.shape)
        known = self.preprocessing is None or isinstance(self.preprocessing, str) or callable(self.preprocessing)
        require(known, "preprocessing must be a mode or a function", preprocessing=self.preprocessing)

    def preprocess(self, bounds: tuple[float, float]) -> Callable[[Any], Any]:
        """What is done to images (N, H, W, C) float32 of such bounds.

        Raises:
            InvalidInputError: if there is no such mode.
        """
        if self.preprocessing is None:
            return lambda images: images
        return of_mode(self.preprocessing, bounds) if isinstance(self.preprocessing, str) else self.preprocessing

    def record(self) -> dict[str, Any]:
        """What changes a model's answers, as plain values; a function by its name or representation."""
        said: dict[str, Any] = {
            "threshold": self.threshold,
            "output_name": self.output_name,
            "channels_first": self.channels_first,
            "preprocessing": self.preprocessing,
            "levels": self.levels,
        }
        if callable(self.preprocessing):
            said["preprocessing"] = getattr(self.preprocessing, "__qualname__", repr(self.preprocessing))
        return {key: value for key, value in said.items() if value is not None}

    @property
    def is_recorded(self) -> bool:
        """Whether the record says all; a function's name does not say what it does."""
        return not callable(self.preprocessing) or isinstance(self.preprocessing, Standardising)
