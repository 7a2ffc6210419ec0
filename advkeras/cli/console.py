"""What all commands print with: consoles, errors in one line, progress bars."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console, ConsoleOptions
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.text import Text

from advkeras.errors import AdvkerasError, plain_text

# Characters of a line that is printed, of a caption for example, and of an error.
_LINE, _ERROR = 20_000, 2_000


class PlainConsole(Console):
    """A console to which text is plain text, whoever wrote it: it has no markup, and does not steer the terminal."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Text of a string, on one line."""
        return super().render_str(plain_text(text, _LINE), **{**options, "markup": False, "emoji": False})

    def render(self, renderable: Any, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """What is printed, piece by piece; all that is no string goes through here."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                lines = [plain_text(line, _LINE) for line in segment.text.split("\n")]
                yield Segment("\n".join(lines), segment.style)

    def print_json(self, json: str | None = None, **options: Any) -> None:
        """JSON in which all that is not ASCII is escaped, so that it is the same JSON and steers no terminal."""
        super().print_json(json, **{**options, "ensure_ascii": True})


out = PlainConsole()
err = PlainConsole(stderr=True)


def fail(error: AdvkerasError) -> int:
    """Prints an error as one line on standard error and returns the exit code."""
    line = plain_text(" ".join(str(error).split()), _ERROR)
    err.print(Text.assemble(("Error:", "bold red"), " ", line), soft_wrap=True)
    return error.exit_code


def counted(number: int, noun: str) -> str:
    """``1 image``, ``1,000 images``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """``40 s``, ``12 min``, ``3.5 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"


def describe_accuracy(name: str, measured: Mapping[str, Any]) -> str:
    """One line about an accuracy as a model card has it."""
    return (
        f"{name:>7}: {measured['rate']:.2%} of {measured['of']:,} images "
        f"(95% interval {measured['low']:.2%} to {measured['high']:.2%})"
    )


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A progress bar with the time left, on standard error; silent where that is no terminal."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, disable=not err.is_terminal, transient=True) as progress:
        yield progress


def counting(progress: Progress, description: str) -> Callable[[int, int], None]:
    """A new task of a progress bar, as a function of what is done and what there is to do."""
    task = progress.add_task(plain_text(description, 100), total=None)
    return lambda done, total: progress.update(task, completed=done, total=total)


def import_tensorflow() -> None:
    """Imports TensorFlow without the lines that its C++ side writes before any log level applies.

    They go to the file descriptor of standard error; they are kept and shown if the import fails.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()
            # It takes the same attack on several models for one function that is traced again and again.
            tf.get_logger().setLevel("ERROR")
        except BaseException:
            caught.seek(0)
            os.write(saved, caught.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)
