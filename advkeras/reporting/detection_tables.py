"""What detectors of adversarial examples are worth, as tables."""

from rich.table import Table

from advkeras.evaluation.detection_results import DetectionReport
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

_HEADINGS = ("Trained on", "Tested on", "RMS", "FP %", "FN %", "AUC")


def detection_tables(report: DetectionReport) -> list[Table]:
    """For each kind of detector: false positives; false negatives and area under the ROC curve by attack. The flags."""
    return [*(plain_table(title, _HEADINGS, rows) for title, rows in _parts(report)), *flag_tables(report.flags)]


def detection_markdown(report: DetectionReport) -> str:
    """The same tables, and the caption, as Markdown."""
    tables = [markdown_table(title, _HEADINGS, rows) for title, rows in _parts(report)]
    return "\n\n".join([*tables, markdown_text(_caption(report)), *flag_markdown(report.flags)]) + "\n"


def detection_caption(report: DetectionReport) -> str:
    """What the tables show and what they were made with, and what the flags say."""
    return _caption(report) + flag_text(report.flags)


def _caption(report: DetectionReport) -> str:
    radius, samples = report.agreement.radius, report.agreement.samples
    return (
        f"{unfinished_text(report.units_left)}"
        f"{report.examples:,} images: {report.data_source}; trained on the first four fifths, tested on the rest; only "
        "benign ones that are classified correctly and successful examples count. Boundaries along "
        f"{report.search['directions']:,} directions; agreement: of {samples} points of the region of radius "
        f"{radius:.3g} with the image. RMS of the test part's examples; FP: benign images taken for adversarial; FN: "
        f"examples taken for benign; 95% intervals in brackets. {made_with(report.provenance)}."
    )


def _parts(report: DetectionReport) -> list[tuple[str, list[tuple[str, ...]]]]:
    parts = []
    for detector in dict.fromkeys(row.detector for row in report.rows):
        title = f"{report.dataset_title}, {report.model}: detection by {detector}"
        cells: list[tuple[str, ...]] = [
            (
                row.trained_on,
                attack,
                _number(report.distortion.get(attack), ".3g"),
                share_text(row.false_positives),
                share_text(missed),
                _number(row.auc.get(attack), ".3f"),
            )
            for row in report.rows
            if row.detector == detector
            for attack, missed in row.false_negatives.items()
        ]
        parts.append((title, cells))
    return parts


def _number(value: float | None, form: str) -> str:
    return NOTHING if value is None else f"{value:{form}}"
