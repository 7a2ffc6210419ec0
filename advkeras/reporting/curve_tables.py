"""Security curves as tables: what is left at a handful of epsilons, and the epsilon that leaves half."""

from collections.abc import Iterator, Sequence

from rich.table import Table

from advkeras.evaluation.curve_results import Curve, CurveReport
from advkeras.reporting.flag_tables import flag_markdown, flag_tables, flag_text
from advkeras.reporting.layout import (
    NOTHING,
    made_with,
    markdown_table,
    markdown_text,
    plain_table,
    share_text,
    unfinished_text,
)

NORMS = {"linf": "L-inf", "l2": "L2"}
_LENGTHS = {"linf": "the largest change of a pixel", "l2": "the Euclidean length of the change"}
# Characters of a line of the terminal, and between two columns.
_LINE, _BETWEEN = 80, 3


def curve_tables(report: CurveReport) -> list[Table]:
    """One table for the terminal, or several where there are many models."""
    return [
        *(plain_table(title, headings, rows) for title, headings, rows in _parts(report)),
        *flag_tables(report.flags),
    ]


def curve_markdown(report: CurveReport) -> str:
    """The same tables, and the caption, as Markdown."""
    tables = [markdown_table(title, headings, rows) for title, headings, rows in _parts(report)]
    return "\n\n".join([*tables, markdown_text(_caption(report)), *flag_markdown(report.flags)]) + "\n"


def curve_caption(report: CurveReport) -> str:
    """What the tables show and what they were made with, and what the flags say."""
    return _caption(report) + flag_text(report.flags)


def _caption(report: CurveReport) -> str:
    low, high = report.bounds
    images = sum(len(model.distances) for model in report.models)
    gradients = sum(model.gradient_count for model in report.models)
    work = f", {gradients / images:,.0f} gradients an image" if images and gradients else ""
    return (
        f"{unfinished_text(report.units_left)}"
        f"{report.examples:,} images: {report.data_source}. Right % where no misclassified example was found within "
        f"epsilon, {_LENGTHS[report.norm]}, in pixels of [{low:g}, {high:g}]; 95% intervals in brackets. A whole curve "
        f"is of one search for each image's least distance ({report.search}{work}); the true one lies on it or below. "
        f"Median: the least epsilon at which at most half are left.{_gap(report)} Seed {report.seed}, "
        f"{made_with(report.provenance)}."
    )


def _parts(report: CurveReport) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    title = f"{report.dataset_title}: accuracy against epsilon, {NORMS[report.norm]}"
    labels = ["Epsilon", "0 (benign)", *(f"{epsilon:g}" for epsilon in report.at), "Median epsilon", "None found"]
    for columns in _lines(labels, [list(_columns(report, model)) for model in report.models]):
        headings, *rows = (list(cells) for cells in zip(*columns, strict=True))
        yield title, headings, rows


def _lines(labels: Sequence[str], models: Sequence[Sequence[Sequence[str]]]) -> Iterator[list[Sequence[str]]]:
    """Columns that stand in one table: the labels, and as many models as a line has room for."""
    shown: list[Sequence[str]] = [labels]
    for columns in models:
        if len(shown) > 1 and _width([*shown, *columns]) > _LINE:
            yield shown
            shown = [labels]
        shown = [*shown, *columns]
    if len(shown) > 1:
        yield shown


def _width(columns: Sequence[Sequence[str]]) -> int:
    return sum(_BETWEEN + max(map(len, column)) for column in columns) - _BETWEEN


def _columns(report: CurveReport, model: Curve) -> Iterator[Sequence[str]]:
    """What the search says of a model, and what the check does, from the heading down."""
    points = {point.epsilon: point for point in model.points}
    known = [points.get(epsilon) for epsilon in report.at]
    median = NOTHING if model.median is None else f"{model.median:.3g}"
    left = [share_text(point.right if point else None) for point in known]
    yield [model.name, share_text(model.benign), *left, median, f"{model.unfound:,}"]
    if report.check:
        left = [share_text(point.check if point else None) for point in known]
        yield [report.check, NOTHING, *left, NOTHING, NOTHING]


def _gap(report: CurveReport) -> str:
    """How far check and search are apart at most, and where."""
    if report.largest_gap is None:
        return ""
    model, point = report.largest_gap
    gap = point.gap or 0.0
    if not gap:
        return f" {report.check} leaves as many at every epsilon."
    return (
        f" The largest gap to {report.check}: {100 * abs(gap):.3g} points on {model.name} at {point.epsilon:g}, where "
        f"{report.check} leaves {'more' if gap > 0 else 'fewer'}."
    )
