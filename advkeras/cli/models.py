"""``advkeras models``."""

import json
from dataclasses import asdict
from typing import Any

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from advkeras.cli import options
from advkeras.cli.console import out


def models(as_json: options.Json = False) -> None:
    """List the trained models that come with advkeras: how they were trained and how good they are.

    Example: [bold]advkeras models --json[/]
    """
    from advkeras.models import zoo

    cards = {name: zoo.card(name) for name in zoo.names()}
    if as_json:
        out.print_json(
            json.dumps([{**asdict(card), "place": str(zoo.path(name))} for name, card in cards.items() if card])
        )
        return
    table = Table(box=SIMPLE, show_edge=False, pad_edge=False)
    for heading in ("Model", "Architecture", "Parameters", "Defense", "Benign", "PGD", "State"):
        table.add_column(heading, no_wrap=True)
    for name, card in cards.items():
        if card is None:
            table.add_row(name, "no model card")
            continue
        table.add_row(
            name,
            card.architecture,
            f"{card.parameters:,}",
            card.defense,
            _accuracy(card.accuracies.get("benign")),
            _accuracy(card.accuracies.get("pgd")),
            Text("intact") if zoo.is_intact(name) else Text("altered", "red"),
        )
    out.print(table)
    out.print(
        f"Accuracy on the test set, and under PGD with 100 steps on part of it; sample sizes and intervals: --json. "
        f"In {zoo.root()}",
        style="bright_black",
        soft_wrap=True,
    )


def _accuracy(measured: dict[str, Any] | None) -> str:
    return f"{measured['rate']:.2%}" if measured else "-"
