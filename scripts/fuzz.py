"""Mutates valid files and gives them to all readers, which may refuse them in one line and do nothing else.

    python scripts/fuzz.py [--executions 1000000] [--only NAME ...] [--seed 0] [--keep FOLDER]
    python scripts/fuzz.py --again NAME NUMBER

Bits are flipped, parts cut out, doubled and put elsewhere, values of JSON replaced by others of all kinds; what is
packed, an array or an archive, is also mutated before it is packed (tests/fuzzing). TensorFlow is not needed. A crash,
any exception but advkeras's own, an execution of more than two seconds, and executions that take more than 1 GB are
kept in the folder, once for each place in the code, and can be had again by their number. The exit code is the number
of places: a million take an hour on one core.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
BATCH = 500
MOST_MEMORY = 2**30
sys.path.insert(0, str(REPOSITORY))
os.environ["ADVKERAS_MAX_BYTES"] = "64MB"

from tests.fuzzing.readers import TARGETS, content_of, executed  # noqa: E402


def batch(name: str, numbers: range, folder: Path) -> list[tuple[int, str]]:
    """What went wrong in some executions, in a process of their own; a crash is one of them."""
    told = folder / "told"
    told.unlink(missing_ok=True)
    child = os.fork()
    if not child:
        with told.open("w") as stream, tempfile.TemporaryDirectory(dir=folder) as scratch:
            for number in numbers:
                stream.seek(0, os.SEEK_END)
                if wrong := executed(name, content_of(name, number), Path(scratch)):
                    print(json.dumps([number, wrong]), file=stream, flush=True)
                (folder / "at").write_text(str(number))
        os._exit(0)
    _, code, used = os.wait4(child, 0)
    lines = [json.loads(line) for line in told.read_text().splitlines()] if told.exists() else []
    found = [(number, wrong) for number, wrong in lines]
    if used.ru_maxrss * 1_024 > MOST_MEMORY:
        found.append((numbers[0], f"{name}: {used.ru_maxrss // 1_024} MB in {len(numbers)} executions from here\n"))
    if code:
        at = int((folder / "at").read_text()) + 1 if (folder / "at").exists() else numbers[0]
        found.append((at, f"{name}: died with {os.waitstatus_to_exitcode(code)}\n"))
    return found


def main() -> int:
    """Mutates, reads and reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executions", type=int, default=1_000_000)
    parser.add_argument("--only", nargs="*", choices=[*TARGETS], default=[*TARGETS])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"))
    parser.add_argument("--again", nargs=2, metavar=("NAME", "NUMBER"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as scratch:
        folder = Path(scratch)
        if options.again:
            name, number = options.again
            print(executed(name, content_of(name, int(number)), folder) or "nothing")
            return 0
        resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, 4 * 2**30))
        shares = {name: TARGETS[name].weight for name in options.only}
        done, kept, start, total = dict.fromkeys(shares, 0), set(), time.monotonic(), 0
        while total < options.executions:
            name = min(shares, key=lambda each: done[each] / shares[each])
            first = options.seed * 10**9 + done[name]
            size = min(BATCH, options.executions - total)
            for number, wrong in batch(name, range(first, first + size), folder):
                what = wrong.splitlines()[0]
                if what not in kept:
                    kept.add(what)
                    options.keep.mkdir(exist_ok=True)
                    (options.keep / f"{name}-{number}").write_bytes(content_of(name, number))
                    (options.keep / f"{name}-{number}.txt").write_text(wrong)
                    print(what, f"({name} {number})", flush=True)
            done[name] += size
            total += size
            if total // 20_000 > (total - size) // 20_000:
                print(f"{total:,} executions, {time.monotonic() - start:.0f} s, {len(kept)} places", flush=True)
        print(json.dumps(done))
    return len(kept)


if __name__ == "__main__":
    sys.exit(main())
