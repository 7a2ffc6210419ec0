"""The model card: what a trained model is, how it was made and how good it is, as JSON among a SavedModel's assets."""

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from advkeras import records
from advkeras.errors import InvalidInputError, require
from advkeras.files import write_json
from advkeras.record_types import Bounds, Count, Finite, Length, Positive, Share, Whole

FILE_NAME = "assets/model_card.json"
UNKNOWN = "unknown"
# Values of an image, and classes, that a model may have.
_MOST_VALUES, _MOST_CLASSES = 2**28, 100_000


def _of_an_image(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    require(math.prod(shape) <= _MOST_VALUES, f"images have at most {_MOST_VALUES:,} values", shape=shape)
    return shape


@dataclass(frozen=True)
class _Accuracy:
    """What an accuracy of a card holds, among other facts."""

    count: Count
    of: Count
    rate: Share | None
    low: Share
    high: Share

    def __post_init__(self) -> None:
        require(self.count <= self.of, "count must not exceed the number of images", count=self.count, of=self.of)


def _accuracy(measured: dict[str, Any]) -> dict[str, Any]:
    records.of_plain(_Accuracy, measured, what="an accuracy")
    return measured


Accuracy = Annotated[dict[str, Any], AfterValidator(_accuracy)]
Names = Annotated[tuple[str, ...], Field(min_length=1, max_length=_MOST_CLASSES)]
Shape = Annotated[tuple[Positive, Positive, Positive], AfterValidator(_of_an_image)]


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """One trained model.

    Attributes:
        name: of the model.
        architecture: of the network.
        parameters: trainable parameters; None where they are not known.
        dataset: trained on.
        bounds: lowest and highest pixel value.
        input_shape: height, width, channels.
        class_names: one for each logit.
        defense: ``none``, ``fast``, ``pgd`` or ``trades``.
        command: the command line that trained it.
        seed: of initialisation, order of images and crafted examples; None where it is not known.
        data: source and number of the training images.
        recipe: the hyperparameters of the training.
        history: the log's figures, one entry an epoch.
        accuracies: measured afterwards, each with count, sample size and interval.
        versions: of Python and of the packages that count.
        device: what it was trained on.
        seconds: how long the epochs took.
        checksum: SHA-256 of graph and weights.
        serving: how the served signatures were written: the command, and the parameters of the region and the detector.
    """

    name: str
    architecture: str
    parameters: Count | None
    dataset: str
    bounds: Bounds
    input_shape: Shape
    class_names: Names
    defense: str
    command: str
    seed: Whole | None
    data: dict[str, Any]
    recipe: dict[str, Any]
    history: list[dict[str, Finite]] = field(default_factory=list)
    accuracies: dict[str, Accuracy] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    device: str = ""
    seconds: Length = 0.0
    checksum: str = ""
    serving: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def unknown(
        cls, *, name: str, bounds: tuple[float, float], input_shape: tuple[int, int, int], num_classes: int
    ) -> "ModelCard":
        """The card of a model that was trained elsewhere: what it takes and gives, and nothing else."""
        return cls(
            name=name,
            architecture=UNKNOWN,
            parameters=None,
            dataset=UNKNOWN,
            bounds=bounds,
            input_shape=input_shape,
            class_names=tuple(map(str, range(num_classes))),
            defense=UNKNOWN,
            command=UNKNOWN,
            seed=None,
            data={},
            recipe={},
        )

    def require_fit(self, input_shape: tuple[int, int, int], num_classes: int, where: str) -> None:
        """Makes sure that the card is that of a model which takes such images and knows so many classes.

        Args:
            input_shape: height, width, channels that the model takes.
            num_classes: that it knows.
            where: the model is, for the message.

        Raises:
            InvalidInputError: if not.
        """
        if (self.input_shape, len(self.class_names)) != (input_shape, num_classes):
            raise InvalidInputError(
                f"the model card of {where} is another model's: it says images of shape {self.input_shape} and "
                f"{len(self.class_names)} classes. Received: a model of {input_shape} and {num_classes} classes"
            )

    def write(self, folder: Path) -> None:
        """Writes the card into the SavedModel's folder.

        Raises:
            InvalidInputError: if it cannot be written.
        """
        write_json(folder / FILE_NAME, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> "ModelCard | None":
        """The card in a SavedModel's folder, or None where there is none.

        Raises:
            InvalidInputError: if the card is not readable, or what it says makes no sense.
        """
        path = folder / FILE_NAME
        if not path.is_file():
            return None
        return records.read(path, path.name, cls, what="a model card")
