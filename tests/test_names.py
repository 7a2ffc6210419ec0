"""Names and text from elsewhere: whoever chose them, they lead nowhere else, and steer no terminal."""

import io
import json
import string
import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

from advkeras import records
from advkeras.attacks import AttackResult
from advkeras.cli.console import PlainConsole
from advkeras.errors import InvalidInputError, plain_text
from advkeras.evaluation.flags import raised
from advkeras.evaluation.protocol import Protocol
from advkeras.evaluation.runner import evaluate
from advkeras.files import safe_name
from advkeras.models import Classifier
from advkeras.reporting.documents import read_documents
from advkeras.reporting.figures import drawn, example_picture
from advkeras.reporting.layout import markdown_table, plain_table
from advkeras.reporting.tables import markdown_tables
from advkeras.runs.plan import Plan, PlannedUnit
from advkeras.runs.store import Store

from .commands import error_of, run
from .conftest import SHAPE
from .evaluation.test_run_folder import CLASSIFIER, SPEC
from .fuzzing.runs import run_seeds, whole_run
from .grids import grid
from .reporting.test_reporting import EVALUATION

EVIL = "\x1b[2J\x9b31m\u202e|<script>x</script>\n](http://x) $\\frac$ _"
LEADING_OUT = ("../../x", "/etc/x", "..", ".", "", "a/../../b", "C:\\x", "\\\\x\\y", "con", ".hidden", "\x00", "-rf")
texts = st.text(st.characters(), max_size=150)


@given(texts)
@example("../../x")
@example("a~b")
@example("é")
def test_a_name_is_one_part_of_a_path_on_all_systems(name):
    safe = safe_name(name)
    assert 0 < len(safe.encode()) <= 100
    assert not set(safe) & set('/\\:*?"<>|\0')
    assert safe.isprintable()
    assert safe[0] not in " .-"
    assert safe[-1] not in " ."
    assert safe.split(".")[0].lower() not in ("con", "nul", "com1")
    assert unicodedata.normalize("NFC", safe) == safe or "~" in safe


@given(texts, texts)
def test_different_names_stay_different(one, other):
    assert (safe_name(one) == safe_name(other)) == (one == other)


def test_usual_names_are_left_as_they_are():
    for name in ("mnist-natural", "mine.keras", "My model (2)", "Katze ä", "v1.2+x@y", "optmargin"):
        assert safe_name(name) == name
    assert all("~" in safe_name(name) for name in LEADING_OUT)


@given(texts, st.integers(10, 60))
def test_text_is_one_printable_line_of_some_length(text, limit):
    line = plain_text(text, limit)
    assert line.isprintable()
    assert len(line) <= limit
    if text.isprintable() and len(text) <= limit:
        assert line == text


def test_text_shows_what_was_escaped():
    assert plain_text("a\x1b[2J\n\u202eb\u00a0c") == r"a\x1b[2J\n\u202eb c"
    assert plain_text(12.5) == "12.5"
    assert plain_text("x" * 1_000_000).endswith("x...")
    assert len(plain_text("x" * 1_000_000)) == 300


def shown(print_all) -> str:
    console = PlainConsole(file=io.StringIO(), force_terminal=True, width=200)
    print_all(console)
    return console.file.getvalue()


def test_the_console_steers_the_terminal_only_by_itself():
    def print_all(console):
        console.print(EVIL, style="red")
        console.print(Text(EVIL))
        console.print(plain_table(EVIL, (EVIL,), [(EVIL,)]))
        table = Table(title=Text(EVIL))
        table.add_column(Text(EVIL))
        table.add_row(EVIL)
        console.print(table)
        console.print_json(json.dumps({EVIL: [EVIL]}))

    said = shown(print_all)
    assert "\x1b[2J" not in said
    assert "\x9b" not in said
    assert "\u202e" not in said
    assert r"\x1b[2J" in said
    assert json.loads(shown(lambda console: console.print_json(json.dumps(EVIL), highlight=False))) == EVIL


def test_markdown_stays_a_table():
    lines = markdown_table(EVIL, ("a", EVIL), [("1", EVIL), (EVIL, "2")]).splitlines()
    assert len(lines) == 6
    assert all(line.count("|") == 3 for line in lines[2:])
    assert not any("<script>" in line or "](http" in line or "\x1b" in line for line in lines)
    plain = replace(EVALUATION, flags=(raised("few-images", "few"),))
    evil = replace(
        plain,
        data_source=EVIL,
        models=(replace(EVALUATION.models[0], name=EVIL),),
        flags=(raised("few-images", EVIL, model=EVIL),),
    )
    text = markdown_tables(evil)
    assert not set(text) & {"\x1b", "\u202e"}
    assert "<" not in text
    assert len(text.splitlines()) == len(markdown_tables(plain).splitlines())


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_pictures_draw_names_as_they_are(tmp_path, sample, suffix):
    images = sample.images[:1]
    none = np.zeros(1, np.int32)
    found = AttackResult(
        **{"images": images, "adversarials": images, "labels": none, "predictions": none, "benign_predictions": none},
        **{"success": none > 0, "attacked": none == 0, "distortion": np.zeros(1, np.float32), "zero_gradients": none},
        **{"nonfinite_gradients": none, "forward_count": 1, "gradient_count": 0, "seconds": 0.0},
    )
    path = tmp_path / f"a{suffix}"
    example_picture(found, path, bounds=(0, 1), class_names=(EVIL,), title=EVIL)
    assert b"<script>" not in path.read_bytes()
    assert drawn("_x") == " _x"


def folders(parent: Path) -> set[str]:
    return {str(path.relative_to(parent)) for path in parent.rglob("*") if path.is_file() and "run" not in path.parts}


@pytest.mark.parametrize(("name",), grid(LEADING_OUT, fast=[("../../x",), ("/etc/x",), ("",), ("C:\\x",)]))
def test_whatever_a_model_is_called_its_files_lie_in_the_runs_folder(tmp_path, name):
    data = CLASSIFIER_DATA
    classifier = Classifier(CLASSIFIER, bounds=(0, 1), input_shape=SHAPE, name=name)
    asked = replace(Protocol.build(SPEC, attacks=("fgsm",)), region_samples=2)
    output = tmp_path / "a" / "b" / "run"
    found = evaluate([classifier], data, SPEC, asked, output, convergence=False)
    assert folders(tmp_path) == set()
    for row in found.models[0].rows:
        assert len(AttackResult.read(output / row.examples_file).labels) == len(data)
    assert found.models[0].name == name


def made_data():
    from advkeras.datasets import LabelledImages

    images = np.random.default_rng(0).uniform(0.2, 0.8, (3, *SHAPE)).astype(np.float32)
    return LabelledImages(images, CLASSIFIER.predict(images), "made-up images", "test")


CLASSIFIER_DATA = made_data()


def test_a_store_writes_nothing_outside_its_folder(tmp_path):
    store = Store(tmp_path / "run")
    (tmp_path / "run").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "run" / "link").symlink_to(tmp_path / "other")
    for name in ("../x", "/etc/x", "a/../../x", "link/x"):
        with pytest.raises(InvalidInputError, match="would lie outside the folder"):
            store.write(name, b"")
        with pytest.raises(InvalidInputError, match="would lie outside the folder"), store.writing(name):
            pass
    assert folders(tmp_path) == set()
    store.write("a/x", b"")


def test_a_plan_reads_and_removes_nothing_outside_its_folder(tmp_path):
    """A unit that is damaged is removed; a digest that leads elsewhere is none."""
    kept = tmp_path / "mine.npz"
    kept.write_bytes(b"no result")
    store = Store(tmp_path / "run")
    assert store.result("../../mine") is None
    assert store.result(str(tmp_path / "mine")) is None
    whole_run(tmp_path)
    plan = json.loads(run_seeds()[0])["plan"]
    plan["units"][0]["digest"] = "../../mine"
    with pytest.raises(InvalidInputError, match="units.0.digest"):
        records.of_plain(Plan, plan, what="a plan")
    evil = replace(
        records.of_plain(Plan, json.loads(run_seeds()[0])["plan"], what="a plan"),
        units=(PlannedUnit("../../mine", "x"),),
    )
    store.write(f"plans/{evil.digest}.json", records.as_json(evil))
    with pytest.raises(InvalidInputError, match="holds none of"):
        read_documents(tmp_path / "run")
    assert kept.exists()


def test_commands_take_names_that_are_no_markup_and_too_long_for_a_file(tmp_path):
    for name in ("[/]", "[bold]x[/]", "\x1b[2J", "../../x"):
        for command in (("datasets", "prepare", name), ("report", name), ("status", name)):
            said = error_of(*command)
            assert said.isprintable()
    assert run("datasets").exit_code == 0
    assert set(error_of("report", tmp_path / "\x1b[2J")) <= set(string.printable)
