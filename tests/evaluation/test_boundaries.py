"""Boundaries around benign images and adversarial examples: rows, resuming, figures and tables."""

from dataclasses import replace

import numpy as np
import pytest

from advkeras.attacks import FGSM, OptBrittle
from advkeras.boundary import BoundarySearch, purity
from advkeras.datasets import MNIST, LabelledImages, registry
from advkeras.errors import InvalidInputError
from advkeras.evaluation.boundaries import measure_boundaries
from advkeras.evaluation.boundary_results import read_report
from advkeras.evaluation.protocol import boundary_search
from advkeras.reporting.boundary_figures import distances_figure, instance_figure, purity_figure
from advkeras.reporting.boundary_tables import boundary_markdown
from advkeras.reporting.documents import read_documents
from advkeras.runs.execute import Watch

from ..conftest import FEATURES, SHAPE, linear_classifier

SEARCH = BoundarySearch(directions=12, negatives=True, step=0.03, reach=1.5)
SPEC = registry.own("made-up", bounds=(0.0, 1.0), shape=SHAPE, class_names=("ant", "bee", "cow"))
ATTACKS = (OptBrittle(), FGSM(epsilon=0.0))
CLASSIFIER = linear_classifier(np.random.default_rng(2).standard_normal((FEATURES, 3)), np.zeros(3))


@pytest.fixture
def data() -> LabelledImages:
    images = np.random.default_rng(0).uniform(0.2, 0.8, (10, *SHAPE)).astype(np.float32)
    labels = CLASSIFIER.predict(images)
    labels[3] = (labels[3] + 1) % 3  # one that is classified wrongly
    return LabelledImages(images, labels, "made-up images", "test")


def test_rows_say_what_was_found(data, tmp_path):
    report, measured = measure_boundaries([CLASSIFIER], data, SPEC, ATTACKS, SEARCH, tmp_path)
    benign, brittle, fgsm = report.models["linear"]
    assert (benign.images, brittle.images, fgsm.images) == (9, 9, 0)
    entry = measured["linear"][0]
    assert entry.indices.tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    np.testing.assert_array_equal(entry.images, data.images[entry.indices])
    found = SEARCH(CLASSIFIER, entry.images)
    np.testing.assert_array_equal(entry.found.distances, found.distances)
    assert benign.unmet == pytest.approx((found.adjacent == -1).mean())
    expected = np.median(found.distances)
    assert (benign.median_distance or np.inf) == pytest.approx(expected)
    assert benign.purity == pytest.approx(np.nanmean(purity(found.adjacent, 3), axis=0))
    # Right behind a boundary there is only the class that the example came from.
    assert brittle.median_distance < expected
    assert brittle.purity[0] == pytest.approx(1.0)
    assert (fgsm.median_distance, fgsm.purity) == (None, ())
    assert read_report(tmp_path) == report
    document = read_documents(tmp_path)[0]
    assert len(document.tables) == 1
    assert document.markdown.count("| OptBrittle | 9 |") == 1
    assert document.caption in document.markdown


def test_what_is_there_is_not_made_again(data, tmp_path, monkeypatch):
    first, measured = measure_boundaries([CLASSIFIER], data, SPEC, ATTACKS[:1], SEARCH, tmp_path)
    known = []

    class Asked(Watch):
        def planned(self, units, there):
            known.append([unit.title for unit in units if unit.digest not in there])

    again, remeasured = measure_boundaries([CLASSIFIER], data, SPEC, ATTACKS[:1], SEARCH, tmp_path, watch=Asked())
    assert known == [[]]
    assert again.models == first.models
    np.testing.assert_array_equal(remeasured["linear"][1].found.adjacent, measured["linear"][1].found.adjacent)
    other = replace(SEARCH, seed=1)
    monkeypatch.setattr(OptBrittle, "run", lambda *_: pytest.fail("the examples were crafted again"))
    measure_boundaries([CLASSIFIER], data, SPEC, ATTACKS[:1], other, tmp_path, watch=Asked())
    assert known[1] == ["linear: boundaries, Benign", "linear: boundaries, OptBrittle"]


def test_damaged_results_are_named_or_made_again(data, tmp_path):
    report, _ = measure_boundaries([CLASSIFIER], data, SPEC, (), SEARCH, tmp_path)
    (tmp_path / "linear" / "benign-boundaries.npz").write_text("damaged")
    for path in (tmp_path / "units").iterdir():
        path.write_bytes(b"PK")
    again, _ = measure_boundaries([CLASSIFIER], data, SPEC, (), SEARCH, tmp_path)
    assert again.models["linear"][0].median_distance == report.models["linear"][0].median_distance
    (tmp_path / "boundaries.json").write_text("{}")
    with pytest.raises(InvalidInputError, match="does not hold boundaries"):
        read_report(tmp_path)


def test_figures_and_tables_are_made(data, tmp_path):
    report, measured = measure_boundaries([CLASSIFIER], data, SPEC, ATTACKS, SEARCH, tmp_path)
    common = {"model": "linear", "class_names": SPEC.class_names}
    pictures = [
        *distances_figure(measured, report, tmp_path / "distances"),
        *purity_figure(measured, report, tmp_path / "purity"),
        *instance_figure(measured["linear"], report, tmp_path / "instance", **common),
        *instance_figure(measured["linear"], report, tmp_path / "wrong", **common, index=3),
    ]
    assert [path.suffix for path in pictures] == [".png", ".svg"] * 4
    for path in pictures:
        content = path.read_bytes()
        assert content.startswith(b"\x89PNG") or b"<svg" in content
    table = boundary_markdown(report)
    assert "made-up, linear: boundaries along 12 directions; a region's point is expected at RMS 0.0115" in table
    assert "| Benign | 9 |" in table
    assert "| FGSM | 0 | - | - | - | - | - |" in table


def test_models_of_one_name_are_refused(data, tmp_path):
    with pytest.raises(
        InvalidInputError, match=r"models must have different names: rename .* Received: linear, linear"
    ):
        measure_boundaries([CLASSIFIER, CLASSIFIER], data, SPEC, (), SEARCH, tmp_path)


def test_the_protocol_has_fewer_directions_unless_it_is_the_papers():
    quick, paper = boundary_search(MNIST), boundary_search(MNIST, mode="paper")
    assert (quick.directions, quick.stride) == (400, 5)
    assert (paper.directions, paper.stride) == (1568, 1)
    assert boundary_search(MNIST, directions=20).directions == 20
    assert boundary_search(MNIST, reach=0.7).reach == 0.7
    assert boundary_search(SPEC).directions == boundary_search(SPEC, mode="paper").directions == FEATURES
    assert boundary_search(SPEC).step == pytest.approx(2 / 255)
