"""The flags that results raise: a table, and what each says."""

from collections.abc import Sequence

from rich.table import Table

from advkeras.evaluation.flags import Flag
from advkeras.reporting.layout import NOTHING, markdown_table, markdown_text, plain_table

_TITLE = "Flags"
_HEADINGS = ("Flag", "Model", "Attack", "Images")


def flag_tables(flags: Sequence[Flag]) -> list[Table]:
    """A table of the flags for the terminal; none where there are none."""
    return [plain_table(_TITLE, _HEADINGS, _cells(flags))] if flags else []


def flag_text(flags: Sequence[Flag]) -> str:
    """What the flags say, as the end of a caption."""
    return "".join(f" Flag {flag}" for flag in flags)


def flag_markdown(flags: Sequence[Flag]) -> list[str]:
    """The table, and what each flag says, as blocks of Markdown; none where there are no flags."""
    if not flags:
        return []
    lines = "\n".join(f"- {markdown_text(flag)}" for flag in flags)
    return [markdown_table(_TITLE, _HEADINGS, _cells(flags)), lines]


def _cells(flags: Sequence[Flag]) -> list[tuple[str, ...]]:
    return [
        (
            flag.name,
            flag.model or NOTHING,
            flag.attack or NOTHING,
            f"{flag.images.count:,} of {flag.images.of:,}" if flag.images else NOTHING,
        )
        for flag in flags
    ]
