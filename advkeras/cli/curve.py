"""``advkeras curve``."""

import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from advkeras.cli import options
from advkeras.cli.console import counted, err, import_tensorflow, out, progress_bar
from advkeras.cli.running import STOPPED, Run, on_run
from advkeras.cli.signals import ends_at_once
from advkeras.cli.subjects import Subject, on_subject, say_further_flags
from advkeras.parameters import Positive, held


@on_subject
@on_run
@ends_at_once(STOPPED)
def curve(
    subject: Subject,
    run: Run,
    model: options.Models = None,
    norm: Annotated[
        str,
        typer.Option(
            help="Of the distances: linf, the largest change of a pixel, or l2, the Euclidean length.",
            rich_help_panel="What to run",
        ),
    ] = "linf",
    at: Annotated[
        list[float] | None,
        typer.Option(
            help="An epsilon of the table, in pixel units; repeat for several. Five around the data set's by default.",
            rich_help_panel="What to run",
        ),
    ] = None,
    check: Annotated[
        str | None,
        typer.Option(
            metavar="ATTACK",
            help="A fixed-norm attack to run at each of these epsilons, too: pgd, apgd or autoattack, for example.",
            rich_help_panel="What to run",
        ),
    ] = None,
    attack: Annotated[
        str | None,
        typer.Option(
            help="What looks for the least distances: fab, say; optlinf or optbrittle by default.",
            rich_help_panel="What to run",
        ),
    ] = None,
    parameters: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="ATTACK.NAME=VALUE",
            help="A parameter of an attack, for example optlinf.gradients=400; repeat for several.",
            rich_help_panel="What to run",
        ),
    ] = None,
    seed: options.Seed = 0,
    as_json: options.Json = False,
) -> None:
    """Draw accuracy against epsilon, of one search for each image's least distance: a table, a CSV file and a figure.

    Example: [bold]advkeras curve --dataset mnist --examples 50 --at 0.1 --at 0.2 --check pgd[/]
    """
    for each in at or ():
        held("--at", each, Positive)
    import_tensorflow()
    from advkeras import records
    from advkeras.cli.watching import ProgressWatch
    from advkeras.evaluation.curve import CurveProtocol, measure_curves
    from advkeras.evaluation.curve_fold import CURVE
    from advkeras.evaluation.curve_results import CSV_NAME
    from advkeras.reporting.curve_figure import curve_figure
    from advkeras.reporting.curve_tables import curve_caption, curve_tables
    from advkeras.runs.store import Store

    start = time.perf_counter()
    classifiers, spec, data = subject.load(model or ())
    protocol = CurveProtocol.build(
        spec,
        norm=norm,
        attack=attack,
        at=at or (),
        check=check,
        parameters=options.parse_attack_parameters(parameters or ()),
        seed=seed,
    )
    folder = run.open(f"{spec.name}-curve")
    run.say_replaced(CURVE, folder, classifiers)
    err.print(f"{len(data):,} images: {data.source}", soft_wrap=True)
    with progress_bar() as progress:
        report = measure_curves(
            classifiers, data, spec, protocol, folder, watch=ProgressWatch(progress, run.workers or 1), **run.how
        )
    if run.is_unfinished(folder, report.units_left):
        return
    with TemporaryDirectory() as scratch:
        for picture in curve_figure(report, Path(scratch) / "curve"):
            Store(folder).write(picture.name, picture.read_bytes())
    say_further_flags(report.flags, classifiers)
    if as_json:
        out.print_json(json.dumps(records.plain(report)))
        return
    for table in curve_tables(report):
        out.print(table)
    out.print(curve_caption(report), style="bright_black")
    seconds = time.perf_counter() - start
    out.print(
        f"{counted(len(classifiers), 'model')} and {counted(len(data), 'image')} in {seconds:.0f} s; "
        f"curve.png, curve.svg, {CSV_NAME}, results and examples in {folder}",
        soft_wrap=True,
    )
