"""Changes the code in random places, one at a time, and tells how many of the changes the tests notice.

    pip install cosmic-ray 'pytest>=9'
    python scripts/mutants.py [--mutants 100] [--seed 0] [--jobs 2] [--report FILE]

Cosmic Ray finds the places in the rooms below and makes the changes, in a copy of the checkout; type annotations are
left alone. The sample is drawn by place, so that an operator that can be replaced by ten others counts once. Each
change is met with the tests of its room, first those that name its file, until one fails. A hundred take some hours on
two cores, one job on each (`TF_NUM_INTRAOP_THREADS=1`); what is done stands in the report, and is not done again. Go on
with the same code: the sample is of it. A change that Cosmic Ray cannot make does not count; the next takes its place.
"""

import argparse
import ast
import json
import multiprocessing
import os
import random
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from attrs import evolve
from cosmic_ray.commands import init
from cosmic_ray.mutating import mutate_and_test
from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import MutationSpec

REPOSITORY = Path(__file__).parents[1]
# A test of all classes, which comes first, and the tests of each room, in the order in which they run.
OF_CLASSES = "tests/test_classes.py"
TESTS = {
    "searches": "tests/searches tests/attacks",
    "attacks": "tests/attacks/test_base.py tests/searches tests/attacks tests/test_examples.py "
    "tests/evaluation/test_estimate.py tests/evaluation/test_flags.py",
    "regions": "tests/test_voting.py tests/defenses tests/attacks/test_closed_form.py",
    "training": "tests/training",
    "boundary": "tests/boundary tests/evaluation/test_boundaries.py tests/evaluation/test_detection.py",
}
# Seconds that a test may take, and all of a room: a loop that has no end counts as noticed.
TEST_TIMEOUT, TIMEOUT = 180, 1_800


def annotations(path: Path) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Where a file's type annotations, and the types in its assignments, begin and end."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        for name in ("annotation", "returns"):
            part = getattr(node, name, None)
            if part is not None:
                found.append(((part.lineno, part.col_offset), (part.end_lineno, part.end_col_offset)))
    return found


def drawn(checkout: Path, seed: int) -> list[MutationSpec]:
    """A change at each place, in random order; the files are relative to the checkout."""
    files = sorted(file for room in TESTS for file in (checkout / "advkeras" / room).glob("*.py"))
    with use_db(checkout / "mutants.sqlite", WorkDB.Mode.create) as database:
        init(files, database, {})
        specs = [mutation for item in database.work_items for mutation in item.mutations]
    typed = {str(file): annotations(file) for file in files}
    places: dict[tuple[str, tuple[int, int]], list[MutationSpec]] = {}
    for spec in specs:
        start = tuple(spec.start_pos)
        if not any(first <= start < last for first, last in typed[str(spec.module_path)]):
            places.setdefault((str(spec.module_path), start), []).append(spec)
    generator = random.Random(seed)
    order = sorted(places)
    generator.shuffle(order)
    chosen = [generator.choice(sorted(places[place], key=lambda spec: spec.operator_name)) for place in order]
    return [evolve(spec, module_path=Path(spec.module_path).relative_to(checkout)) for spec in chosen]


def copied(folder: str) -> Path:
    """Goes into a copy of the checkout, in which files can be changed and tests run."""
    checkout = Path(tempfile.mkdtemp(dir=folder)) / "checkout"
    shutil.copytree(REPOSITORY, checkout, ignore=shutil.ignore_patterns(".git", ".venv", "__pycache__"))
    os.chdir(checkout)
    os.environ["PYTHONPATH"] = str(checkout)
    return checkout


def tests_of(file: Path) -> str:
    """The tests of a file's room; those that name the file come first, since they are likeliest to notice."""
    places = TESTS[file.parts[0]]
    files = [test for place in places.split() for test in sorted(Path(place).rglob("test_*.py"))]
    naming = [test for test in files if re.search(rf"\b{file.stem}\b", test.read_text(), re.IGNORECASE)]
    return " ".join([OF_CLASSES, *(str(test) for test in naming), places])


def tried(spec: MutationSpec) -> dict[str, Any]:
    """Whether the tests notice a change, and what it is."""
    file = spec.module_path.relative_to("advkeras")
    options = (
        f"-x -q -n 0 -p no:cacheprovider -o faulthandler_timeout={TEST_TIMEOUT} -o faulthandler_exit_on_timeout=true"
    )
    command = f"{sys.executable} -m pytest {options} {tests_of(file)}"
    result = mutate_and_test([spec], command, TIMEOUT)
    outcome = str(getattr(result.test_outcome, "value", result.test_outcome))
    changed = [line for line in (result.diff or "").splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    return {"file": str(file), "line": spec.start_pos[0], "change": changed, "outcome": outcome}


def counted(rows: list[dict[str, Any]], outcomes: tuple[str, ...] = ("killed", "survived")) -> int:
    """How many changes had one of some outcomes: one that Cosmic Ray cannot make has neither."""
    return sum(row["outcome"] in outcomes for row in rows)


def main() -> None:
    """Draws, tries and reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--jobs", type=int, default=1, help="changes tried at once, each by a process with its own copy"
    )
    parser.add_argument("--report", type=Path, default=Path("mutants.json"))
    options = parser.parse_args()
    report = options.report.resolve()
    rows = json.loads(report.read_text()) if report.exists() else []
    with tempfile.TemporaryDirectory() as folder:
        specs = drawn(copied(folder), options.seed)
        with multiprocessing.get_context("spawn").Pool(options.jobs, initializer=copied, initargs=(folder,)) as pool:
            for row in pool.imap(tried, specs[len(rows) :]):
                if counted(rows) >= options.mutants:
                    break
                rows.append(row)
                report.write_text(json.dumps(rows, indent=1) + "\n")
                print(len(rows), row["outcome"], row["file"], row["line"], *row["change"], flush=True)
    print(f"{counted(rows, ('killed',))} of {counted(rows)} noticed")


if __name__ == "__main__":
    main()
