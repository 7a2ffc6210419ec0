"""Runs the Python blocks of a page in docs/ and writes what they print into the text blocks behind them.

python scripts/fill_outputs.py docs/boundaries.md
"""

import contextlib
import io
import re
import sys
from pathlib import Path

BLOCK = re.compile(r"^(```python\n(.*?)^```\n```text\n)(.*?)^```", re.MULTILINE | re.DOTALL)

page, names = Path(sys.argv[1]), {}


def filled(match: re.Match[str]) -> str:
    """The block with what it prints now."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(match[2], names)
    return f"{match[1]}{printed.getvalue()}```"


page.write_text(BLOCK.sub(filled, page.read_text()))
