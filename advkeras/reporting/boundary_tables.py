"""What the decision boundaries around each kind of images have in common, as tables."""

from rich.table import Table

from advkeras.evaluation.boundary_results import BoundaryReport, BoundaryRow
from advkeras.reporting.flag_tables import flag_markdown, flag_tables, flag_text
from advkeras.reporting.layout import NOTHING, made_with, markdown_table, markdown_text, plain_table, unfinished_text

_HEADINGS = ("Images", "Number", "Median RMS", "Unmet %", "Purity 1", "Purity 3", "Forwards/img")


def boundary_tables(report: BoundaryReport) -> list[Table]:
    """One table a model for the terminal, and the flags."""
    return [*(plain_table(title, _HEADINGS, rows) for title, rows in _cells(report)), *flag_tables(report.flags)]


def boundary_markdown(report: BoundaryReport) -> str:
    """The same tables, and the caption, as Markdown."""
    tables = [markdown_table(title, _HEADINGS, rows) for title, rows in _cells(report)]
    return "\n\n".join([*tables, markdown_text(_caption(report)), *flag_markdown(report.flags)]) + "\n"


def boundary_caption(report: BoundaryReport) -> str:
    """What the tables show and what they were made with, and what the flags say."""
    return _caption(report) + flag_text(report.flags)


def _caption(report: BoundaryReport) -> str:
    search = report.search
    low, high = report.bounds
    stride = f", {search['stride']} at a time until a boundary lies behind" if search["stride"] > 1 else ""
    return (
        f"{unfinished_text(report.units_left)}"
        f"{report.examples:,} images: {report.data_source}; benign ones that are classified correctly, and successful "
        f"examples. Distances in steps of {search['step']:g} up to {search['reach']:g}{stride}, in pixels of "
        f"[{low:g}, {high:g}]; unmet: directions in which no boundary was met; purity of the top 1 and 3 classes "
        f"beyond the boundary. {made_with(report.provenance)}."
    )


def _cells(report: BoundaryReport) -> list[tuple[str, list[tuple[str, ...]]]]:
    search = report.search
    tables = []
    for model, rows in report.models.items():
        title = (
            f"{report.dataset_title}, {model}: boundaries along {search['directions']:,} directions; a region's point "
            f"is expected at RMS {report.region_distance:.3g}"
        )
        cells: list[tuple[str, ...]] = [
            (
                row.title,
                f"{row.images:,}",
                _median(row, search["reach"]),
                f"{100 * row.unmet:.0f}" if row.images else NOTHING,
                f"{row.purity[0]:.2f}" if row.purity else NOTHING,
                f"{row.purity[min(2, len(row.purity) - 1)]:.2f}" if row.purity else NOTHING,
                f"{row.forward_count / row.images:,.0f}" if row.images else NOTHING,
            )
            for row in rows
        ]
        tables.append((title, cells))
    return tables


def _median(row: BoundaryRow, reach: float) -> str:
    if not row.images:
        return NOTHING
    return f"> {reach:g}" if row.median_distance is None else f"{row.median_distance:.3g}"
