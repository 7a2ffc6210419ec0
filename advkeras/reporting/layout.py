"""How tables and the figures in them look, in the terminal and as Markdown."""

from collections.abc import Iterable, Sequence

from rich.box import SIMPLE
from rich.table import Table

from advkeras.errors import plain_text
from advkeras.proportion import Proportion
from advkeras.provenance import Provenance

NOTHING = "-"


def plain_table(title: str | None, headings: Sequence[str], rows: Iterable[Sequence[str]] = ()) -> Table:
    """A table for the terminal with few lines, numbers to the right; columns keep their text on one line."""
    title = None if title is None else plain_text(title)
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE, show_edge=False, pad_edge=False)
    for index, heading in enumerate(headings):
        table.add_column(plain_text(heading), justify="right" if index else "left", no_wrap=True)
    for cells in rows:
        table.add_row(*map(plain_text, cells))
    return table


def markdown_table(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table as Markdown, numbers to the right, without a line's end."""
    lines = [f"**{markdown_text(title)}**", "", _markdown_row(headings), "|---|" + "---:|" * (len(headings) - 1)]
    return "\n".join([*lines, *map(_markdown_row, rows)])


def markdown_text(text: object) -> str:
    """Text from outside as a line of Markdown that ends no cell, and is neither HTML nor a link."""
    line = plain_text(text, 20_000)
    for character, instead in (("|", "&#124;"), ("<", "&lt;"), ("](", "]\\(")):
        line = line.replace(character, instead)
    return line


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(markdown_text, cells))} |"


def share_text(proportion: Proportion | None) -> str:
    """A share in percent with its 95% interval: ``93 [86, 97]``."""
    if proportion is None or not proportion.of:
        return NOTHING
    low, high = proportion.interval()
    return f"{percent_text(proportion.rate)} [{100 * low:.0f}, {100 * high:.0f}]"


def percent_text(share: float | None) -> str:
    """A share in percent, with a decimal where it is no whole number."""
    if share is None:
        return NOTHING
    percent = 100 * share
    return f"{percent:.0f}" if abs(percent - round(percent)) < 0.05 else f"{percent:.1f}"


def unfinished_text(units_left: int) -> str:
    """What a caption begins with where a run is unfinished."""
    if not units_left:
        return ""
    return (
        f"Unfinished: {units_left:,} {'unit is' if units_left == 1 else 'units are'} left; rows are of what is done. "
    )


def made_with(provenance: Provenance) -> str:
    """What results were made with, as the end of a caption."""
    versions = provenance.versions
    packages = (("advkeras", "advkeras"), ("TensorFlow", "tensorflow"), ("Keras", "keras"))
    return ", ".join(f"{title} {versions.get(name, 'unknown')}" for title, name in packages) + f", {provenance.device}"
