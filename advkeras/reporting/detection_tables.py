"""What detectors of adversarial examples are worth, as a table."""

from rich.table import Table

from advkeras.evaluation.detection_results import DetectionReport
from advkeras.reporting.layout import NOTHING, made_with, markdown_table, plain_table, share_text

_HEADINGS = ("Trained on", "Detector", "Tested on", "RMS", "FP %", "FN %", "AUC")


def detection_table(report: DetectionReport) -> Table:
    """False positives, and false negatives and area under the ROC curve by attack, for the terminal."""
    table = plain_table(_title(report), _HEADINGS)
    for cells in _cells(report):
        table.add_row(*cells)
    return table


def detection_markdown(report: DetectionReport) -> str:
    """The same, and the caption, as Markdown."""
    return f"{markdown_table(_title(report), _HEADINGS, _cells(report))}\n\n{detection_caption(report)}\n"


def detection_caption(report: DetectionReport) -> str:
    """What the table shows and what it was made with."""
    return (
        f"{report.examples:,} images: {report.data_source}; only benign ones that are classified correctly and "
        f"successful examples count. Boundaries along {report.search['directions']:,} directions; RMS of the test "
        "part's examples; FP: benign images taken for adversarial; FN: examples taken for benign; agreement: of the "
        f"region's points with the image; 95% intervals in brackets. {made_with(report.provenance)}."
    )


def _title(report: DetectionReport) -> str:
    return f"{report.dataset_title}, {report.model}: detectors on the last fifth of {report.examples:,} images"


def _cells(report: DetectionReport) -> list[tuple[str, ...]]:
    return [
        (
            row.trained_on,
            row.detector,
            title,
            _number(report.distortion[title], ".3g"),
            share_text(row.false_positives),
            share_text(missed),
            _number(row.auc[title], ".3f"),
        )
        for row in report.rows
        for title, missed in row.false_negatives.items()
    ]


def _number(value: float | None, form: str) -> str:
    return NOTHING if value is None else f"{value:{form}}"
