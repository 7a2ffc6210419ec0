"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Dataset = Annotated[str, typer.Option(help="Data set: mnist.", rich_help_panel="Data")]
DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Cache of tensorflow-datasets; else ADVKERAS_DATA_DIR, else its default.", rich_help_panel="Data"
    ),
]
Examples = Annotated[int, typer.Option(help="Images, from the start of the test split.", rich_help_panel="Data")]
Seed = Annotated[int, typer.Option(help="Of all the randomness.", rich_help_panel="Run")]
Json = Annotated[bool, typer.Option("--json", help="Print the results as JSON.", rich_help_panel="Run")]
