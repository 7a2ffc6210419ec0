"""``advkeras report``."""

from pathlib import Path
from typing import Annotated

import typer

from advkeras.cli.console import out
from advkeras.errors import InvalidInputError


def report(
    results: Annotated[Path, typer.Argument(help="results.json of an evaluation, or its folder.")],
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    into: Annotated[
        Path | None,
        typer.Option(help="Put the Markdown into a file, between its lines <!-- results --> and <!-- /results -->."),
    ] = None,
) -> None:
    """Print an evaluation's tables again, from its results.json alone.

    Example: [bold]advkeras report advkeras-results/mnist[/]
    """
    from advkeras.evaluation.results import read
    from advkeras.files import write_atomically
    from advkeras.reporting.tables import caption, markdown_tables, replace_block, rich_tables

    evaluation = read(results)
    if into is not None:
        try:
            text = into.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInputError(f"cannot read {into}: {error}") from None
        write_atomically(into, replace_block(text, markdown_tables(evaluation), str(into)).encode())
        out.print(f"tables written into {into}")
    elif markdown:
        print(markdown_tables(evaluation), end="")
    else:
        for table in rich_tables(evaluation):
            out.print(table)
        out.print(caption(evaluation), style="bright_black")
