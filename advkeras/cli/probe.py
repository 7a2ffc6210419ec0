"""``advkeras probe``."""

import json
import os
import time
from typing import Annotated, Any

import typer

from advkeras.cli import options
from advkeras.cli.console import counted, counting, err, import_tensorflow, out, progress_bar
from advkeras.cli.subjects import Subject, on_subject, say_flags
from advkeras.errors import AdvkerasError, InvalidInputError
from advkeras.parameters import AT_LEAST_ONE, NOT_NEGATIVE, POSITIVE
from advkeras.reporting.layout import plain_table, share_text

# Differing images that are named.
_NAMED = 20


@on_subject
def probe(
    subject: Subject,
    url: Annotated[
        str,
        typer.Argument(metavar="URL", help="http://HOST:PORT (TF Serving's REST API) or grpc://HOST:PORT."),
    ],
    model: Annotated[str, typer.Option(help="Name of the model on the server.", show_default=False)],
    version: Annotated[
        int | None, NOT_NEGATIVE, typer.Option(help="Of the model; the server's choice by default.")
    ] = None,
    signature: Annotated[str, typer.Option(help="That maps images to logits or probabilities.")] = "serving_default",
    local: Annotated[
        str | None,
        typer.Option(
            help="Zoo name, SavedModel folder or .keras file of what is served; the server's name by default."
        ),
    ] = None,
    timeout: Annotated[
        float,
        POSITIVE,
        typer.Option(
            metavar="SECONDS",
            help="From the beginning of a request to the end of its answer, at most.",
            rich_help_panel="Limits",
        ),
    ] = 60.0,
    largest_answer: Annotated[
        int, AT_LEAST_ONE, typer.Option(metavar="MIB", help="Size of an answer, at most.", rich_help_panel="Limits")
    ] = 64,
    concurrency: Annotated[
        int, AT_LEAST_ONE, typer.Option(help="Requests under way at once.", rich_help_panel="Load")
    ] = 4,
    requests: Annotated[int, AT_LEAST_ONE, typer.Option(help="Requests in total.", rich_help_panel="Load")] = 200,
    batch_size: Annotated[int, AT_LEAST_ONE, typer.Option(help="Images in a request.", rich_help_panel="Load")] = 8,
    attack: Annotated[
        str | None,
        typer.Option(help="Attack the endpoint, by queries alone: for example square.", rich_help_panel="Attack"),
    ] = None,
    queries: Annotated[
        int,
        AT_LEAST_ONE,
        typer.Option(help="For each image, at most: how much work the attack does.", rich_help_panel="Attack"),
    ] = 1_000,
    epsilon: Annotated[
        float | None,
        NOT_NEGATIVE,
        typer.Option(help="Of Square, in pixel units; the protocol's by default.", rich_help_panel="Attack"),
    ] = None,
    owned: Annotated[
        bool,
        typer.Option("--i-own-this-endpoint", help="Needed for an address that is not this machine's own."),
    ] = False,
    seed: options.Seed = 0,
    as_json: options.Json = False,
) -> None:
    """Ask a served model whether it is the one that was exported, how fast it answers, and how robust it is.

    Exit code 1 if the server fails or its model gives other classes than the local one.

    Example: [bold]advkeras probe http://localhost:8501 --model mnist-pgd --attack square --examples 50[/]
    """
    # What gRPC's C++ side has to say would stand beside the one line of an error.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    import_tensorflow()
    from advkeras import records
    from advkeras.attacks.registry import configure
    from advkeras.evaluation.signs import of_classifier
    from advkeras.serving.clients import connect
    from advkeras.serving.probe import ProbeReport, attack_served, compare, measure_load, require_load
    from advkeras.serving.served import ServedClassifier

    require_load(threads=concurrency, requests=requests, batch_size=batch_size)
    client = connect(url, model, version=version, timeout=timeout, largest_answer=largest_answer * 2**20)
    if not (owned or client.address.is_loopback):
        raise InvalidInputError(
            f"{client.url} is not this machine: a probe sends many requests and may attack; give "
            "--i-own-this-endpoint if it is yours"
        )
    with client:
        start = time.perf_counter()
        client.signatures()  # says so, if there is no such server or model
        (reference,), spec, data = subject.load((local or model,))
        given = _settings(attack, queries, epsilon) if attack else {}
        configured = configure(attack, spec, {"seed": seed, **given}) if attack else None
        require_load(threads=concurrency, requests=requests, batch_size=batch_size, image=data.images[0].size)
        served = ServedClassifier.beside(client, reference, signature=signature)
        say_flags(of_classifier(served))
        err.print(f"{counted(len(data), 'image')}: {data.source}", soft_wrap=True)
        comparison = compare(served, reference, data, spec.class_names)
        if (taken := served.taken_of(batch_size)) != batch_size:
            err.print(f"the server takes {counted(taken, 'image')} at once, and so many are in a request")
            batch_size = taken

        def inputs(number: int) -> dict[str, Any]:
            return served.request(data.images.take(range(number, number + batch_size), axis=0, mode="wrap"))

        load = measure_load(
            client.another,
            inputs,
            signature=signature,
            threads=concurrency,
            requests=requests,
            batch_size=batch_size,
            keep=lambda number, answer: served.check(answer, batch_size),
        )
        attacked = None
        if configured is not None:
            with progress_bar() as progress:
                attacked = attack_served(
                    configured, served, reference, data, progress=counting(progress, configured.title)
                )
        report = ProbeReport.of(served, comparison, load, attacked, seconds=time.perf_counter() - start)
    if as_json:
        out.print_json(json.dumps(records.plain(report)))
    else:
        _show(report)
    if comparison.differing:
        named = ", ".join(map(str, comparison.differing[:_NAMED]))
        raise AdvkerasError(
            f"the served {report.model} gives other classes than the local {reference.name} on "
            f"{len(comparison.differing)} of {len(data)} images: {named}"
            f"{' ...' if len(comparison.differing) > _NAMED else ''}"
        )
    if load.errors:
        raise AdvkerasError(f"{load.errors} of {load.requests} requests failed: {load.first_error}")


def _settings(attack: str, queries: int, epsilon: float | None) -> dict[str, Any]:
    """The hyperparameters of an attack by queries that the options speak of."""
    from advkeras.attacks.base import gradient_free
    from advkeras.attacks.registry import get, has_epsilon

    kind = get(attack)
    if kind.needs_gradient:
        raise InvalidInputError(
            f"{kind.title} needs gradients, and a served model gives none: use {' or '.join(gradient_free())}. "
            f"Received: --attack {attack}"
        )
    return {**({"epsilon": epsilon} if has_epsilon(attack) else {}), **({kind.work: queries} if kind.work else {})}


def _show(report: Any) -> None:
    comparison, load, attacked = report.comparison, report.load, report.attack
    for name, entry in sorted(report.signatures.items()):
        out.print(f"{name}: {', '.join(entry['inputs'])} -> {', '.join(entry['outputs'])}", soft_wrap=True)
    table = plain_table(None, ("Accuracy %", "Served", "Local"))
    for name, (theirs, ours) in comparison.by_class.items():
        table.add_row(name, share_text(theirs), share_text(ours))
    table.add_row("all", share_text(comparison.served), share_text(comparison.local))
    out.print(table)
    out.print(
        f"{counted(len(comparison.differing), 'image')} with another class than the local model's; "
        f"{comparison.compared} differ by {comparison.largest_difference:.1e} of the largest at most",
        soft_wrap=True,
    )
    out.print(
        f"{load.requests} requests of {counted(load.batch_size, 'image')}, {load.threads} at once: p50 "
        f"{1000 * load.p50:.1f} ms, p95 {1000 * load.p95:.1f} ms, p99 {1000 * load.p99:.1f} ms, "
        f"{load.images_per_second:,.0f} images a second, {counted(load.errors, 'error')}",
        soft_wrap=True,
    )
    if attacked is not None:
        average = "" if attacked.distortion is None else f", average RMS {attacked.distortion:.4g}"
        shares = f"{share_text(attacked.served)}% served, {share_text(attacked.local)}% locally with the same seed"
        out.print(
            f"{attacked.title}, {attacked.queries:,.0f} queries an attacked image: accuracy {shares}{average}, "
            f"{attacked.seconds:.0f} s",
            soft_wrap=True,
        )
    out.print(f"{report.waiting:.0%} of {report.seconds:.1f} s went by waiting for the server and the network")
