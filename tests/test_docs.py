"""The pages of docs/ that show what their code prints."""

import contextlib
import io
import re
from pathlib import Path

import pytest

PAGES = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```\n```text\n(?P<output>.*?)^```", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"\d+(?:\.\d+)?")


@pytest.mark.parametrize("page", ["boundaries.md"])
def test_code_prints_what_the_page_shows(page):
    """Numbers may differ a little: on another processor the last bits do, and searches end a step apart."""
    blocks = list(BLOCK.finditer((PAGES / page).read_text()))
    assert blocks
    names: dict[str, object] = {}
    for block in blocks:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(block["code"], names)
        shown, got = block["output"], printed.getvalue()
        assert NUMBER.sub("#", got) == NUMBER.sub("#", shown), got
        for new, old in zip(NUMBER.findall(got), NUMBER.findall(shown), strict=True):
            slack = 0.1 if "." in old else 0
            assert float(new) == pytest.approx(float(old), rel=0.05, abs=slack), got
