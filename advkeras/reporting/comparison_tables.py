"""What has changed between two models, as tables."""

from collections.abc import Iterator

from rich.table import Table

from advkeras.evaluation.comparison import Change, Comparison, PairOfModels
from advkeras.evaluation.requirements import WORST_CASE
from advkeras.reporting.layout import (
    markdown_table,
    markdown_text,
    percent_text,
    plain_table,
    unfinished_text,
)

_HEADINGS = ("Right", "A %", "B %", "B - A, points", "Gained", "Lost", "p")
# Below it a p-value is not told.
_LEAST_P = 0.001


def comparison_tables(comparison: Comparison) -> list[Table]:
    """One table for each pair of models, for the terminal."""
    return [plain_table(title, _HEADINGS, rows) for title, rows in _parts(comparison)]


def comparison_markdown(comparison: Comparison) -> str:
    """The same tables, and the caption, as Markdown; the worst case in bold."""
    tables = []
    for (title, rows), pair in zip(_parts(comparison), comparison.pairs, strict=True):
        cells = (
            [f"**{cell}**" for cell in row] if change.what == WORST_CASE else row
            for row, change in zip(rows, pair.changes, strict=True)
        )
        tables.append(markdown_table(title, _HEADINGS, cells))
    return "\n\n".join([*tables, markdown_text(comparison_caption(comparison))]) + "\n"


def comparison_caption(comparison: Comparison) -> str:
    """What the tables show."""
    runs = f"A of {comparison.before}, B of {comparison.after}"
    if comparison.before == comparison.after:
        runs = f"A and B of {comparison.before}"
    return (
        f"{unfinished_text(comparison.units_left)}{runs}: the same {comparison.examples:,} images, "
        f"{comparison.data_source}. Right: images that are classified correctly, under attack within epsilon "
        f"{comparison.epsilon:g} where the attack stays within one or makes L-inf small; all together: "
        f"{_attacks(comparison)}. Region classification by {comparison.region.samples} points of the hypercube of "
        f"radius {comparison.region.radius:g}. Gained: right by B alone; lost: by A alone; the 95% interval of the "
        "difference is Tango's for pairs, p that of McNemar's exact test."
        f"{_same(comparison)}{_remarks(comparison)}"
    )


def _parts(comparison: Comparison) -> Iterator[tuple[str, list[list[str]]]]:
    for pair in comparison.pairs:
        title = f"{comparison.dataset_title}: from {pair.before} (A) to {pair.after} (B)"
        yield title, [_cells(change) for change in pair.changes]


def _cells(change: Change) -> list[str]:
    difference = change.difference
    low, high = difference.interval()
    p = difference.p
    return [
        change.title,
        percent_text(difference.before.rate),
        percent_text(difference.after.rate),
        f"{_signed(difference.rate)} [{_signed(low)}, {_signed(high)}]",
        f"{difference.gained:,}",
        f"{difference.lost:,}",
        f"< {_LEAST_P}" if p < _LEAST_P else f"{p:.2g}",
    ]


def _signed(share: float) -> str:
    """In points, with its sign."""
    return f"{100 * share:+.1f}"


def _attacks(comparison: Comparison) -> str:
    """What the worst case is over."""
    chosen = dict.fromkeys(", ".join(pair.attacks) for pair in comparison.pairs)
    return "; ".join(each or "no attack" for each in chosen)


def _same(comparison: Comparison) -> str:
    """Which pairs are one model twice."""
    same = [_named(pair) for pair in comparison.pairs if pair.same]
    return f" The same model twice, by its checksum: {', '.join(same)}." if same else ""


def _named(pair: PairOfModels) -> str:
    return pair.before if pair.before == pair.after else f"{pair.before} and {pair.after}"


def _remarks(comparison: Comparison) -> str:
    return "".join(f" Note: {line}." for line in comparison.remarks)
