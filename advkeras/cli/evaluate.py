"""``advkeras evaluate``."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from advkeras.cli import options
from advkeras.cli.console import counted, err, import_tensorflow, out, progress_bar, watching
from advkeras.cli.subjects import Subject, on_subject


@on_subject
def evaluate(
    subject: Subject,
    model: options.Models = None,
    attack: Annotated[
        list[str] | None,
        typer.Option(
            help="Attacks, by commas or repeated; those of the tables by default.", rich_help_panel="What to run"
        ),
    ] = None,
    protocol: Annotated[
        str,
        typer.Option(
            help="quick: searches as long as their figures need; paper: the authors' 4 x 1,000 iterations, and PGD "
            "as Madry et al. run it.",
            rich_help_panel="What to run",
        ),
    ] = "quick",
    parameters: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="ATTACK.NAME=VALUE",
            help="A parameter of an attack, for example optbrittle.gradients=400; repeat for several.",
            rich_help_panel="What to run",
        ),
    ] = None,
    convergence_check: Annotated[
        bool,
        typer.Option(
            help="Run each attack again with twice the work on up to 8 of the images, and mark the rows that change.",
            rich_help_panel="What to run",
        ),
    ] = True,
    epsilon: Annotated[
        float | None,
        typer.Option(
            help="Of FGSM, PGD and Square, in pixel units; the protocol's by default.",
            rich_help_panel="What to run",
        ),
    ] = None,
    radius: Annotated[
        float | None,
        typer.Option(
            help="Half the edge of region classification's hypercube, in pixel units; the protocol's by default.",
            rich_help_panel="What to run",
        ),
    ] = None,
    seed: options.Seed = 0,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder for results.json and the examples; advkeras-results/DATASET by default. What is already "
            "there, made the same way, is not run again.",
            rich_help_panel="Run",
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Attack classifiers and print the paper's tables: success, distortion, point and region accuracy.

    Example: [bold]advkeras evaluate --dataset mnist --model mnist-natural --attack optmargin --examples 20[/]

    Your own: [bold]advkeras evaluate --dataset mine.npz --model mine.keras --bounds 0 1[/]
    """
    import_tensorflow()
    from advkeras.evaluation import runner
    from advkeras.evaluation.doubts import about_classifier
    from advkeras.evaluation.protocol import Protocol
    from advkeras.evaluation.results import rows_held
    from advkeras.files import require_writable_folder
    from advkeras.reporting.tables import caption, rich_tables

    start = time.perf_counter()
    classifiers, spec, data = subject.load(model or ())
    run = Protocol.build(
        spec,
        mode=protocol,
        attacks=options.split_names(",".join(attack or ())) or _by_queries_if_needed(classifiers),
        parameters=options.parse_attack_parameters(parameters or ()),
        epsilon=epsilon,
        radius=radius,
        seed=seed,
    )
    folder = output or Path("advkeras-results") / spec.name
    require_writable_folder(folder)
    err.print(f"{len(data):,} images: {data.source}", soft_wrap=True)
    before = rows_held(folder)
    with progress_bar() as progress:
        evaluation = runner.evaluate(
            classifiers, data, spec, run, folder, convergence=convergence_check, watch=watching(progress)
        )
    if lost := sorted(before - rows_held(folder)):
        err.print(
            f"{folder}/results.json no longer has {', '.join(lost)}, whose examples are still there: give each run an "
            "--output of its own, or name all models and attacks in one",
            soft_wrap=True,
        )
    said = set(map(about_classifier, classifiers))  # when they were loaded
    for line in (line for line in evaluation.doubts if line not in said):
        err.print(f"Doubtful: {line}", style="yellow", soft_wrap=True)
    if as_json:
        out.print_json(json.dumps(evaluation.to_json()))
        return
    for table in rich_tables(evaluation):
        out.print(table)
    out.print(caption(evaluation), style="bright_black")
    out.print(
        f"{counted(len(run.attacks), 'attack')}, {counted(len(classifiers), 'model')} and "
        f"{counted(len(data), 'image')} in {time.perf_counter() - start:.0f} s; results and examples in {folder}",
        soft_wrap=True,
    )


def _by_queries_if_needed(classifiers: Sequence[Any]) -> tuple[str, ...]:
    """Where nobody names attacks, and a classifier gives no gradients: those that need none."""
    without = [each.name for each in classifiers if not each.differentiable]
    if not without:
        return ()
    from advkeras.attacks.base import gradient_free

    by_queries = gradient_free()
    err.print(
        f"no gradients by the pixels of {', '.join(without)}: {' and '.join(by_queries)} instead of the usual attacks",
        soft_wrap=True,
    )
    return by_queries
