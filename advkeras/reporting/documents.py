"""What a results file says, whatever its kind, and documents that show it."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from advkeras.errors import InvalidInputError
from advkeras.evaluation import boundary_results, detection_results, results
from advkeras.reporting.boundary_tables import boundary_caption, boundary_markdown, boundary_tables
from advkeras.reporting.detection_tables import detection_caption, detection_markdown, detection_tables
from advkeras.reporting.tables import caption, markdown_tables, rich_tables


@dataclass(frozen=True)
class Document:
    """Results, ready to be shown.

    Attributes:
        tables: for the terminal.
        markdown: the same tables and the caption.
        caption: what the tables show and what they were made with.
    """

    tables: list[Table]
    markdown: str
    caption: str


@dataclass(frozen=True)
class _Kind:
    file_name: str
    read: Callable[[Path], Any]
    tables: Callable[[Any], list[Table]]
    markdown: Callable[[Any], str]
    caption: Callable[[Any], str]


_KINDS = (
    _Kind(results.FILE_NAME, results.read, rich_tables, markdown_tables, caption),
    _Kind(
        boundary_results.FILE_NAME, boundary_results.read_report, boundary_tables, boundary_markdown, boundary_caption
    ),
    _Kind(
        detection_results.FILE_NAME,
        detection_results.read_detection,
        detection_tables,
        detection_markdown,
        detection_caption,
    ),
)


def read_document(path: str | os.PathLike[str]) -> Document:
    """Reads results of ``advkeras evaluate``, ``boundary`` or ``detect``.

    Args:
        path: a results.json, boundaries.json or detection.json, whatever its name, or a folder that holds one.

    Raises:
        InvalidInputError: if there is none, it is damaged, or another version of advkeras wrote it.
    """
    given = Path(path)
    if given.is_dir():
        kinds = [kind for kind in _KINDS if (given / kind.file_name).is_file()]
    else:
        kinds = sorted(_KINDS, key=lambda kind: kind.file_name != given.name)
    errors = []
    for kind in kinds:
        try:
            found = kind.read(given)
        except InvalidInputError as error:
            errors.append(error)
            continue
        return Document(kind.tables(found), kind.markdown(found), kind.caption(found))
    if given.is_dir() or not given.is_file():
        raise (
            errors[0]
            if errors
            else InvalidInputError(f"{given} holds none of {', '.join(kind.file_name for kind in _KINDS)}")
        )
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
