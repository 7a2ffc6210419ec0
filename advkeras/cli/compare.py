"""``advkeras compare``."""

import json
from typing import Annotated

import typer

from advkeras.cli import options
from advkeras.cli.console import err, out


def compare(
    before: Annotated[
        str, typer.Argument(metavar="RUN_A", help="Folder or URL of a run of evaluate, or its results.json.")
    ],
    after: Annotated[
        str | None,
        typer.Argument(metavar="RUN_B", help="Of another one, on the same images; two models of one run without it."),
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option(
            metavar="A=B",
            help="Which model of the first run is compared to which of the second; repeat for several. By default "
            "those of one name, or the only ones.",
        ),
    ] = None,
    require: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WHAT>=SHARE",
            help="By how much an accuracy may change, as worst-case>=-2%, benign>=-0.01 or pgd>=0; repeat for several. "
            "Exit code 3 where the 95% interval does not say so.",
        ),
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    as_json: options.Json = False,
) -> None:
    """Compare two versions of a model, image by image: accuracies, their difference, images gained and lost.

    Example: [bold]advkeras compare old-run new-run --require 'worst-case>=-2%'[/]
    """
    from advkeras import records
    from advkeras.evaluation import comparison
    from advkeras.evaluation.requirements import Requirement
    from advkeras.reporting.comparison_tables import comparison_caption, comparison_markdown, comparison_tables

    requirements = [Requirement.parse(each, of_change=True) for each in require or ()]
    found = comparison.compare(before, after, models or ())
    if as_json:
        out.print_json(json.dumps(records.plain(found)))
    elif markdown:
        print(comparison_markdown(found), end="")
    else:
        for table in comparison_tables(found):
            out.print(table)
        out.print(comparison_caption(found), style="bright_black")
    for line in comparison.hold_changes(found, requirements):
        err.print(line, soft_wrap=True)
