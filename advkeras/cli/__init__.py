"""The command line: one short file a command, and nothing that a Python caller would miss."""

import os
import sys
import traceback
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from advkeras import __version__
from advkeras.cli import (
    attack,
    boundary,
    compare,
    curve,
    datasets,
    detect,
    evaluate,
    export,
    models,
    probe,
    report,
    status,
    train,
)
from advkeras.cli.checked import CheckedTyper, refuse_empty
from advkeras.cli.console import fail, import_tensorflow, out
from advkeras.cli.failures import DEBUG, in_one_line, is_debugging

_DEBUG_OPTION = "--debug"


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
        given = list(sys.argv[1:] if args is None else args)
        if _DEBUG_OPTION in given:
            # Wherever it stands.
            given.remove(_DEBUG_OPTION)
            os.environ[DEBUG] = "1"
        run = partial(super().main, given, prog_name, complete_var, windows_expand_args=windows_expand_args, **extra)
        # Without a command the help is printed.
        if not standalone_mode or not given:
            return run(standalone_mode=standalone_mode)
        try:
            refuse_empty(given)
            code = run(standalone_mode=False)
        except BrokenPipeError:
            # Of advkeras report ... | head; what Python would still flush has no reader.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        except Exception as error:
            if is_debugging():
                traceback.print_exc()
            code = fail(in_one_line(error))
        sys.exit(code or 0)


app = CheckedTyper(
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
app.command()(curve.curve)
app.command()(boundary.boundary)
app.command()(detect.detect)
app.command()(export.export)
app.command()(probe.probe)
app.add_typer(datasets.app, name="datasets")
app.add_typer(models.app, name="models")
app.command()(report.report)
app.command()(compare.compare)
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
            metavar="FILE|MODULE",
            help="Python file or module that registers attacks of your own; goes before the command's name.",
        ),
    ] = None,
    debug: Annotated[
        bool, typer.Option(_DEBUG_OPTION, help=f"Show where an error comes from; {DEBUG}=1 does so, too.")
    ] = False,
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
