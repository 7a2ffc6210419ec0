"""One folder for several runs: what is added to it, what is shared, and what there is of an unfinished one."""

import threading
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from advkeras.arrays import no_progress
from advkeras.attacks import AttackResult, Square
from advkeras.boundary import BoundarySearch
from advkeras.datasets import LabelledImages, registry
from advkeras.errors import InvalidInputError
from advkeras.evaluation.boundaries import measure_boundaries
from advkeras.evaluation.protocol import Protocol
from advkeras.evaluation.results import read
from advkeras.evaluation.runner import evaluate
from advkeras.models import Classifier
from advkeras.models.usage import Usage
from advkeras.reporting.documents import read_documents
from advkeras.runs.execute import Watch
from advkeras.runs.shard import shard
from advkeras.runs.store import Store

from ..conftest import FEATURES, SHAPE, linear_classifier

SPEC = registry.own("made-up", bounds=(0.0, 1.0), shape=SHAPE, class_names=("ant", "bee", "cow"))
WEIGHTS = 3 * np.random.default_rng(2).standard_normal((FEATURES, 3)), np.zeros(3)
CLASSIFIER = linear_classifier(*WEIGHTS)


class Counting(Watch):
    """Counts what is computed, by title."""

    def __init__(self):
        self.titles = []

    @contextmanager
    def working(self, unit):
        self.titles.append(unit.title)
        yield no_progress


@pytest.fixture
def data() -> LabelledImages:
    images = np.random.default_rng(0).uniform(0.2, 0.8, (20, *SHAPE)).astype(np.float32)
    return LabelledImages(images, CLASSIFIER.predict(images), "made-up images", "test")


def protocol(*attacks, **options):
    """FGSM, and query attacks of a small budget: nothing that takes long to compile."""
    few = {"square": {"queries": 20}}
    chosen = {name: few[name] for name in attacks if name in few}
    built = Protocol.build(SPEC, attacks=attacks, parameters=chosen, **options)
    return replace(built, region_samples=5)


def rows(evaluation):
    return [(row.attack, row.point, row.region, row.distortion) for row in evaluation.models[0].rows]


def test_models_and_attacks_that_answer_the_same_question_stand_in_one_table(data, tmp_path):
    first = evaluate([CLASSIFIER], data, SPEC, protocol("fgsm"), tmp_path)
    watch = Counting()
    both = evaluate([CLASSIFIER], data, SPEC, protocol("square"), tmp_path, watch=watch)
    assert {title for title in watch.titles if "FGSM" in title or "Benign" in title} == set()
    assert [row.attack for row in both.models[0].rows] == ["benign", "square", "fgsm"]
    assert rows(both)[2] == rows(first)[1]
    other = Classifier(CLASSIFIER, bounds=(0, 1), input_shape=SHAPE, name="other")
    found = evaluate([other], data, SPEC, protocol("fgsm"), tmp_path)
    assert [model.name for model in found.models] == ["other", "linear"]
    assert read(tmp_path) == found
    assert evaluate([CLASSIFIER], data, SPEC, protocol("fgsm", seed=1), tmp_path).models[0].rows[1:][1:] == ()


def test_a_model_that_has_changed_does_not_stand_beside_its_old_rows(data, tmp_path):
    evaluate([CLASSIFIER], data, SPEC, protocol("fgsm"), tmp_path)
    changed = Classifier(lambda x: 2 * CLASSIFIER(x), bounds=(0, 1), input_shape=SHAPE, name="linear")
    found = evaluate([changed], data, SPEC, protocol("square"), tmp_path)
    assert [row.attack for row in found.models[0].rows] == ["benign", "square"]


def test_many_few_and_many_again_computes_nothing_the_third_time(data, tmp_path):
    watch = Counting()
    first = evaluate([CLASSIFIER], data, SPEC, protocol("fgsm"), tmp_path, watch=watch)
    few = evaluate([CLASSIFIER], data.first(5), SPEC, protocol("fgsm"), tmp_path, watch=watch)
    assert (few.examples, read(tmp_path).examples) == (5, 5)
    known = len(watch.titles)
    third = evaluate([CLASSIFIER], data, SPEC, protocol("fgsm"), tmp_path, watch=watch)
    assert len(watch.titles) == known
    assert rows(third) == rows(first)
    for evaluation in (first, few):
        for row in evaluation.models[0].rows:
            assert len(AttackResult.read(tmp_path / row.examples_file).labels) == evaluation.examples


def test_boundaries_take_the_examples_that_are_there(data, tmp_path):
    evaluate([CLASSIFIER], data, SPEC, protocol("fgsm"), tmp_path)
    watch = Counting()
    search = BoundarySearch(directions=12, negatives=True, step=0.05, reach=1.0)
    attacks = protocol("fgsm").attacks
    measure_boundaries([CLASSIFIER], data, SPEC, attacks, search, tmp_path, watch=watch)
    assert watch.titles == ["linear: boundaries, Benign", "linear: boundaries, FGSM"]
    assert len(read_documents(tmp_path)) == 2
    measure_boundaries([CLASSIFIER], data, SPEC, (Square(epsilon=0.1, queries=20),), search, tmp_path)
    boundaries = read_documents(tmp_path)[1].markdown
    assert [line.split("|")[1].strip() for line in boundaries.splitlines()[4:7]] == ["Benign", "Square", "FGSM"]


def test_slices_and_shares_give_the_same_results_as_one_process(data, tmp_path):
    asked = protocol("fgsm", "square")
    whole = evaluate([CLASSIFIER], data, SPEC, asked, tmp_path / "whole", slice_size=6)
    for number in (2, 1):
        part = evaluate([CLASSIFIER], data, SPEC, asked, tmp_path / "parts", slice_size=6, compute=shard(f"{number}/2"))
        assert (part.units_left > 0) == (number == 2)
    assert rows(part) == rows(whole)
    for row in whole.models[0].rows:
        one, other = (AttackResult.read(tmp_path / name / row.examples_file) for name in ("whole", "parts"))
        np.testing.assert_array_equal(one.adversarials, other.adversarials)
    other_slices = evaluate([CLASSIFIER], data, SPEC, asked, tmp_path / "other", slice_size=20, convergence=False)
    assert [(row.attack, row.point, row.region) for row in other_slices.models[0].rows] == [
        (row.attack, row.point, row.region) for row in whole.models[0].rows
    ]


def test_an_unfinished_run_shows_what_is_done(data, tmp_path):
    class Stopping(Counting):
        @contextmanager
        def working(self, unit):
            if len(self.titles) == 7:
                raise KeyboardInterrupt
            with super().working(unit) as progress:
                yield progress

    with pytest.raises(KeyboardInterrupt):
        evaluate([CLASSIFIER], data, SPEC, protocol("fgsm"), tmp_path, slice_size=5, watch=Stopping())
    assert not (tmp_path / "results.json").exists()
    (document,) = read_documents(tmp_path)
    assert document.caption.startswith("Unfinished: ")
    assert "units are left; rows are of what is done." in document.caption
    assert "| Benign | 100 [" in document.markdown
    finished = evaluate([CLASSIFIER], data, SPEC, protocol("fgsm"), tmp_path, slice_size=5)
    assert finished.units_left == 0
    assert "Unfinished" not in read_documents(tmp_path)[0].caption


def test_what_shares_have_computed_is_put_together_by_the_report(data, tmp_path):
    asked = protocol("fgsm")
    expected = evaluate([CLASSIFIER], data, SPEC, asked, tmp_path / "whole", slice_size=5)
    evaluate([CLASSIFIER], data, SPEC, asked, tmp_path / "run", slice_size=5, compute=shard("1/2"))
    left = evaluate([CLASSIFIER], data, SPEC, asked, tmp_path / "run", slice_size=5, compute=shard("2/2"))
    assert left.units_left == 0
    (tmp_path / "run" / "results.json").unlink()
    (document,) = read_documents(tmp_path / "run")
    assert "Unfinished" not in document.caption
    assert rows(read(tmp_path / "run")) == rows(expected)


def test_two_at_once_have_all_rows(data, tmp_path):
    def evaluated(name):
        evaluate([CLASSIFIER], data, SPEC, protocol(name), tmp_path, slice_size=5)

    threads = [threading.Thread(target=evaluated, args=(name,)) for name in ("fgsm", "square")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {row.attack for row in read(tmp_path).models[0].rows} == {"benign", "fgsm", "square"}


def test_a_slice_that_makes_no_sense_is_refused(data, tmp_path):
    with pytest.raises(InvalidInputError, match="slice must be at least 1. Received: slice=0"):
        evaluate([CLASSIFIER], data, SPEC, protocol("fgsm"), tmp_path, slice_size=0)
    assert Store(tmp_path).digests() == set()


def used(**usage):
    """The same network, said to be used otherwise."""
    classifier = linear_classifier(*WEIGHTS)
    classifier.usage = Usage(**usage)
    return classifier


def test_a_model_that_is_used_otherwise_adds_no_rows(data, tmp_path):
    evaluate([used()], data, SPEC, protocol("square"), tmp_path, slice_size=10)
    otherwise = evaluate([used(threshold=0.25)], data, SPEC, protocol("fgsm"), tmp_path, slice_size=10)
    assert [row.attack for row in otherwise.models[0].rows] == ["benign", "fgsm"]
    assert otherwise.models[0].usage == {"threshold": 0.25}
    again = evaluate([used()], data, SPEC, protocol("fgsm"), tmp_path, slice_size=10)
    assert [row.attack for row in again.models[0].rows] == ["benign", "fgsm", "square"]


def test_boundaries_of_a_model_that_is_used_otherwise_add_no_rows(data, tmp_path):
    search = BoundarySearch(directions=4, step=0.1, reach=0.5)
    measure_boundaries([used(threshold=0.25)], data, SPEC, protocol("fgsm").attacks, search, tmp_path)
    report, _ = measure_boundaries([used()], data, SPEC, (), search, tmp_path)
    assert [row.kind for row in report.models["linear"]] == ["benign"]
    again, _ = measure_boundaries([used(threshold=0.25)], data, SPEC, (), search, tmp_path)
    assert [row.kind for row in again.models["linear"]] == ["benign", "fgsm"]
    assert again.usages == {"linear": {"threshold": 0.25}}
