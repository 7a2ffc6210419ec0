"""What a results file says, whatever its kind, and documents that show it."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from advkeras.errors import InvalidInputError
from advkeras.evaluation.boundary_results import BOUNDARIES
from advkeras.evaluation.curve_fold import CURVE
from advkeras.evaluation.detection_results import DETECTION
from advkeras.evaluation.fold import EVALUATION
from advkeras.reporting.boundary_tables import boundary_caption, boundary_markdown, boundary_tables
from advkeras.reporting.curve_tables import curve_caption, curve_markdown, curve_tables
from advkeras.reporting.detection_tables import detection_caption, detection_markdown, detection_tables
from advkeras.reporting.tables import caption, markdown_tables, rich_tables
from advkeras.runs.plan import Plan, kept
from advkeras.runs.remote import is_url
from advkeras.runs.store import Store
from advkeras.runs.study import Study


@dataclass(frozen=True)
class Document:
    """Results, ready to be shown.

    Attributes:
        results: as data.
        tables: for the terminal.
        markdown: the same tables and the caption.
        caption: what the tables show and what they were made with.
    """

    results: Any
    tables: list[Table]
    markdown: str
    caption: str


@dataclass(frozen=True)
class _Kind:
    study: Study[Any, Any]
    tables: Callable[[Any], list[Table]]
    markdown: Callable[[Any], str]
    caption: Callable[[Any], str]

    def document(self, report: Any) -> Document:
        """Results, ready to be shown."""
        return Document(report, self.tables(report), self.markdown(report), self.caption(report))


_KINDS = (
    _Kind(EVALUATION, rich_tables, markdown_tables, caption),
    _Kind(BOUNDARIES, boundary_tables, boundary_markdown, boundary_caption),
    _Kind(DETECTION, detection_tables, detection_markdown, detection_caption),
    _Kind(CURVE, curve_tables, curve_markdown, curve_caption),
)


def read_documents(path: str | os.PathLike[str]) -> list[Document]:
    """Reads results of ``advkeras evaluate``, ``curve``, ``boundary`` or ``detect``.

    Args:
        path: a results.json, curve.json, boundaries.json or detection.json, whatever its name; or the folder or URL of
            a run. Of an unfinished run it is what there is so far. What several machines have computed is put together.

    Raises:
        InvalidInputError: if there is none, it is damaged, or another version of advkeras wrote it.
    """
    if not is_url(path) and not Path(path).is_dir():
        return [_of_file(Path(path))]
    store = Store(path)
    asked = {plan.study: plan for plan in kept(store)}
    reports = [(kind, _of_run(kind, store, asked.get(kind.study.name))) for kind in _KINDS]
    documents = [kind.document(report) for kind, report in reports if report is not None]
    if not documents:
        names = ", ".join(kind.study.file_name for kind in _KINDS)
        raise InvalidInputError(f"{path} holds none of {names}")
    return documents


def _of_run(kind: _Kind, store: Store, plan: Plan | None) -> Any:
    """The report of a run's last study of a kind; None where there is none."""
    study = kind.study
    if plan is None:
        return study.read(store.folder) if (store.folder / study.file_name).exists() else None
    report = study.kept(store)
    if report is not None and report.plan == plan.digest:
        return report
    return study.report_of(study.put_together(store))


def _of_file(path: Path) -> Document:
    errors = []
    for kind in sorted(_KINDS, key=lambda kind: kind.study.file_name != path.name):
        try:
            report = kind.study.read(path)
        except InvalidInputError as error:
            errors.append(error)
            continue
        return kind.document(report)
    if not path.is_file():
        raise errors[0]
    raise next((error for error in errors if "schema version" in str(error)), errors[0])


def replace_block(text: str, tables: str, where: str, block: str = "results") -> str:
    """A document with its tables, between the lines that mark them, exchanged.

    Args:
        text: of the document.
        tables: as Markdown.
        where: the document, for the message.
        block: name of the block, which stands in the lines that mark it.

    Raises:
        InvalidInputError: if the document does not have the two lines.
    """
    start, end = block_marks(block)
    before, found_start, rest = text.partition(start)
    _, found_end, after = rest.partition(end)
    if not found_start or not found_end:
        raise InvalidInputError(f"{where} lacks the lines {start} and {end}, between which tables go")
    return f"{before}{start}\n{tables}{end}{after}"


def block_marks(block: str) -> tuple[str, str]:
    """The lines before and after a block of tables."""
    return f"<!-- {block} -->", f"<!-- /{block} -->"
