"""``advkeras evaluate``."""

import json
import time
from collections.abc import Sequence
from typing import Annotated, Any

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
def evaluate(
    subject: Subject,
    run: Run,
    model: options.Models = None,
    attack: Annotated[
        list[str] | None,
        typer.Option(
            help="Attacks, by commas or repeated; those of the tables by default.", rich_help_panel="What to run"
        ),
    ] = None,
    protocol: Annotated[
        str,
        typer.Option(
            help="quick: short searches with a budget of gradients; paper: the authors' 4 x 1,000 iterations, and PGD "
            "as Madry et al. run it.",
            rich_help_panel="What to run",
        ),
    ] = "quick",
    parameters: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="ATTACK.NAME=VALUE",
            help="A parameter of an attack, for example optbrittle.gradients=400; repeat for several.",
            rich_help_panel="What to run",
        ),
    ] = None,
    convergence_check: Annotated[
        bool,
        typer.Option(
            help="Run each attack again with twice the work on up to 8 of the images, and mark the rows that change.",
            rich_help_panel="What to run",
        ),
    ] = True,
    active_test: Annotated[
        bool,
        typer.Option(
            "--active-test",
            help="Try each attack within epsilon, L-inf, where an example surely exists, on up to 16 of the images.",
            rich_help_panel="What to run",
        ),
    ] = False,
    epsilon: Annotated[
        float | None,
        NOT_NEGATIVE,
        typer.Option(
            help="Of the attacks that stay within one, and of the accuracy that is left within it, in pixel "
            "units; the protocol's by default.",
            rich_help_panel="What to run",
        ),
    ] = None,
    radius: Annotated[
        float | None,
        NOT_NEGATIVE,
        typer.Option(
            help="Half the edge of region classification's hypercube, in pixel units; the protocol's by default.",
            rich_help_panel="What to run",
        ),
    ] = None,
    require: options.Require = None,
    seed: options.Seed = 0,
    as_json: options.Json = False,
) -> None:
    """Attack classifiers and print the paper's tables: success, distortion, point and region accuracy.

    Example: [bold]advkeras evaluate --dataset mnist --model mnist-natural --attack optmargin --examples 20[/]

    Your own: [bold]advkeras evaluate --dataset mine.npz --model mine.keras --bounds 0 1[/]
    """
    import_tensorflow()
    from advkeras import records
    from advkeras.cli.watching import ProgressWatch
    from advkeras.evaluation import runner
    from advkeras.evaluation.fold import EVALUATION
    from advkeras.evaluation.protocol import Protocol
    from advkeras.evaluation.requirements import Requirement, hold
    from advkeras.reporting.tables import caption, rich_tables

    requirements = [Requirement.parse(each) for each in require or ()]
    start = time.perf_counter()
    classifiers, spec, data = subject.load(model or ())
    asked = Protocol.build(
        spec,
        mode=protocol,
        attacks=options.attack_names(attack) or _with_queries_if_needed(classifiers),
        parameters=options.parse_attack_parameters(parameters or ()),
        epsilon=epsilon,
        radius=radius,
        seed=seed,
    )
    for each in requirements:
        each.check(tuple(attack.name for attack in asked.attacks))
    folder = run.open(spec.name)
    run.say_replaced(EVALUATION, folder, classifiers)
    err.print(f"{len(data):,} images: {data.source}", soft_wrap=True)
    with progress_bar() as progress:
        evaluation = runner.evaluate(
            classifiers,
            data,
            spec,
            asked,
            folder,
            convergence=convergence_check,
            active_test=active_test,
            watch=ProgressWatch(progress, run.workers or 1),
            **run.how,
        )
    if run.is_unfinished(folder, evaluation.units_left):
        hold(evaluation, requirements)
        return
    say_further_flags(evaluation.flags, classifiers)
    if as_json:
        out.print_json(json.dumps(records.plain(evaluation)))
    else:
        for table in rich_tables(evaluation):
            out.print(table)
        out.print(caption(evaluation), style="bright_black")
        out.print(
            f"{counted(len(asked.attacks), 'attack')}, {counted(len(classifiers), 'model')} and "
            f"{counted(len(data), 'image')} in {time.perf_counter() - start:.0f} s; results and examples in {folder}",
            soft_wrap=True,
        )
    # Earlier commands on the same folder may have attacked other models.
    for line in hold(evaluation, requirements, [each.name for each in classifiers]):
        err.print(line, soft_wrap=True)


def _with_queries_if_needed(classifiers: Sequence[Any]) -> tuple[str, ...]:
    """Where nobody names attacks, and a classifier gives no gradients: those that need none, too, or alone."""
    without = [each.name for each in classifiers if not each.differentiable]
    if not without:
        return ()
    from advkeras.attacks.base import gradient_free
    from advkeras.evaluation.protocol import TABLE_ATTACKS

    by_queries, usual = gradient_free(), TABLE_ATTACKS if len(without) < len(classifiers) else ()
    beside = "beside" if usual else "instead of"
    err.print(
        f"no gradients by the pixels of {', '.join(without)}: {' and '.join(by_queries)} {beside} the usual attacks",
        soft_wrap=True,
    )
    return (*usual, *by_queries)
