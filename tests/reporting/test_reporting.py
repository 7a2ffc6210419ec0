"""Tables and pictures from results on disk."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from advkeras import records
from advkeras.attacks import AttackResult
from advkeras.errors import InvalidInputError
from advkeras.evaluation.comparison import Comparison
from advkeras.evaluation.paper import PaperRow
from advkeras.evaluation.results import Distortion, Evaluation, ModelResult, RegionSettings, Row
from advkeras.proportion import Proportion
from advkeras.provenance import Provenance
from advkeras.reporting.comparison_tables import comparison_markdown
from advkeras.reporting.documents import block_marks, read_documents, replace_block
from advkeras.reporting.figures import example_picture
from advkeras.reporting.tables import markdown_tables, rich_tables

REPOSITORY = Path(__file__).parents[2]

BLOCK_START, BLOCK_END = block_marks("results")
EVALUATION = Evaluation(
    dataset="mnist",
    dataset_title="MNIST",
    bounds=(0.0, 1.0),
    data_source="made up",
    examples=100,
    protocol="quick",
    seed=0,
    region=RegionSettings(0.3, 100),
    models=(
        ModelResult(
            name="made-up",
            source="made-up",
            checksum="",
            rows=(
                Row(
                    attack="benign",
                    title="Benign",
                    config={},
                    region=Proportion(99, 100),
                    point=Proportion(100, 100),
                    paper=PaperRow(region=0.98, point=0.97),
                ),
                Row(
                    attack="optmargin",
                    title="OptMargin",
                    config={},
                    region=Proportion(1, 100),
                    point=Proportion(0, 100),
                    success=Proportion(33, 99),
                    distortion=Distortion(mean=0.1503, low=0.14, high=0.1606, median=0.149),
                    gradient_count=123_400,
                    seconds=7.0,
                    paper=PaperRow(1.0, 0.158, 0.02, 0.0),
                ),
            ),
        ),
    ),
    provenance=Provenance(
        command="advkeras evaluate",
        versions={"advkeras": "0", "tensorflow": "2", "keras": "3"},
        device="made-up device",
        seconds=12.0,
        finished="",
    ),
)


def test_tables_show_our_figures_beside_the_papers():
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    for table in rich_tables(EVALUATION):
        console.print(table)
    lines = [" ".join(line.split()) for line in console.export_text().splitlines()]
    assert "OptMargin 33.3 [25, 43] 100 0.150 ± 0.01 0.158 1,246 7.0" in lines
    assert "Benign 99 [95, 100] 98 100 [96, 100] 97" in lines
    assert "OptMargin 1 [0, 5] 2 0 [0, 4] 0" in lines
    assert not any("…" in line for line in lines)


def test_markdown_tables_replace_the_block_of_a_document():
    text = f"before\n{BLOCK_START}\nold\n{BLOCK_END}\nafter\n"
    replaced = replace_block(text, markdown_tables(EVALUATION), "README.md")
    assert replaced.startswith(f"before\n{BLOCK_START}\n")
    assert replaced.endswith(f"{BLOCK_END}\nafter\n")
    assert "| OptMargin | 33.3 [25, 43] | *100* | 0.150 ± 0.01 | *0.158* | 1,246 | 7.0 |" in replaced
    assert "old" not in replaced
    with pytest.raises(InvalidInputError, match=r"README.md lacks the lines"):
        replace_block("no block", "", "README.md")


@pytest.mark.parametrize(
    ("document", "results", "block"),
    [
        ("README.md", "mnist", "results"),
        ("docs/mnist.md", "mnist", "results"),
        ("docs/cifar10.md", "cifar10", "results"),
        ("docs/curve.md", "mnist-curve", "curve"),
        ("docs/boundaries.md", "mnist-boundaries", "mnist"),
        ("docs/boundaries.md", "cifar10-boundaries", "cifar10"),
        ("docs/boundaries.md", "mnist-detection", "detection"),
    ],
)
def test_documents_show_the_results_that_are_in_the_repository(document, results, block):
    found = read_documents(REPOSITORY / "docs" / "results" / f"{results}.json")[0]
    start, end = block_marks(block)
    assert f"{start}\n{found.markdown}{end}" in (REPOSITORY / document).read_text()


def test_the_page_on_comparing_shows_the_comparison_that_is_in_the_repository():
    content = (REPOSITORY / "docs" / "results" / "mnist-compare.json").read_bytes()
    found = records.record_of(Comparison, content, what="a comparison", schema_version=1)
    start, end = block_marks("compare")
    assert f"{start}\n{comparison_markdown(found)}{end}" in (REPOSITORY / "docs" / "compare.md").read_text()


def test_without_the_papers_figures_there_are_no_columns_for_them():
    model = EVALUATION.models[0]
    bare = replace(EVALUATION, models=(replace(model, rows=tuple(replace(row, paper=None) for row in model.rows)),))
    assert "| Attack | Success % | RMS | Grads | s |" in markdown_tables(bare)
    assert "| Images | Region % | Point % |" in markdown_tables(bare)


def test_files_that_hold_no_results_are_refused(tmp_path):
    with pytest.raises(
        InvalidInputError, match=r"holds none of results.json, boundaries.json, detection.json, curve.json"
    ):
        read_documents(tmp_path)
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(InvalidInputError, match=r"other.json does not hold the results of an evaluation"):
        read_documents(tmp_path / "other.json")
    with pytest.raises(InvalidInputError, match=r"cannot read .*missing.json: No such file"):
        read_documents(tmp_path / "missing.json")


def test_proportions_have_wilsons_interval():
    low, high = Proportion(8, 10).interval()
    assert (round(low, 4), round(high, 4)) == (0.4902, 0.9433)
    assert Proportion(0, 0).interval() == (0.0, 1.0)
    assert np.isnan(Proportion(0, 0).rate)


@pytest.mark.parametrize("suffix", [".png", ".svg"])
@pytest.mark.parametrize("count", [1, 12])
def test_a_picture_is_drawn(tmp_path, sample, suffix, count):
    images = sample.images[:count]
    examples = AttackResult(
        images=images,
        adversarials=np.clip(images + 0.1, 0, 1),
        labels=sample.labels[:count],
        predictions=sample.labels[:count],
        benign_predictions=sample.labels[:count],
        success=np.arange(count) % 2 == 0,
        attacked=np.ones(count, bool),
        distortion=np.full(count, 0.1, np.float32),
        zero_gradients=np.zeros(count, np.int32),
        nonfinite_gradients=np.zeros(count, np.int32),
        forward_count=count,
        gradient_count=count,
        seconds=1.0,
    )
    path = tmp_path / f"picture{suffix}"
    example_picture(examples, path, bounds=(0, 1), class_names=tuple("0123456789"), title="Made up")
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG" if suffix == ".png" else b"<?xml")
    assert len(content) > 5_000
