"""``advkeras models``."""

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.text import Text

from advkeras.cli import options
from advkeras.cli.checked import CheckedTyper
from advkeras.cli.console import counted, counting, err, import_tensorflow, out, progress_bar
from advkeras.errors import AdvkerasError
from advkeras.reporting.layout import plain_table

# On another processor the last bits of a sum differ, and with them the class of an image or two in a thousand.
_TOLERANCE = 0.002

app = CheckedTyper(help="List the trained models, and measure them again.", invoke_without_command=True)


@app.callback()
def models(context: typer.Context, as_json: options.Json = False) -> None:
    """List the trained models that come with advkeras: how they were trained and how good they are.

    Example: [bold]advkeras models --json[/]
    """
    if context.invoked_subcommand is not None:
        return
    from advkeras.models import zoo

    cards = {name: zoo.card(name) for name in zoo.names()}
    if as_json:
        out.print_json(
            json.dumps([{**asdict(card), "place": str(zoo.path(name))} for name, card in cards.items() if card])
        )
        return
    table = plain_table(None, ("Model", "Architecture", "Parameters", "Defense", "Benign", "PGD", "State"))
    for name, card in cards.items():
        if card is None:
            table.add_row(name, "no model card")
            continue
        table.add_row(
            name,
            card.architecture,
            "-" if card.parameters is None else f"{card.parameters:,}",
            card.defense,
            _accuracy(card.accuracies.get("benign")),
            _accuracy(card.accuracies.get("pgd")),
            Text("intact") if zoo.is_intact(name) else Text("altered", "red"),
        )
    out.print(table)
    out.print(
        f"Accuracy on the test set, and under PGD; its parameters, sample sizes and intervals: --json. In {zoo.root()}",
        style="bright_black",
        soft_wrap=True,
    )


@app.command()
def measure(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Of the zoo; all models by default.")
    ] = None,
    data_dir: options.DataDir = None,
    as_json: options.Json = False,
) -> None:
    """Measure models again on the full test set, and hold the figures against those of their cards.

    Exit code 1 if a figure differs by more than 0.2 points, which other processors' rounding does not explain.

    Example: [bold]advkeras models measure mnist-pgd[/]
    """
    import_tensorflow()
    from advkeras import datasets
    from advkeras.attacks.accuracy import measure as measure_accuracies
    from advkeras.errors import InvalidInputError
    from advkeras.models import Classifier, zoo

    rows: list[dict[str, Any]] = []
    for name in names or zoo.names():
        classifier = Classifier.load(name)
        card = classifier.card
        if card is None or card.dataset not in datasets.names():
            raise InvalidInputError(f"{name} has no model card that says which data set it was trained on")
        if missing := [kind for kind in ("benign", "pgd") if (card.accuracies.get(kind) or {}).get("rate") is None]:
            raise InvalidInputError(f"the model card of {name} has no accuracy called {missing[0]}")
        spec = datasets.get(card.dataset)
        data = datasets.load(spec.name, examples=spec.split_sizes["test"], data_dir=data_dir)
        err.print(f"{name}: {counted(len(data), 'image')}: {data.source}", soft_wrap=True)
        with progress_bar() as progress:
            measured = measure_accuracies(classifier, spec, data, progress=counting(progress, name))
        rows += [
            {"model": name, "accuracy": kind, "card": card.accuracies[kind], "measured": measured[kind]}
            for kind in measured
        ]
    if as_json:
        out.print_json(json.dumps(rows))
    else:
        table = plain_table(None, ("Model", "Accuracy", "Card", "Measured", "Images"))
        for row in rows:
            card_figure, figure = _accuracy(row["card"]), _accuracy(row["measured"])
            table.add_row(row["model"], row["accuracy"], card_figure, figure, f"{row['measured']['of']:,}")
        out.print(table)
    differing = [
        f"{row['model']} ({row['accuracy']})"
        for row in rows
        if row["card"]["of"] != row["measured"]["of"] or abs(row["card"]["rate"] - row["measured"]["rate"]) > _TOLERANCE
    ]
    if differing:
        raise AdvkerasError(f"not as the model cards say: {', '.join(differing)}")


def _accuracy(measured: dict[str, Any] | None) -> str:
    return f"{measured['rate']:.2%}" if measured and measured["rate"] is not None else "-"
