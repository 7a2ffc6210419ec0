"""What the benchmarks share: data, times, the table and the JSON file."""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if "tensorflow" in sys.modules and "TF_ENABLE_ONEDNN_OPTS" not in os.environ:
    raise SystemExit("import advkeras before TensorFlow, so that benchmarks run as it does")

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from advkeras import provenance
from advkeras.datasets import LabelledImages, load, load_sample
from advkeras.models import Classifier, zoo
from advkeras.reporting.documents import block_marks, replace_block

RESULTS = Path(__file__).parent / "results"
PAGES = Path(__file__).parents[1] / "docs"


def models() -> list[Classifier]:
    """The zoo's MNIST models."""
    return [Classifier.load(name) for name in zoo.names_for("mnist")]


def digits(count: int, *, skip: int = 0) -> LabelledImages:
    """The first images of the shipped sample, after those that are skipped."""
    sample = load_sample("mnist")
    return sample.where(np.arange(len(sample)) >= skip).first(count)


def beyond_sample(dataset: str, count: int) -> LabelledImages:
    """The first images of the test set that are not in the shipped sample: no setting was chosen on them.

    They are read from the full set: ``advkeras datasets prepare`` first, ``ADVKERAS_DATA_DIR`` says where it lies.
    """
    skipped = len(load_sample(dataset))
    data = load(dataset, examples=skipped + count)
    return data.where(data.places >= skipped)


def once(path: Path, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What is measured, and in ``seconds`` the time that took; read from the file where it has been measured before."""
    if not path.exists():
        start = time.perf_counter()
        found = measure()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"seconds": round(time.perf_counter() - start, 2), **found}))
    known: dict[str, Any] = json.loads(path.read_text())
    return known


def mean(values: Any) -> float | None:
    """The mean, if there is anything to take it of."""
    return float(np.mean(values)) if len(values) else None


def seconds(function: Callable[[], Any]) -> float:
    """Wall-clock time of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def alternating(functions: dict[str, Callable[[], Any]], *, rounds: int, warm_up: bool = True) -> dict[str, float]:
    """The median time of each function, called in turns, so that a slow moment of the machine hits all of them."""
    for function in functions.values() if warm_up else ():
        function()
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            times[name].append(seconds(function))
    return {name: float(np.median(values)) for name, values in times.items()}


def in_turns(pairs: Sequence[tuple[float, float, float]]) -> dict[str, Any]:
    """Times of one thing between two of another, as columns: the median ratio, and its quartiles."""
    ratios = [2 * middle / (before + after) for before, middle, after in pairs]
    return {
        "ratio": float(np.median(ratios)),
        "quartiles": "{:.3f} to {:.3f}".format(*np.percentile(ratios, [25, 75])),
    }


def of_checkout(folder: Path) -> dict[str, str]:
    """The environment of a process that runs a checkout's code."""
    return {**os.environ, "PYTHONPATH": str(folder), "TF_CPP_MIN_LOG_LEVEL": "3"}


def peak_of(command: list[str], checkout: Path, *, limit: float = np.inf) -> tuple[int, float, int]:
    """Peak of the memory of a command's processes together, in bytes; seconds; exit code.

    Args:
        command: Python's arguments.
        checkout: whose code runs.
        limit: bytes beyond which it is killed.
    """
    start, peak = time.perf_counter(), 0
    with tempfile.TemporaryFile() as output:
        process = psutil.Popen(
            [sys.executable, *command], cwd=checkout, env=of_checkout(checkout), stdout=output, stderr=output
        )
        while process.poll() is None:
            together = 0
            for each in (process, *process.children(recursive=True)):
                try:
                    together += each.memory_info().rss
                except psutil.Error:
                    continue  # it has just ended
            peak = max(peak, together)
            if together > limit:
                process.kill()
            time.sleep(0.02)
        if process.returncode > 0:
            output.seek(0)
            print(output.read().decode()[-1_000:], file=sys.stderr)
    return peak, time.perf_counter() - start, process.returncode


def report(name: str, title: str, rows: list[dict[str, Any]], **facts: Any) -> None:
    """Prints rows as a table and writes them, with the machine's description, to results/NAME.json and NAME.md.

    The pages in docs/ that have a block of that name show the table there.
    """
    heads = [column.replace("_", " ") for column in rows[0]]
    left = [isinstance(value, str) for value in rows[0].values()]
    texts = [[_text(value) for value in row.values()] for row in rows]
    table = Table(title=title)
    for head, is_left in zip(heads, left, strict=True):
        table.add_column(head, justify="left" if is_left else "right")
    for text in texts:
        table.add_row(*text)
    Console(width=160).print(table)
    lines = [heads, ["---" if is_left else "---:" for is_left in left], *texts]
    markdown = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    written = {
        "title": title,
        "command": provenance.command_line(),
        "machine": {
            "device": provenance.device(),
            "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
            "versions": provenance.versions(),
        },
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        **facts,
        "rows": [
            {key: float(f"{value:.5g}") if isinstance(value, float) else value for key, value in row.items()}
            for row in rows
        ],
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(written, indent=2) + "\n")
    machine = f"{provenance.device()}, TensorFlow {provenance.versions()['tensorflow']}"
    tables = f"**{title}** ({machine})\n\n{markdown}\n"
    (RESULTS / f"{name}.md").write_text(tables)
    for page in PAGES.glob("*.md"):
        text = page.read_text()
        if block_marks(name)[0] in text:
            page.write_text(replace_block(text, tables, page.name, name))


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
