"""``advkeras detect``."""

import json
from typing import Annotated

import typer

from advkeras.cli import options
from advkeras.cli.console import err, import_tensorflow, out, progress_bar
from advkeras.cli.running import STOPPED, Run, on_run
from advkeras.cli.signals import ends_at_once
from advkeras.cli.subjects import Subject, on_subject, say_further_flags
from advkeras.parameters import AT_LEAST_ONE


@on_subject
@on_run
@ends_at_once(STOPPED)
def detect(
    subject: Subject,
    run: Run,
    model: Annotated[
        str | None,
        typer.Option(
            help="Zoo name, SavedModel folder or .keras file; the data set's first of the zoo by default.",
            rich_help_panel="What to run",
        ),
    ] = None,
    train_attack: Annotated[
        str,
        typer.Option(
            help="Attacks, separated by commas; a detector is trained on the examples of each.",
            rich_help_panel="What to run",
        ),
    ] = "optbrittle",
    test_attack: Annotated[
        str,
        typer.Option(
            help="Attacks, separated by commas; each detector is tested on the examples of each.",
            rich_help_panel="What to run",
        ),
    ] = "optbrittle,optmargin,optregion",
    protocol: options.BoundaryProtocol = "quick",
    directions: options.Directions = None,
    reach: options.Reach = None,
    steps: Annotated[
        int | None,
        AT_LEAST_ONE,
        typer.Option(
            help="Of a detector's training; 2,000 on MNIST, else 4,000 by default.", rich_help_panel="What to run"
        ),
    ] = None,
    seed: options.Seed = 0,
    as_json: options.Json = False,
) -> None:
    """Train and test the decision boundary classifier, which tells adversarial examples from benign images.

    The first four fifths of the images are the training part, the rest the test part.

    Example: [bold]advkeras detect --model mnist-natural --train-attack optmargin --test-attack optmargin,optregion[/]
    """
    import_tensorflow()
    from advkeras import records
    from advkeras.cli.watching import ProgressWatch
    from advkeras.evaluation.detection import detect as run_detection
    from advkeras.evaluation.protocol import Protocol, boundary_search
    from advkeras.reporting.detection_tables import detection_caption, detection_tables

    (classifier, *_), spec, data = subject.load((model,) if model else ())
    training, test = (
        Protocol.build(spec, mode=protocol, attacks=options.split_names(names), seed=seed)
        for names in (train_attack, test_attack)
    )
    folder = run.open(f"{classifier.name}-detection")
    err.print(f"{len(data):,} images: {data.source}", soft_wrap=True)
    with progress_bar() as progress:
        report = run_detection(
            classifier,
            data,
            spec,
            train_attacks=training.attacks,
            test_attacks=test.attacks,
            search=boundary_search(spec, mode=training.mode, directions=directions, reach=reach, seed=seed),
            output=folder,
            steps=steps,
            seed=seed,
            watch=ProgressWatch(progress, run.workers or 1),
            **run.how,
        )
    if run.is_unfinished(folder, report.units_left):
        return
    say_further_flags(report.flags, [classifier])
    if as_json:
        out.print_json(json.dumps(records.plain(report)))
        return
    for table in detection_tables(report):
        out.print(table)
    out.print(detection_caption(report), style="bright_black")
    out.print(f"results, examples and detectors in {folder}", soft_wrap=True)
