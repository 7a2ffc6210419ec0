"""The command line: one short file a command, and nothing that a Python caller would miss."""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from advkeras import __version__
from advkeras.cli import attack, boundary, datasets, detect, evaluate, export, models, probe, report, train
from advkeras.cli.console import fail, import_tensorflow, out
from advkeras.errors import AdvkerasError, InvalidInputError


class _OneLineErrors(TyperGroup):
    """Turns advkeras's own errors into one line on standard error and their exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Runs the command."""
        try:
            return super().invoke(ctx)
        except AdvkerasError as error:
            raise typer.Exit(fail(error)) from None
        except Exception as error:
            if getattr(error, "option_name", None) != "--load":
                raise
            late = InvalidInputError("--load stands before the command's name: advkeras --load FILE COMMAND ...")
            raise typer.Exit(fail(late)) from None


app = typer.Typer(
    name="advkeras",
    cls=_OneLineErrors,
    help="Attack, defend and map the decision boundaries of image classifiers, as they are deployed.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(evaluate.evaluate)
app.command()(attack.attack)
app.command()(train.train)
app.command()(boundary.boundary)
app.command()(detect.detect)
app.command()(export.export)
app.command()(probe.probe)
app.add_typer(datasets.app, name="datasets")
app.add_typer(models.app, name="models")
app.command()(report.report)


@app.callback()
def program(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
    load: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE|MODULE", help="Run Python that registers attacks of your own, before the command's name."
        ),
    ] = None,
) -> None:
    """Attack, defend and map the decision boundaries of image classifiers, as they are deployed."""
    if version:
        out.print(f"advkeras {__version__}")
        raise typer.Exit
    if load:
        import_tensorflow()
        from advkeras.attacks import registry

        for source in load:
            registry.load(source)


def main() -> None:
    """Entry point of the console script."""
    app()
