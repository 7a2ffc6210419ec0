"""Puts known faults into the code, one at a time, and tells which of them the tests notice.

    python scripts/faults.py [WORD ...]

Those of faults.toml: each is a line or two of a kind that once went unnoticed. It is put into a copy of the checkout,
and the tests beside it are run there; words choose among the faults. The exit code is the number of faults that go
unnoticed. Some twenty minutes on two cores.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).parents[1]


class Fault(NamedTuple):
    """One change that makes the code wrong.

    Attributes:
        what: it does, in words.
        file: that is changed, below advkeras/.
        right: what stands there, once.
        wrong: what is put in its place.
        tests: that are to fail.
    """

    what: str
    file: str
    right: str
    wrong: str
    tests: str


FAULTS = tuple(Fault(**each) for each in tomllib.loads((REPOSITORY / "scripts" / "faults.toml").read_text())["fault"])


def noticed(fault: Fault, checkout: Path) -> bool:
    """Whether a test fails with the fault in a copy of the checkout, which is as it was afterwards."""
    file = checkout / "advkeras" / fault.file
    text = file.read_text()
    if text.count(fault.right) != 1:
        raise SystemExit(f"{fault.what}: {fault.file} has {text.count(fault.right)} times: {fault.right}")
    file.write_text(text.replace(fault.right, fault.wrong))
    try:
        finished = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider", *fault.tests.split()],
            cwd=checkout,
            env={**os.environ, "PYTHONPATH": str(checkout)},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        file.write_text(text)
    if finished.returncode not in (0, 1):
        raise SystemExit(f"{fault.what}: the tests did not run:\n{finished.stdout}{finished.stderr}")
    return finished.returncode == 1


def main() -> int:
    """Tries the faults that the command line chooses."""
    unnoticed = 0
    with tempfile.TemporaryDirectory() as folder:
        checkout = Path(folder) / "checkout"
        shutil.copytree(REPOSITORY, checkout, ignore=shutil.ignore_patterns(".git", ".venv", "__pycache__"))
        for fault in FAULTS:
            if not all(word in fault.what for word in sys.argv[1:]):
                continue
            found = noticed(fault, checkout)
            unnoticed += not found
            print("noticed" if found else "NOT NOTICED", "-", fault.what, flush=True)
    return unnoticed


if __name__ == "__main__":
    sys.exit(main())
