"""The pages of docs/ that show what their code prints."""

import contextlib
import io
import re
from pathlib import Path

import pytest

from advkeras.attacks.registry import names
from advkeras.reporting.documents import block_marks

REPOSITORY = Path(__file__).parents[1]
PAGES = REPOSITORY / "docs"
BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```\n```text\n(?P<output>.*?)^```", re.MULTILINE | re.DOTALL)
# Benchmarks that no page quotes.
NOT_ON_A_PAGE = {
    *("checkouts", "copies", "growth", "half_precision", "minimum_norm_peers", "minimum_norm_peers_linf"),
    *("large", "onednn", "overhead", "reuse", "whole_pixels", "xla"),
}
NUMBER = re.compile(r"\d+(?:\.\d+)?")


@pytest.mark.parametrize(
    "result", sorted((REPOSITORY / "benchmarks" / "results").glob("*.md")), ids=lambda path: path.stem
)
def test_pages_show_what_benchmarks_have_written(result):
    start, end = block_marks(result.stem)
    shown = [page.read_text() for page in PAGES.glob("*.md") if start in page.read_text()]
    assert shown or result.stem in NOT_ON_A_PAGE
    for page in shown:
        assert page.partition(f"{start}\n")[2].partition(end)[0] == result.read_text()


def test_the_page_on_attacks_of_ones_own_shows_the_example():
    start, end = block_marks("momentum_fgsm")
    shown = (PAGES / "own_attack.md").read_text().partition(f"{start}\n")[2].partition(end)[0]
    assert shown == f"```python\n{(REPOSITORY / 'examples' / 'momentum_fgsm.py').read_text()}```\n"


def test_the_page_on_gates_shows_the_example():
    start, end = block_marks("gate")
    shown = (PAGES / "gate.md").read_text().partition(f"{start}\n")[2].partition(end)[0]
    assert shown == f"```yaml\n{(REPOSITORY / 'examples' / 'gate.yml').read_text()}```\n"


def test_every_attack_has_its_row():
    rows = re.findall(r"^\| `([\w-]+)` \|", (PAGES / "attacks.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(names())


@pytest.mark.slow
@pytest.mark.parametrize("page", ["boundaries.md", "compare.md"])
def test_code_prints_what_the_page_shows(page):
    """Numbers may differ a little: on another processor the last bits do, and searches end a step apart."""
    blocks = list(BLOCK.finditer((PAGES / page).read_text()))
    assert blocks
    namespace: dict[str, object] = {}
    for block in blocks:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(block["code"], namespace)
        shown, got = block["output"], printed.getvalue()
        assert NUMBER.sub("#", got) == NUMBER.sub("#", shown), got
        for new, old in zip(NUMBER.findall(got), NUMBER.findall(shown), strict=True):
            slack = 0.1 if "." in old else 0
            assert float(new) == pytest.approx(float(old), rel=0.05, abs=slack), got
