"""``advkeras status``."""

import json
from typing import Annotated

import typer

from advkeras.cli import options
from advkeras.cli.console import counted, duration, out
from advkeras.errors import InvalidInputError


def status(
    run: Annotated[str, typer.Argument(help="Folder or URL of a run, finished or not.")],
    as_json: options.Json = False,
) -> None:
    """Tell how far a run is: units done, failed and left, and the time left, from another terminal too.

    Example: [bold]advkeras status advkeras-results/mnist[/]
    """
    from advkeras import records
    from advkeras.reporting.layout import plain_table
    from advkeras.runs.status import status as status_of
    from advkeras.runs.store import Store

    studies = status_of(Store(run))
    if not studies:
        raise InvalidInputError(f"{run} holds no run: give the --output of evaluate, curve, boundary or detect")
    if as_json:
        out.print_json(json.dumps([records.plain(study) for study in studies]))
        return
    for study in studies:
        out.print(
            f"{study.study}: {study.command} (asked for {study.asked[:19].replace('T', ' ')} UTC)", soft_wrap=True
        )
        if study.failed or study.left:
            rows = [(each.title, str(each.done), str(each.failed), str(each.left)) for each in study.titles]
            out.print(plain_table(None, ("Units", "Done", "Failed", "Left"), rows))
        for title, reason in study.failures.items():
            out.print(f"{title} failed: {reason}", soft_wrap=True)
        left = "" if study.seconds_left is None or not study.left else f", about {duration(study.seconds_left)} left"
        told = f"{study.done:,} of {counted(study.done + study.failed + study.left, 'unit')} done"
        out.print(f"{told}, {study.failed:,} failed, {study.left:,} left{left}", soft_wrap=True)
