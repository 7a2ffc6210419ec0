"""The model card: what a trained model is, how it was made and how good it is, as JSON among a SavedModel's assets."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from advkeras.errors import InvalidInputError

FILE_NAME = "assets/model_card.json"
UNKNOWN = "unknown"


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
    parameters: int | None
    dataset: str
    bounds: tuple[float, float]
    input_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    defense: str
    command: str
    seed: int | None
    data: dict[str, Any]
    recipe: dict[str, Any]
    history: list[dict[str, float]] = field(default_factory=list)
    accuracies: dict[str, dict[str, Any]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    device: str = ""
    seconds: float = 0.0
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

    def write(self, folder: Path) -> None:
        """Writes the card into the SavedModel's folder."""
        path = folder / FILE_NAME
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path) -> "ModelCard | None":
        """The card in a SavedModel's folder, or None where there is none.

        Raises:
            InvalidInputError: if the card is not readable.
        """
        path = folder / FILE_NAME
        if not path.is_file():
            return None
        try:
            data = json.loads(path.read_text())
            for key in ("bounds", "input_shape", "class_names"):
                data[key] = tuple(data[key])
            return cls(**data)
        except (ValueError, TypeError, KeyError) as error:
            raise InvalidInputError(f"{path} is no readable model card: {error}") from error
