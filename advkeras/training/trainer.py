"""A training run from recipe to model card: resumable, logged, measured, written as a SavedModel."""

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from advkeras import provenance
from advkeras.attacks.accuracy import measure
from advkeras.datasets import DatasetSpec, LabelledImages
from advkeras.errors import require
from advkeras.files import require_writable_folder, room_in
from advkeras.models import Classifier, ModelCard, architectures, layout, saved_model, zoo
from advkeras.training import distribution
from advkeras.training.adversarial_training import AdversarialTraining, TrainingAttack
from advkeras.training.batches import shuffled_batches
from advkeras.training.recipes import TrainingRecipe
from advkeras.training.robust_validation import CraftedPictures, EndsAtNaN, EpochSeconds, RobustValidation
from advkeras.training.run_state import KeepBest, KeepFigures, KeepWeights, RunState, begun

_VALIDATION_IMAGES = 500
_MOMENTUM = 0.9
_WARM_UP = 0.2


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
    strategy: Any | None = None,
    resume: bool = True,
    callbacks: Sequence[Any] = (),
    report: Callable[[str], None] = print,
) -> TrainingOutcome | None:
    """Trains a network, measures it and writes it as the next version of a SavedModel with its model card.

    The state of the run (backup, TensorBoard logs, figures of each epoch) lies in ``output/training``; a run that
    was killed continues at its last finished epoch when it is called again.

    Args:
        recipe: the hyperparameters.
        spec: the data set.
        training_data: images to train on, and to hold out for validation where the recipe says so.
        test_data: images for the accuracies in the card.
        output: the folder above the model's versions.
        name: of the model; the folder's name by default.
        strategy: of tf.distribute, see :mod:`advkeras.training.distribution`; one device by default.
        resume: continue the run that is unfinished in the folder; otherwise it is thrown away.
        callbacks: further Keras callbacks, for example a progress bar.
        report: called with lines for the user.

    Returns:
        What was made; None on a worker that is not the chief, which writes nothing.

    Raises:
        InvalidInputError: if the images do not fill one batch, the folder cannot be written, a run with another
            recipe or other images is unfinished there, or the weights to start with belong to another network.
    """
    strategy = strategy or tf.distribute.get_strategy()
    worker = distribution.worker(strategy)
    parent = Path(output)
    # Side by side: a worker clears its own folder when it begins, and no other's.
    state = parent / ("training" if worker == 0 else f"training-worker-{worker}")
    require_writable_folder(parent)
    count = len(training_data) - recipe.validation
    steps = count // recipe.batch_size
    require(steps >= 1, "there must be at least one batch of images to train on", images=count)
    if not resume:
        shutil.rmtree(state, ignore_errors=True)
    with room_in(parent), distribution.naming_lost_workers(strategy):
        if distribution.in_common(strategy, [0] if worker or begun(state) else [], 1) < 0:
            # The chief has finished what this worker's state belongs to.
            shutil.rmtree(state, ignore_errors=True)
        run = RunState(state, recipe, training_data)
        weights, collapsed = _fit(recipe, spec, training_data, run, strategy, callbacks, report)
    if worker != 0:
        return None
    network = architectures.build(recipe.architecture, spec)
    network.set_weights(weights)
    card = ModelCard(
        name=name or parent.name,
        architecture=recipe.architecture,
        parameters=int(network.count_params()),
        dataset=spec.name,
        bounds=spec.bounds,
        input_shape=spec.shape,
        class_names=spec.class_names,
        defense=recipe.defense,
        command=provenance.command_line(),
        seed=recipe.seed,
        data={
            "split": training_data.split,
            "images": count,
            "source": f"{spec.name}/{spec.version}" if spec.version else training_data.source,
        },
        recipe=asdict(recipe),
        history=run.history,
        versions=provenance.versions(),
        device=provenance.device(),
        seconds=round(sum(epoch["seconds"] for epoch in run.history), 1),
    )
    cards = []

    def complete(version: Path) -> None:
        report(f"measuring accuracy on {len(test_data):,} images: {test_data.source}")
        sealed = replace(card, checksum=layout.checksum(version))
        sealed.write(version)
        classifier = Classifier.load(version)
        cards.append(replace(sealed, accuracies=measure(classifier, spec, test_data)))
        cards[-1].write(version)

    folder = saved_model.save(network, parent, complete=complete)
    run.finish()
    return TrainingOutcome(cards[-1], folder, collapsed)


def _fit(
    recipe: TrainingRecipe,
    spec: DatasetSpec,
    data: LabelledImages,
    run: RunState,
    strategy: Any,
    callbacks: Sequence[Any],
    report: Callable[[str], None],
) -> tuple[list[Any], bool]:
    """Trains from the epoch on that all workers have; the network's weights, and whether training has collapsed."""
    count = len(data) - recipe.validation
    kept = data.first(count)
    held_out = data.where(np.arange(len(data)) >= count) if recipe.validation else None
    keras.utils.set_random_seed(recipe.seed)
    with strategy.scope():
        model = _model(recipe, spec, count // recipe.batch_size)
        model.prepare(data.images[:2], data.labels[:2])
    validated = held_out or kept.first(min(count, _VALIDATION_IMAGES))
    report(f"val_ figures: {len(validated):,} images {'held out' if held_out else 'of those trained on'}")
    validation = RobustValidation(
        *_arrays(validated),
        epsilon=recipe.epsilon or spec.epsilon,
        grown_after=recipe.ramp_epochs,
        report=report,
    )
    done = distribution.in_common(strategy, run.kept(), recipe.epochs + 1)
    run.restore(model, done)
    model.fit(
        shuffled_batches(
            *_arrays(kept), batch_size=recipe.batch_size, seed=recipe.seed, augmentation=recipe.augmentation
        ),
        initial_epoch=done,
        epochs=done if run.stopped else recipe.epochs,
        shuffle=False,
        verbose=0,
        callbacks=_callbacks(recipe, run, validation, kept, callbacks),
    )
    if run.best.is_file():
        model.load_weights(run.best)
    # On all workers, since reading weights may need them all.
    return model.network.get_weights(), validation.collapsed


def _model(recipe: TrainingRecipe, spec: DatasetSpec, steps: int) -> AdversarialTraining:
    """The compiled model, in the recipe's precision."""
    before = keras.config.dtype_policy()
    on_gpu = bool(tf.config.list_physical_devices("GPU"))
    if recipe.precision == "mixed" or (recipe.precision == "auto" and on_gpu):
        keras.config.set_dtype_policy("mixed_float16" if on_gpu else "mixed_bfloat16")
    try:
        network = architectures.build(recipe.architecture, spec)
        if recipe.start is not None:
            saved_model.load_weights(network, zoo.locate(recipe.start))
        model = AdversarialTraining(network, bounds=spec.bounds, attack=_attack(recipe, steps), seed=recipe.seed)
        model.compile(
            optimizer=_optimizer(recipe, steps),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
            jit_compile=False,
        )
    finally:
        keras.config.set_dtype_policy(before)
    return model


def _attack(recipe: TrainingRecipe, steps_per_epoch: int) -> TrainingAttack | None:
    """The attack inside the training step; None for natural training."""
    if recipe.defense == "none":
        return None
    return TrainingAttack(
        epsilon=recipe.epsilon,
        step=recipe.step,
        iterations=recipe.iterations,
        ramp_steps=round(recipe.ramp_epochs * steps_per_epoch),
        trades_weight=recipe.trades_weight if recipe.defense == "trades" else None,
    )


def _optimizer(recipe: TrainingRecipe, steps_per_epoch: int) -> Any:
    steps = recipe.epochs * steps_per_epoch
    rising = round(_WARM_UP * steps) if recipe.schedule == "one-cycle" else 0
    rate = keras.optimizers.schedules.CosineDecay(
        0.0 if rising else recipe.learning_rate,
        decay_steps=max(steps - rising, 1),
        warmup_target=recipe.learning_rate if rising else None,
        warmup_steps=rising,
    )
    common: dict[str, Any] = {
        "learning_rate": rate,
        "weight_decay": recipe.weight_decay or None,
        "use_ema": recipe.average > 0,
        "ema_momentum": min(recipe.average, max(0.0, 1.0 - 2.0 / steps_per_epoch)),
    }
    if recipe.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(momentum=_MOMENTUM, nesterov=True, **common)
    else:
        optimizer = keras.optimizers.Adam(**common)
    # Biases and what normalisation learns are not drawn towards 0.
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def _callbacks(
    recipe: TrainingRecipe, run: RunState, validation: RobustValidation, data: LabelledImages, given: Sequence[Any]
) -> list[Any]:
    """In this order: what follows the swap has the averages until the next epoch begins; weights are kept last."""
    callbacks = [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if recipe.average else []
    logs = run.folder / "logs"
    callbacks += [
        EpochSeconds(),
        EndsAtNaN(),
        validation,
        CraftedPictures(logs / "crafted", *_arrays(data)),
        keras.callbacks.TensorBoard(str(logs), write_graph=False),
    ]
    if recipe.validation:
        callbacks.append(KeepBest(run))
    return [*callbacks, *given, KeepFigures(run), KeepWeights(run)]


def _arrays(data: LabelledImages) -> tuple[Any, Any]:
    return data.images, data.labels
