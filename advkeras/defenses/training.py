"""A training run from recipe to model card: resumable, logged, measured, written as a SavedModel."""

import csv
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import keras

from advkeras import provenance
from advkeras.attacks.accuracy import accuracy, robust_accuracy
from advkeras.attacks.base import require
from advkeras.attacks.pgd import PGD
from advkeras.datasets import DatasetSpec, LabelledImages
from advkeras.defenses.adversarial_training import (
    AdversarialTraining,
    RobustValidation,
    TrainingAttack,
    cosine_schedule,
    shuffled_batches,
)
from advkeras.errors import InvalidInputError
from advkeras.files import require_writable_folder, write_atomically
from advkeras.models import Classifier, ModelCard, architectures, layout, saved_model

Defense = Literal["none", "fast", "pgd"]
DEFENSES: tuple[Defense, ...] = ("none", "fast", "pgd")

_CLAIM = "recipe.json"
_VALIDATION_IMAGES = 500
_TEST_PGD_IMAGES = 1_000
_TEST_PGD_ITERATIONS = 100


@dataclass(frozen=True, kw_only=True)
class TrainingRecipe:
    """The hyperparameters of a training run.

    Attributes:
        architecture: a registered network.
        defense: ``none``; ``fast``, single-step examples from a random start (Wong et al., ICLR 2020); ``pgd``,
            examples of several large steps (Madry et al., ICLR 2018).
        epochs: passes over the training images.
        batch_size: images in a training step.
        learning_rate: first rate of Adam; it falls to 0 along a cosine.
        epsilon: L-inf bound of the crafted examples, in pixel units.
        step: length of a step of the attack, as a share of epsilon.
        iterations: steps of the attack.
        ramp_epochs: epochs over which epsilon grows from 0.
        seed: of initialisation, order of the images and crafted examples.
    """

    architecture: str
    defense: Defense
    epochs: int
    batch_size: int = 128
    learning_rate: float = 1e-3
    epsilon: float = 0.0
    step: float = 0.0
    iterations: int = 0
    ramp_epochs: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.epochs >= 1, "epochs must be at least 1", epochs=self.epochs)
        require(self.batch_size >= 1, "batch_size must be at least 1", batch_size=self.batch_size)
        require(self.learning_rate > 0, "learning_rate must be positive", learning_rate=self.learning_rate)
        require(self.epsilon >= 0, "epsilon must not be negative", epsilon=self.epsilon)
        if self.defense != "none":
            require(self.iterations >= 1, "iterations must be at least 1", iterations=self.iterations)
            require(self.step > 0, "step must be positive", step=self.step)
        require(0 <= self.seed < 2**32, "seed must lie in 0...4294967295", seed=self.seed)
        require(self.ramp_epochs >= 0, "ramp_epochs must not be negative", ramp_epochs=self.ramp_epochs)

    @classmethod
    def default(cls, spec: DatasetSpec, defense: str, **overrides: Any) -> Self:
        """The recipe that is known to work for a defence on a data set, with the given values in place of its own.

        Args:
            spec: the data set.
            defense: ``none``, ``fast`` or ``pgd``.
            overrides: attributes of the recipe; those that are None are left at the default.

        Raises:
            InvalidInputError: if there is no such defence or a value makes no sense.
        """
        epsilon = spec.constants.epsilon
        architecture = architectures.default_for(spec)
        if defense == "none":
            recipe = cls(architecture=architecture, defense="none", epochs=6)
        elif defense == "fast":
            recipe = cls(
                architecture=architecture,
                defense="fast",
                epochs=4,
                epsilon=epsilon,
                step=1.25,
                iterations=1,
                ramp_epochs=2,
            )
        elif defense == "pgd":
            recipe = cls(
                architecture=architecture,
                defense="pgd",
                epochs=10,
                epsilon=epsilon,
                step=0.4,
                iterations=4,
                ramp_epochs=3,
            )
        else:
            raise InvalidInputError(f"unknown defense {defense!r}: known are {', '.join(DEFENSES)}")
        return replace(recipe, **{key: value for key, value in overrides.items() if value is not None})

    def attack(self, steps_per_epoch: int) -> TrainingAttack | None:
        """The attack inside the training step; None for natural training."""
        if self.defense == "none":
            return None
        return TrainingAttack(
            epsilon=self.epsilon,
            step=self.step,
            iterations=self.iterations,
            ramp_steps=round(self.ramp_epochs * steps_per_epoch),
        )


@dataclass(frozen=True)
class TrainingOutcome:
    """What a training run has made.

    Attributes:
        card: the model card, accuracies included.
        folder: the SavedModel's version folder.
        collapsed: whether robust validation saw catastrophic overfitting at the end.
    """

    card: ModelCard
    folder: Path
    collapsed: bool


def train(
    recipe: TrainingRecipe,
    spec: DatasetSpec,
    training_data: LabelledImages,
    test_data: LabelledImages,
    output: str | os.PathLike[str],
    *,
    name: str | None = None,
    callbacks: Sequence[Any] = (),
    report: Callable[[str], None] = print,
) -> TrainingOutcome:
    """Trains a network, measures it and writes it as the next version of a SavedModel with its model card.

    The state of the run (backup, TensorBoard logs, figures of each epoch) lies in ``output/training``; a run that
    was killed continues at its last finished epoch when it is called again.

    Args:
        recipe: the hyperparameters.
        spec: the data set.
        training_data: images to train on. Robust validation, which notices a collapse, uses the first of them.
        test_data: images for the accuracies in the card; the first 1,000 for the one under PGD.
        output: the folder above the model's versions.
        name: of the model; the folder's name by default.
        callbacks: further Keras callbacks, for example a progress bar.
        report: called with lines for the user.

    Raises:
        InvalidInputError: if the images do not fill one batch, the folder cannot be written, or a run with another
            recipe or other images is unfinished there.
    """
    parent = Path(output)
    state = parent / "training"
    require_writable_folder(parent)
    steps = len(training_data) // recipe.batch_size
    require(steps >= 1, "there must be at least one batch of images", images=len(training_data))
    _claim_state(state, recipe, training_data)
    keras.utils.set_random_seed(recipe.seed)
    model = AdversarialTraining(
        architectures.build(recipe.architecture, spec),
        bounds=spec.bounds,
        attack=recipe.attack(steps),
        seed=recipe.seed,
    )
    model.compile(
        optimizer=keras.optimizers.Adam(cosine_schedule(recipe.learning_rate, steps * recipe.epochs)),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,
    )
    model(training_data.images[:1])  # BackupAndRestore wants the variables to exist before fit().
    validation = RobustValidation(
        training_data.images[:_VALIDATION_IMAGES],
        training_data.labels[:_VALIDATION_IMAGES],
        epsilon=recipe.epsilon or spec.constants.epsilon,
        grown_after=recipe.ramp_epochs,
        report=report,
    )
    start = time.perf_counter()
    model.fit(
        shuffled_batches(training_data.images, training_data.labels, batch_size=recipe.batch_size, seed=recipe.seed),
        epochs=recipe.epochs,
        shuffle=False,
        verbose=0,
        callbacks=[
            validation,
            keras.callbacks.CSVLogger(str(state / "history.csv"), append=True),
            keras.callbacks.TensorBoard(str(state / "logs"), write_graph=False),
            keras.callbacks.BackupAndRestore(str(state / "backup"), delete_checkpoint=False, double_checkpoint=True),
            *callbacks,
        ],
    )
    seconds = time.perf_counter() - start
    report(f"measuring accuracy on {len(test_data):,} images: {test_data.source}")
    card = ModelCard(
        name=name or parent.name,
        architecture=recipe.architecture,
        parameters=int(model.network.count_params()),
        dataset=spec.name,
        bounds=spec.bounds,
        input_shape=spec.shape,
        class_names=spec.class_names,
        defense=recipe.defense,
        command=provenance.command_line(),
        seed=recipe.seed,
        data={"split": training_data.split, "images": len(training_data), "builder": f"{spec.name}/{spec.version}"},
        recipe=asdict(recipe),
        history=_history(state / "history.csv"),
        accuracies=measure(Classifier.from_keras(model.network, bounds=spec.bounds), spec, test_data),
        versions=provenance.versions(),
        device=provenance.device(),
        seconds=round(seconds, 1),
    )
    folder = saved_model.save(model.network, parent, complete=lambda version: _sealed(card, version).write(version))
    # What is left are the logs; the next run in this folder starts from the beginning.
    shutil.rmtree(state / "backup", ignore_errors=True)
    (state / _CLAIM).unlink()
    return TrainingOutcome(_sealed(card, folder), folder, validation.collapsed)


def _claim_state(state: Path, recipe: TrainingRecipe, data: LabelledImages) -> None:
    """Makes sure that the folder's unfinished run is this one; clears what a finished run has left.

    Raises:
        InvalidInputError: if another recipe or other images have an unfinished run there.
    """
    images = hashlib.sha256(data.images.tobytes() + data.labels.tobytes()).hexdigest()
    claim = json.dumps({"recipe": asdict(recipe), "images": images}, indent=2)
    path = state / _CLAIM
    if path.is_file():
        if path.read_text() != claim:
            raise InvalidInputError(
                f"{state} holds an unfinished run of another recipe or of other images: finish that one, give another "
                "--output, or delete the folder"
            )
        return
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir(parents=True)
    write_atomically(path, claim.encode())


def measure(classifier: Classifier, spec: DatasetSpec, data: LabelledImages) -> dict[str, dict[str, Any]]:
    """The accuracies of a model card: on the images as they are, and under PGD with 100 steps on the first 1,000."""
    constants = spec.constants
    attack = PGD(epsilon=constants.epsilon, step=constants.pgd_step, iterations=_TEST_PGD_ITERATIONS)
    count = min(len(data), _TEST_PGD_IMAGES)
    return {
        "benign": accuracy(classifier, data).to_json(),
        "pgd": {**robust_accuracy(classifier, data.first(count), attack).to_json(), "attack": attack.get_config()},
    }


def _sealed(card: ModelCard, version: Path) -> ModelCard:
    return replace(card, checksum=layout.checksum(version))


def _history(path: Path) -> list[dict[str, float]]:
    """One entry an epoch; of an epoch that a stopped run and its continuation both logged, the later one."""
    with path.open() as stream:
        rows = [{key: round(float(value), 5) for key, value in row.items()} for row in csv.DictReader(stream)]
    return list({row["epoch"]: row for row in rows}.values())
