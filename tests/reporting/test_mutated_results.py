"""The results of each study with one node replaced: they are shown or refused in one line, whatever it is."""

import io
import json
from pathlib import Path

import pytest

from advkeras.cli.console import PlainConsole
from advkeras.errors import InvalidInputError
from advkeras.reporting.documents import read_documents

from ..fuzzing.mutations import places
from ..fuzzing.readers import shortened

VALUES = (None, [], {}, -1, 10**30, 1e308, "../../\x1b[2J|<b>")
# Of so many that are shown, one is drawn for the terminal, which takes most of the time.
_DRAWN = 3
CONSOLE = PlainConsole(file=io.StringIO(), force_terminal=True, width=120)


def show(path: Path, terminal: bool) -> str:
    """The Markdown, and what the terminal gets."""
    CONSOLE.file = io.StringIO()
    (document,) = read_documents(path)
    for each in (*document.tables, document.caption) if terminal else ():
        CONSOLE.print(each)
    return CONSOLE.file.getvalue() + document.markdown


@pytest.mark.parametrize("name", ["mnist", "mnist-boundaries", "mnist-detection", "mnist-curve"])
def test_results_are_shown_or_refused_whatever_is_in_the_place_of_a_node(tmp_path, name):
    data = json.loads(shortened(name))
    path = tmp_path / "results.json"
    shown = refused = 0
    for inside, key in list(places(data)):
        whole = inside[key]
        for value in VALUES:
            inside[key] = value
            path.write_text(json.dumps(data))
            try:
                text = show(path, terminal=not shown % _DRAWN)
            except InvalidInputError as error:
                assert len(str(error).splitlines()) == 1
                refused += 1
            else:
                assert "\x1b[2J" not in text
                shown += 1
        inside[key] = whole
    assert shown + refused > 600
    assert min(shown, refused) > 100


def test_results_that_are_too_large_are_not_read(tmp_path, monkeypatch):
    (tmp_path / "results.json").write_bytes(shortened("mnist"))
    monkeypatch.setenv("ADVKERAS_MAX_BYTES", "1kB")
    with pytest.raises(InvalidInputError, match=r"results.json takes more than is read; the limit is 1.02 kB"):
        read_documents(tmp_path / "results.json")


@pytest.mark.parametrize(
    "content", ["", "{", "[" * 100_000, "null", '"x"', "1" * 5_000, "NaN", '{"a": 1e999}', "\ud800"]
)
def test_what_is_no_json_is_one_line(tmp_path, content):
    path = tmp_path / "results.json"
    path.write_bytes(content.encode(errors="surrogatepass"))
    with pytest.raises(InvalidInputError, match=r"results.json does not hold the results of an evaluation") as error:
        read_documents(path)
    assert len(str(error.value).splitlines()) == 1
