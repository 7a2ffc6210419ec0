"""The paper's two tables from the results of an evaluation, for the terminal and for Markdown."""

from collections.abc import Callable
from dataclasses import dataclass

from rich.table import Table

from advkeras.evaluation.paper import PaperRow
from advkeras.evaluation.results import BENIGN, Convergence, Distortion, Evaluation, ModelResult, Row, WorstCase
from advkeras.models.reading import AS_RETURNED
from advkeras.reporting.flag_tables import flag_markdown, flag_tables, flag_text
from advkeras.reporting.layout import (
    NOTHING,
    made_with,
    markdown_table,
    markdown_text,
    percent_text,
    plain_table,
    share_text,
    unfinished_text,
)

# At a row whose attack had not ended.
MARK = "†"


@dataclass(frozen=True)
class _Column:
    """A column: its heading, what it says of a row, and whether it repeats the paper."""

    heading: str
    text: Callable[[Row], str]
    from_paper: bool = False


def _work_text(row: Row) -> str:
    """Gradients for each image that was attacked; the forward passes of an attack that takes none."""
    attacked = row.success.of if row.success else row.point.of
    if not attacked:
        return NOTHING
    if row.gradient_count or row.attack == BENIGN:
        return f"{row.gradient_count / attacked:,.0f}"
    return f"{row.forward_count / attacked:,.0f} fwd"


_TABLE_1 = (
    _Column("Attack", lambda row: row.title + (MARK if _unfinished(row) else "")),
    _Column("Success %", lambda row: share_text(row.success)),
    _Column("paper", lambda row: percent_text(_paper(row).success), from_paper=True),
    _Column("RMS", lambda row: _rms(row.distortion)),
    _Column("paper", lambda row: _number(_paper(row).distortion), from_paper=True),
    _Column("Grads", _work_text),
    _Column("s", lambda row: f"{row.seconds:.1f}"),
)
_TABLE_2 = (
    _Column("Images", lambda row: row.title),
    _Column("Region %", lambda row: share_text(row.region)),
    _Column("paper", lambda row: percent_text(_paper(row).region), from_paper=True),
    _Column("Point %", lambda row: share_text(row.point)),
    _Column("paper", lambda row: percent_text(_paper(row).point), from_paper=True),
)


def rich_tables(evaluation: Evaluation) -> list[Table]:
    """Both tables of each model for the terminal, the paper's figures in grey, and the flags."""
    tables = []
    for model in evaluation.models:
        for title, columns, rows in _tables(evaluation, model):
            table = plain_table(title, [column.heading for column in columns])
            for column, shown in zip(columns, table.columns, strict=True):
                shown.style = "bright_black" if column.from_paper else ""
            for row in rows:
                table.add_row(*(column.text(row) for column in columns))
            tables.append(table)
        if model.worst:
            table = plain_table(_worst_title(evaluation, model), _worst_headings(model.worst), _left_rows(model))
            table.add_row(*_worst_cells(model.worst), style="bold")
            tables.append(table)
    return [*tables, *flag_tables(evaluation.flags)]


def markdown_tables(evaluation: Evaluation) -> str:
    """Both tables of each model as Markdown, the paper's figures in italics, and the flags."""
    blocks = []
    for model in evaluation.models:
        for title, columns, rows in _tables(evaluation, model):
            cells = (
                [_italic(column.text(row)) if column.from_paper else column.text(row) for column in columns]
                for row in rows
            )
            blocks.append(markdown_table(title, [column.heading for column in columns], cells))
        if model.worst:
            shown = [*_left_rows(model), [f"**{cell}**" for cell in _worst_cells(model.worst)]]
            blocks.append(markdown_table(_worst_title(evaluation, model), _worst_headings(model.worst), shown))
    return "\n\n".join([*blocks, markdown_text(_caption(evaluation)), *flag_markdown(evaluation.flags)]) + "\n"


def caption(evaluation: Evaluation) -> str:
    """What the tables show and what they were made with, in a few sentences, and what the flags say."""
    return _caption(evaluation) + flag_text(evaluation.flags)


def _caption(evaluation: Evaluation) -> str:
    region = evaluation.region
    low, high = evaluation.bounds
    rows = [row for model in evaluation.models for row in model.rows]
    seconds = sum(
        row.seconds + row.region_seconds + (row.convergence.seconds if row.convergence else 0) for row in rows
    )
    by_vote = " (for OptRegion, by the vote)" if any(row.attack == "optregion" for row in rows) else ""
    return (
        f"{unfinished_text(evaluation.units_left)}"
        f"{evaluation.examples:,} images: {evaluation.data_source}. Region classification by "
        f"{region.samples} points of the hypercube of radius {region.radius:g}. 95% intervals in brackets and "
        f"after ±; success over the images that are classified correctly{by_vote}, RMS over the "
        f"successful examples in pixels of [{low:g}, {high:g}].{_within(evaluation)}{_readings(evaluation)}"
        f"{_searches(rows)}"
        f"{_convergence(evaluation)}{_active_test(evaluation)} Protocol {evaluation.protocol}, seed {evaluation.seed}, "
        f"{made_with(evaluation.provenance)}, {seconds:.0f} s."
    )


def _within(evaluation: Evaluation) -> str:
    """Why some attacks have no figure of what is left within epsilon."""
    told = [row.within for model in evaluation.models if model.worst for row in model.rows if row.attack != BENIGN]
    return " What is left within epsilon is told of attacks in L-inf." if None in told and any(told) else ""


def _readings(evaluation: Evaluation) -> str:
    """Where logits are not what the model returns."""
    others = [f"{model.name}: {model.logits}" for model in evaluation.models if model.logits != AS_RETURNED]
    return f" Logits of {'; '.join(others)}." if others else ""


def _searches(rows: list[Row]) -> str:
    """Which search OptMargin's row is of."""
    searches = [row.config["search"] for row in rows if row.attack == "optmargin" and "search" in row.config]
    kinds = {str(search.get("kind")) if isinstance(search, dict) else "" for search in searches}
    if kinds == {"decoupled"}:
        return " OptMargin's row minimises equation (4) by the decoupled search."
    if kinds == {"penalty"}:
        return " OptMargin's row is of the paper's penalty search."
    return ""


def _convergence(evaluation: Evaluation) -> str:
    """What the mark at a row means, where there is one; that there is none, where it was looked for."""
    checked = [(model, row, row.convergence) for model in evaluation.models for row in model.rows if row.convergence]
    if not checked:
        return ""
    most = max(again.images for _, _, again in checked)
    found = [_more(model, row, again) for model, row, again in checked if not again.converged]
    asked = f"with twice the work on {most} of the images"
    if not found:
        return f" No attack finds more, or 5% nearer, {asked}."
    return f" {MARK} finds more, or 5% nearer, {asked}: {'; '.join(found)}."


def _active_test(evaluation: Evaluation) -> str:
    """How often each attack found examples that surely exist, where that was tried."""
    told = []
    for model in evaluation.models:
        found = [f"{row.title} {row.active.count} of {row.active.of}" for row in model.rows if row.active]
        if found:
            told.append(f"{model.name}, on its {model.features}: {', '.join(found)}")
    return f" Active test, examples that surely exist: {'; '.join(told)}." if told else ""


def _more(model: ModelResult, row: Row, again: Convergence) -> str:
    gains = []
    if again.success_again > again.success:
        gains.append(f"{again.success_again} successes instead of {again.success} of {again.images}")
    if again.fall > 0 and again.distortion and again.distortion_again:
        gains.append(f"distortion {_number(again.distortion_again)} instead of {_number(again.distortion)}")
    return f"{row.title} on {model.name} {' and '.join(gains)} (--set {again.setting})"


def _unfinished(row: Row) -> bool:
    return row.convergence is not None and not row.convergence.converged


def _worst_title(evaluation: Evaluation, model: ModelResult) -> str:
    return f"{evaluation.dataset_title}, {model.name}: what is left in the worst case"


def _worst_headings(worst: WorstCase) -> list[str]:
    return ["Attack", f"Right % within {worst.epsilon:g}", "Median L-inf", "RMS"]


def _left_rows(model: ModelResult) -> list[list[str]]:
    """The attacks that the worst case is made of: accuracy left within epsilon, L-inf and RMS of the examples."""
    return [
        [
            row.title,
            share_text(row.within),
            _number(row.median_linf),
            NOTHING if row.within else _rms(row.distortion),
        ]
        for row in model.rows
        if row.attack != BENIGN
    ]


def _worst_cells(worst: WorstCase) -> list[str]:
    return ["All together", share_text(worst.within), NOTHING, _rms(worst.distortion)]


def _tables(evaluation: Evaluation, model: ModelResult) -> list[tuple[str, tuple[_Column, ...], list[Row]]]:
    attacks = [row for row in model.rows if row.attack != BENIGN]
    where = f"{evaluation.dataset_title}, {model.name}"
    tables = (
        (f"{where}: success and average distortion", _TABLE_1, attacks),
        (f"{where}: region and point accuracy", _TABLE_2, list(model.rows)),
    )
    return [(title, _shown(columns, rows), rows) for title, columns, rows in tables]


def _shown(columns: tuple[_Column, ...], rows: list[Row]) -> tuple[_Column, ...]:
    """The columns without those of the paper that have nothing to say."""
    return tuple(
        column for column in columns if not column.from_paper or any(column.text(row) != NOTHING for row in rows)
    )


def _paper(row: Row) -> PaperRow:
    return row.paper or PaperRow()


def _rms(distortion: Distortion | None) -> str:
    if distortion is None:
        return NOTHING
    if distortion.high is None:
        return _number(distortion.mean)
    return f"{_number(distortion.mean)} ± {distortion.high - distortion.mean:.2g}"


def _number(value: float | None) -> str:
    """Three significant digits."""
    if value is None:
        return NOTHING
    if value >= 1:
        return f"{value:.3g}"
    return f"{value:.3f}" if value >= 0.1 else f"{value:.4f}"


def _italic(text: str) -> str:
    return text if text == NOTHING else f"*{text}*"
