"""``advkeras boundary``."""

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
from advkeras.parameters import NOT_NEGATIVE


@on_subject
@on_run
@ends_at_once(STOPPED)
def boundary(
    subject: Subject,
    run: Run,
    model: options.Models = None,
    attack: Annotated[
        list[str] | None,
        typer.Option(
            help="Attacks, by commas or repeated; OptBrittle, OptMargin and OptRegion by default.",
            rich_help_panel="What to run",
        ),
    ] = None,
    protocol: options.BoundaryProtocol = "quick",
    directions: options.Directions = None,
    reach: options.Reach = None,
    instance: Annotated[
        int | None,
        NOT_NEGATIVE,
        typer.Option(
            help="Image that the figure of single instances shows; by default one on which all attacks succeed.",
            rich_help_panel="What to run",
        ),
    ] = None,
    seed: options.Seed = 0,
    as_json: options.Json = False,
) -> None:
    """Map the decision boundaries around benign images and adversarial examples: distances, adjacent classes, purity.

    Example: [bold]advkeras boundary --dataset mnist --model mnist-natural --attack optmargin --examples 50[/]
    """
    import_tensorflow()
    from advkeras import records
    from advkeras.cli.watching import ProgressWatch
    from advkeras.errors import require
    from advkeras.evaluation.boundaries import measure_boundaries
    from advkeras.evaluation.boundary_results import BOUNDARIES
    from advkeras.evaluation.protocol import Protocol, boundary_search
    from advkeras.files import safe_name
    from advkeras.reporting.boundary_figures import distances_figure, instance_figure, purity_figure
    from advkeras.reporting.boundary_tables import boundary_caption, boundary_tables
    from advkeras.runs.store import Store

    start = time.perf_counter()
    classifiers, spec, data = subject.load(model or ())
    chosen = options.attack_names(attack) or ("optbrittle", "optmargin", "optregion")
    asked = Protocol.build(spec, mode=protocol, attacks=chosen, seed=seed)
    search = boundary_search(spec, mode=asked.mode, directions=directions, reach=reach, seed=seed)
    folder = run.open(f"{spec.name}-boundaries")
    run.say_replaced(BOUNDARIES, folder, classifiers)
    require(
        instance is None or 0 <= instance < len(data), f"instance must lie in 0...{len(data) - 1}", instance=instance
    )
    err.print(f"{len(data):,} images: {data.source}", soft_wrap=True)
    with progress_bar() as progress:
        report, measured = measure_boundaries(
            classifiers,
            data,
            spec,
            asked.attacks,
            search,
            folder,
            watch=ProgressWatch(progress, run.workers or 1),
            **run.how,
        )
    if run.is_unfinished(folder, report.units_left):
        return
    say_further_flags(report.flags, classifiers)
    with TemporaryDirectory() as scratch:
        drawn = Path(scratch)
        pictures = [
            *distances_figure(measured, report, drawn / "distances"),
            *purity_figure(measured, report, drawn / "purity"),
        ]
        for name, entries in measured.items():
            pictures += instance_figure(
                entries,
                report,
                drawn / f"{safe_name(name)}-instance",
                model=name,
                class_names=spec.class_names,
                index=instance,
            )
        for picture in pictures:
            Store(folder).write(picture.name, picture.read_bytes())
    if as_json:
        out.print_json(json.dumps(records.plain(report)))
        return
    for table in boundary_tables(report):
        out.print(table)
    out.print(boundary_caption(report), style="bright_black")
    forwards = sum(row.forward_count for rows in report.models.values() for row in rows)
    out.print(
        f"{counted(len(data), 'image')}, {counted(search.directions, 'direction')} and {forwards:,} forward passes in "
        f"{time.perf_counter() - start:.0f} s; {counted(len(pictures), 'picture')}, "
        f"distances and examples in {folder}",
        soft_wrap=True,
    )
