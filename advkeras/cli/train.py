"""``advkeras train``."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from annotated_types import Interval

from advkeras.cli import options
from advkeras.cli.console import describe_accuracy, err, import_tensorflow, out, progress_bar
from advkeras.cli.signals import ends_at_once
from advkeras.errors import AdvkerasError
from advkeras.parameters import AT_LEAST_ONE, NOT_NEGATIVE, POSITIVE

_RECIPE = "Recipe; by default the one for the defence and the data set"


@ends_at_once("stopped: to go on, give the same command again (on every worker; without --no-resume)")
def train(
    output: Annotated[Path, typer.Option(help="Folder above the model's versions, for example saved_models/my-model.")],
    dataset: options.Dataset = "mnist",
    defense: Annotated[
        str,
        typer.Option(help="none, fast (single-step examples), pgd (examples of several steps) or trades."),
    ] = "none",
    strategy: Annotated[
        str,
        typer.Option(
            help="none, mirrored (all GPUs of this machine) or multiworker (the machines that TF_CONFIG names)."
        ),
    ] = "none",
    wait: Annotated[
        float, POSITIVE, typer.Option(metavar="SECONDS", help="How long to wait for the other workers of multiworker.")
    ] = 600.0,
    resume: Annotated[
        bool, typer.Option(help="Continue an unfinished run in the folder, or throw it away and start again.")
    ] = True,
    epochs: Annotated[
        int | None, AT_LEAST_ONE, typer.Option(help="Times that all images are gone through.", rich_help_panel=_RECIPE)
    ] = None,
    batch_size: Annotated[
        int | None,
        AT_LEAST_ONE,
        typer.Option(help="128 by default, down to 16 on few images.", rich_help_panel=_RECIPE),
    ] = None,
    optimizer: Annotated[str | None, typer.Option(help="adam or sgd.", rich_help_panel=_RECIPE)] = None,
    learning_rate: Annotated[
        float | None, POSITIVE, typer.Option(help="Of the optimizer, at its highest.", rich_help_panel=_RECIPE)
    ] = None,
    schedule: Annotated[str | None, typer.Option(help="cosine or one-cycle.", rich_help_panel=_RECIPE)] = None,
    weight_decay: Annotated[
        float | None, NOT_NEGATIVE, typer.Option(help="Of the weights, at each step.", rich_help_panel=_RECIPE)
    ] = None,
    augmentation: Annotated[
        str | None, typer.Option(help="none or standard (flips and shifts).", rich_help_panel=_RECIPE)
    ] = None,
    average: Annotated[
        float | None,
        Interval(ge=0, lt=1),
        typer.Option(help="Momentum of the average of the weights; 0 keeps the last ones.", rich_help_panel=_RECIPE),
    ] = None,
    epsilon: Annotated[
        float | None,
        NOT_NEGATIVE,
        typer.Option(help="L-inf bound of the examples, in pixel units.", rich_help_panel=_RECIPE),
    ] = None,
    iterations: Annotated[
        int | None, AT_LEAST_ONE, typer.Option(help="Steps of the attack.", rich_help_panel=_RECIPE)
    ] = None,
    step: Annotated[
        float | None, POSITIVE, typer.Option(help="Length of a step, as a share of epsilon.", rich_help_panel=_RECIPE)
    ] = None,
    ramp_epochs: Annotated[
        float | None, NOT_NEGATIVE, typer.Option(help="Epochs over which epsilon grows.", rich_help_panel=_RECIPE)
    ] = None,
    trades_weight: Annotated[
        float | None, NOT_NEGATIVE, typer.Option(help="Beta of TRADES.", rich_help_panel=_RECIPE)
    ] = None,
    validation: Annotated[
        int | None,
        NOT_NEGATIVE,
        typer.Option(
            help="Training images to hold out; the weights with the best robust accuracy on them are kept.",
            rich_help_panel=_RECIPE,
        ),
    ] = None,
    patience: Annotated[
        int | None,
        AT_LEAST_ONE,
        typer.Option(help="Stop after so many epochs without a better one.", rich_help_panel=_RECIPE),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="float32, mixed (16 bits), or auto: mixed on GPUs only.", rich_help_panel=_RECIPE),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(help="SavedModel or zoo name whose weights to train further.", rich_help_panel=_RECIPE),
    ] = None,
    architecture: Annotated[
        str | None, typer.Option(help="madry-mnist, resnet-small or wrn-32-10.", rich_help_panel=_RECIPE)
    ] = None,
    bounds: options.Bounds = None,
    classes: options.Classes = None,
    examples: Annotated[
        int | None, AT_LEAST_ONE, typer.Option(help="Use only the first training images.", rich_help_panel="Data")
    ] = None,
    data_dir: options.DataDir = None,
    seed: options.Seed = 0,
    as_json: options.Json = False,
) -> None:
    """Train a classifier, naturally or on adversarial examples, and write it as a SavedModel with its model card.

    A run that was stopped continues at its last finished epoch when the same command is given again.

    Example: [bold]advkeras train --dataset mnist --defense pgd --output saved_models/my-model[/]
    """
    import_tensorflow()
    from advkeras import datasets
    from advkeras.training import distribution
    from advkeras.training.recipes import TrainingRecipe, batch_size_for
    from advkeras.training.trainer import train as run_training

    devices = distribution.strategy(strategy, wait=wait, report=lambda line: err.print(line, soft_wrap=True))
    source = datasets.find(dataset, bounds=bounds, class_names=options.split_classes(classes), data_dir=data_dir)
    recipe = TrainingRecipe.default(
        source.spec,
        defense,
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer,
        learning_rate=learning_rate,
        schedule=schedule,
        weight_decay=weight_decay,
        augmentation=augmentation,
        average=average,
        epsilon=epsilon,
        iterations=iterations,
        step=step,
        ramp_epochs=ramp_epochs,
        trades_weight=trades_weight,
        validation=validation,
        patience=patience,
        precision=precision,
        start=start,
        architecture=architecture,
        seed=seed,
    )
    training_data, test_data = source.training_and_test(examples=examples)
    if batch_size is None:
        recipe = replace(recipe, batch_size=batch_size_for(len(training_data)))
    err.print(f"training on {len(training_data):,} images: {training_data.source}", soft_wrap=True)
    with progress_bar() as progress:
        task = progress.add_task("training", total=recipe.epochs * (len(training_data) // recipe.batch_size))
        outcome = run_training(
            recipe,
            source.spec,
            training_data,
            test_data,
            output,
            strategy=devices,
            resume=resume,
            callbacks=[_progress_callback(progress, task, recipe.epochs)],
            report=lambda line: err.print(line, soft_wrap=True),
        )
    if outcome is None:
        out.print("this worker is done; the first worker writes the model")
        return
    if as_json:
        out.print_json(json.dumps(asdict(outcome.card)))
    else:
        for name, measured in outcome.card.accuracies.items():
            out.print(describe_accuracy(name, measured))
        out.print(f"written to {outcome.folder} in {outcome.card.seconds:,.0f} s")
    if outcome.collapsed:
        raise AdvkerasError("the training has collapsed: the model is not robust, see the lines above")


def _progress_callback(progress: Any, task: Any, epochs: int) -> Any:
    import keras

    # Keras has no type information, so its classes look like Any to a type checker.
    class ProgressBar(keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            progress.update(task, completed=epoch * self.params["steps"], description=f"epoch {epoch + 1} of {epochs}")

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            progress.advance(task)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            figures = "  ".join(f"{name} {float(value):.4f}" for name, value in (logs or {}).items())
            err.print(f"epoch {epoch + 1} of {epochs}: {figures}")

    return ProgressBar()
