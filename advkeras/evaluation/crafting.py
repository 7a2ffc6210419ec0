"""Crafting adversarial examples as small units, each on disk when it is done, so that it need not be done again."""

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from advkeras import __version__
from advkeras.arrays import Progress
from advkeras.attacks.base import Attack
from advkeras.attacks.result import AttackResult
from advkeras.datasets import LabelledImages
from advkeras.errors import InvalidInputError
from advkeras.evaluation.examples import Examples
from advkeras.evaluation.results import BENIGN
from advkeras.models import Classifier, layout

# A context for one unit's progress: called with model, title and whether the unit is already on disk.
Watch = Callable[[str, str, bool], AbstractContextManager[Progress]]


@dataclass(frozen=True)
class Unit:
    """One model under one attack, or on benign images.

    Attributes:
        classifier: the model.
        checksum: of the model.
        attack: what to run; None leaves the images as they are.
        path: the .npz file of its examples.
    """

    classifier: Classifier
    checksum: str
    attack: Attack | None
    path: Path

    @property
    def name(self) -> str:
        """The attack's name."""
        return self.attack.name if self.attack else BENIGN

    @property
    def title(self) -> str:
        """The attack's name as tables call it."""
        return self.attack.title if self.attack else "Benign"

    def on_disk(self, data: LabelledImages) -> Examples | None:
        """The examples, if they are on disk and were made the same way from the same images."""
        if not self.path.is_file():
            return None
        try:
            examples = Examples.read(self.path)
        except InvalidInputError:
            return None
        return examples if examples.facts.get("identity") == self._identity(data) else None

    def craft(self, data: LabelledImages, progress: Progress | None = None) -> Examples:
        """Makes the examples, and writes them."""
        result = (
            self.attack(self.classifier, data.images, data.labels, places=data.places, progress=progress)
            if self.attack
            else _untouched(self.classifier, data)
        )
        facts = {
            "identity": self._identity(data),
            "forward_count": result.forward_count,
            "gradient_count": result.gradient_count,
            "zero_gradients": int(result.zero_gradients.sum()),
            "nonfinite_gradients": int(result.nonfinite_gradients.sum()),
            "seconds": round(result.seconds, 3),
        }
        examples = Examples.of(data, result, facts)
        examples.write(self.path)
        return examples

    def _identity(self, data: LabelledImages) -> dict[str, Any]:
        usage = self.classifier.usage.record()
        return {
            **({"usage": usage} if usage else {}),
            "advkeras": __version__,
            "model": self.classifier.name,
            "checksum": self.checksum,
            "attack": self.name,
            # As it is read again: JSON has no tuples.
            "config": json.loads(json.dumps(self.attack.get_config())) if self.attack else {},
            "attack_data": self.attack.data_checksum if self.attack else "",
            "bounds": list(self.classifier.bounds),
            "images": hashlib.sha256(data.images.tobytes() + data.labels.tobytes() + data.places.tobytes()).hexdigest(),
        }


def units(classifier: Classifier, attacks: Sequence[Attack], output: Path) -> list[Unit]:
    """Benign images and each attack on a classifier, below a folder that several classifiers share.

    Raises:
        InvalidInputError: if two attacks have the same name, since their examples would replace each other.
    """
    names = [attack.name for attack in attacks]
    if len(set(names)) < len(names):
        raise InvalidInputError(f"attacks must have different names. Received: {', '.join(names)}")
    digest, folder = checksum(classifier), output / classifier.name
    return [
        Unit(classifier, digest, attack, folder / f"{attack.name if attack else BENIGN}.npz")
        for attack in (None, *attacks)
    ]


def checksum(classifier: Classifier) -> str:
    """Of the files that the classifier was loaded from, and of a Keras model's weights; else of its answers."""
    told = classifier.usage.is_recorded
    if told and classifier.folder is not None:
        return layout.checksum(classifier.folder)
    if told and classifier.source is not None and Path(classifier.source).is_file():
        digest = hashlib.sha256(Path(classifier.source).read_bytes())
        for weights in classifier.model.get_weights() if classifier.model is not None else ():
            digest.update(weights.tobytes())
        return digest.hexdigest()
    low, high = classifier.bounds
    probes = np.random.default_rng(0).uniform(low, high, (4, *classifier.input_shape))
    return "answers:" + hashlib.sha256(classifier.logits(probes).tobytes()).hexdigest()


def _untouched(classifier: Classifier, data: LabelledImages) -> AttackResult:
    images = classifier.check_images(data.images)
    predictions = classifier.predict(images)
    count = len(data)
    return AttackResult(
        adversarials=images,
        success=np.zeros(count, bool),
        attacked=np.zeros(count, bool),
        distortion=np.zeros(count, np.float32),
        predictions=predictions,
        benign_predictions=predictions,
        forward_count=count,
        gradient_count=0,
        zero_gradients=np.zeros(count, np.int32),
        nonfinite_gradients=np.zeros(count, np.int32),
        seconds=0.0,
    )
