"""``advkeras train``."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from advkeras.cli import options
from advkeras.cli.console import err, import_tensorflow, out, progress_bar
from advkeras.errors import AdvkerasError


def train(
    output: Annotated[Path, typer.Option(help="Folder above the model's versions, for example saved_models/my-model.")],
    dataset: options.Dataset = "mnist",
    defense: Annotated[
        str, typer.Option(help="none, fast (single-step examples) or pgd (examples of several steps).")
    ] = "none",
    epochs: Annotated[int | None, typer.Option(rich_help_panel="Recipe")] = None,
    batch_size: Annotated[int | None, typer.Option(rich_help_panel="Recipe")] = None,
    learning_rate: Annotated[float | None, typer.Option(rich_help_panel="Recipe")] = None,
    epsilon: Annotated[
        float | None, typer.Option(help="L-inf bound of the examples, in pixel units.", rich_help_panel="Recipe")
    ] = None,
    iterations: Annotated[int | None, typer.Option(help="Steps of the attack.", rich_help_panel="Recipe")] = None,
    step: Annotated[
        float | None, typer.Option(help="Length of a step, as a share of epsilon.", rich_help_panel="Recipe")
    ] = None,
    ramp_epochs: Annotated[
        float | None, typer.Option(help="Epochs over which epsilon grows.", rich_help_panel="Recipe")
    ] = None,
    architecture: Annotated[str | None, typer.Option(rich_help_panel="Recipe")] = None,
    examples: Annotated[
        int | None, typer.Option(help="Use only the first training images.", rich_help_panel="Data")
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
    from advkeras.defenses.training import TrainingRecipe
    from advkeras.defenses.training import train as run_training

    spec = datasets.get(dataset)
    recipe = TrainingRecipe.default(
        spec,
        defense,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        epsilon=epsilon,
        iterations=iterations,
        step=step,
        ramp_epochs=ramp_epochs,
        architecture=architecture,
        seed=seed,
    )
    training_data = datasets.load(dataset, split="train", examples=examples, data_dir=data_dir)
    test_data = datasets.load(dataset, data_dir=data_dir)
    err.print(f"training on {len(training_data):,} images: {training_data.source}", soft_wrap=True)
    with progress_bar() as progress:
        task = progress.add_task("training", total=recipe.epochs * (len(training_data) // recipe.batch_size))
        outcome = run_training(
            recipe,
            spec,
            training_data,
            test_data,
            output,
            callbacks=[_progress_callback(progress, task, recipe.epochs)],
            report=lambda line: err.print(line, soft_wrap=True),
        )
    if as_json:
        out.print_json(json.dumps(asdict(outcome.card)))
    else:
        for name, measured in outcome.card.accuracies.items():
            out.print(
                f"{name:>7}: {measured['rate']:.2%} of {measured['of']:,} images "
                f"(95% interval {measured['low']:.2%} to {measured['high']:.2%})"
            )
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
