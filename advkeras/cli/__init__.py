"""The command line: one short file a command, and nothing that a Python caller would miss."""

import sys
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from advkeras import __version__
from advkeras.cli import attack, boundary, datasets, detect, evaluate, export, models, probe, report, status, train
from advkeras.cli.console import fail, import_tensorflow, out
from advkeras.errors import AdvkerasError, InvalidInputError


class _OneLineErrors(TyperGroup):
    """Turns errors, advkeras's own and those of usage, into one line on standard error and their exit code."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Parses the command line and runs the command."""
        run = partial(super().main, args, prog_name, complete_var, windows_expand_args=windows_expand_args, **extra)
        # Without a command the help is printed.
        if not standalone_mode or not (sys.argv[1:] if args is None else args):
            return run(standalone_mode=standalone_mode)
        try:
            code = run(standalone_mode=False)
        except AdvkerasError as error:
            code = fail(error)
        except typer.Abort:
            code = fail(AdvkerasError("aborted"))
        except Exception as error:
            # Click's errors of usage; which package they come from differs between versions of Typer.
            if not hasattr(error, "format_message"):
                raise
            code = fail(InvalidInputError(_usage(error)))
        sys.exit(code or 0)


def _usage(error: Any) -> str:
    """What is wrong with a command line."""
    if getattr(error, "option_name", None) == "--load":
        return "--load stands before the command's name: advkeras --load FILE COMMAND ..."
    context = getattr(error, "ctx", None)
    message = error.format_message().rstrip(".")
    option = getattr(error, "param", None)
    if option is not None and option.nargs > 1:
        message += f": {option.opts[0]} takes {option.nargs} values, {option.opts[0]} {option.metavar}"
    return f"{message} (see advkeras {' '.join(context.command_path.split()[1:])} --help)" if context else message


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
app.command()(status.status)


def _print_version(asked: bool) -> None:
    if asked:
        out.print(f"advkeras {__version__}")
        raise typer.Exit


@app.callback()
def program(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
    load: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE|MODULE", help="Run Python that registers attacks of your own, before the command's name."
        ),
    ] = None,
) -> None:
    """Attack, defend and map the decision boundaries of image classifiers, as they are deployed."""
    if load:
        import_tensorflow()
        from advkeras.attacks import registry

        for source in load:
            registry.load(source)


def main() -> None:
    """Entry point of the console script."""
    app()
