"""``advkeras report``."""

from pathlib import Path
from typing import Annotated

import typer

from advkeras.cli.console import out
from advkeras.errors import InvalidInputError


def report(
    results: Annotated[
        Path,
        typer.Argument(help="results.json, boundaries.json or detection.json, or the folder that holds one."),
    ],
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    into: Annotated[
        Path | None,
        typer.Option(help="Put the Markdown into a file, between its lines <!-- BLOCK --> and <!-- /BLOCK -->."),
    ] = None,
    block: Annotated[str, typer.Option(help="Name of the block that --into fills.")] = "results",
) -> None:
    """Print the tables of an evaluation, of boundaries or of detectors again, from their file alone.

    Example: [bold]advkeras report advkeras-results/mnist[/]
    """
    from advkeras.files import write_atomically
    from advkeras.reporting.documents import read_document, replace_block

    document = read_document(results)
    if into is not None:
        try:
            text = into.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInputError(f"cannot read {into}: {error}") from None
        write_atomically(into, replace_block(text, document.markdown, str(into), block).encode())
        out.print(f"tables written into {into}")
    elif markdown:
        print(document.markdown, end="")
    else:
        for table in document.tables:
            out.print(table)
        out.print(document.caption, style="bright_black")
