"""Detectors of adversarial examples: trained, tested, and beside a simpler one."""

from dataclasses import replace

import numpy as np
import pytest

from advkeras.attacks import FGSM, OptBrittle
from advkeras.boundary import BoundarySearch
from advkeras.boundary.detector import BoundaryDetector
from advkeras.boundary.threshold import balanced_threshold
from advkeras.datasets import LabelledImages, registry
from advkeras.defenses.region_classification import RegionClassification
from advkeras.errors import InvalidInputError
from advkeras.evaluation import detection_results
from advkeras.evaluation.detection import detect
from advkeras.evaluation.detection_results import AGREEMENT, BOUNDARIES, read_detection
from advkeras.randomness import derive_seed
from advkeras.reporting.documents import read_documents

from ..conftest import FEATURES, SHAPE, linear_classifier

SEARCH = BoundarySearch(directions=40, negatives=True, step=0.03, reach=1.0)
SPEC = registry.own("made-up", bounds=(0.0, 1.0), shape=SHAPE, class_names=("ant", "bee", "cow"))
CLASSIFIER = linear_classifier(3 * np.random.default_rng(2).standard_normal((FEATURES, 3)), np.zeros(3))


@pytest.fixture
def data() -> LabelledImages:
    images = np.random.default_rng(0).uniform(0.2, 0.8, (100, *SHAPE)).astype(np.float32)
    return LabelledImages(images, CLASSIFIER.predict(images), "made-up images", "test")


def test_examples_right_behind_a_boundary_are_detected(data, tmp_path):
    report = detect(
        CLASSIFIER,
        data,
        SPEC,
        train_attacks=[OptBrittle()],
        test_attacks=[OptBrittle(), FGSM(epsilon=0.3)],
        search=SEARCH,
        output=tmp_path,
        steps=200,
    )
    boundaries, agreement = report.rows
    assert (boundaries.detector, agreement.detector) == (BOUNDARIES, AGREEMENT)
    assert boundaries.false_positives.of == 20
    assert boundaries.false_negatives["OptBrittle"].of == 20
    for row in report.rows:
        assert row.auc["OptBrittle"] > 0.9
        assert row.false_negatives["OptBrittle"].rate <= 0.2
    assert report.distortion["OptBrittle"] < report.distortion["FGSM"]
    assert read_detection(tmp_path) == report
    assert read_documents(tmp_path / "detection.json")[0].markdown.count("| OptBrittle | FGSM |") == 2
    loaded = BoundaryDetector.load(tmp_path / "linear" / "detector-optbrittle.keras")
    found = SEARCH(CLASSIFIER, data.images[80:])
    assert (loaded.score(found) > 0.5).sum() == boundaries.false_positives.count


def test_nothing_of_the_test_part_is_trained_on(data, tmp_path, monkeypatch):
    trained = []
    monkeypatch.setattr(BoundaryDetector, "fit", lambda _, *kinds, **__: trained.extend(kinds))
    attacks = [OptBrittle()]
    detect(CLASSIFIER, data, SPEC, train_attacks=attacks, test_attacks=attacks, search=SEARCH, output=tmp_path, steps=1)
    benign, brittle = trained
    np.testing.assert_array_equal(benign.distances, SEARCH(CLASSIFIER, data.images[:80]).distances)
    assert len(brittle.classes) == 80


def test_the_threshold_of_agreement_is_fitted_to_the_training_part(data, tmp_path, monkeypatch):
    given = []

    def threshold(benign, adversarial):
        given.append((benign, adversarial))
        return balanced_threshold(benign, adversarial)

    monkeypatch.setattr(detection_results, "balanced_threshold", threshold)
    attacks = [OptBrittle()]
    detect(CLASSIFIER, data, SPEC, train_attacks=attacks, test_attacks=attacks, search=SEARCH, output=tmp_path, steps=1)
    ((benign, brittle),) = given
    assert len(benign) == len(brittle) == 80
    seed = derive_seed(0, "region agreement")[0]
    layer = RegionClassification(CLASSIFIER, radius=SPEC.region_radius, samples=SPEC.region_samples, seed=seed)
    votes = layer.predict(data.images[:80])["votes"]
    np.testing.assert_allclose(benign, 1 - votes[np.arange(80), data.labels[:80]] / votes.sum(axis=1), atol=1e-6)


def test_an_attack_that_never_succeeds_on_the_test_part_has_no_figures(data, tmp_path):
    report = detect(
        CLASSIFIER,
        data,
        SPEC,
        train_attacks=[OptBrittle()],
        test_attacks=[FGSM(epsilon=0.0), OptBrittle()],
        search=SEARCH,
        output=tmp_path,
        steps=1,
    )
    assert [row.auc["FGSM"] for row in report.rows] == [None, None]
    assert read_detection(tmp_path) == report
    assert "| OptBrittle | FGSM | - |" in read_documents(tmp_path)[0].markdown
    assert report.attacks["FGSM"]["epsilon"] == 0.0


def test_what_cannot_be_done_is_refused_before_anything_is_crafted(data, tmp_path, monkeypatch):
    monkeypatch.setattr(OptBrittle, "run", lambda *_: pytest.fail("examples were crafted"))
    other = linear_classifier(np.zeros((FEATURES, 2)), np.array([0.0, 2.0]))
    common = {"train_attacks": [OptBrittle()], "test_attacks": [OptBrittle()], "search": SEARCH, "output": tmp_path}
    for arguments, message in (
        ({"steps": 0}, "steps must be at least 1. Received: steps=0"),
        ({"search": replace(SEARCH, directions=30)}, "a detector needs at least 36 directions"),
        ({"test_attacks": [OptBrittle(seed=1)]}, "attacks must have different names. Received: optbrittle, optbrittle"),
        ({"classifier": other}, "linear does not fit made-up"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            detect(data=data, spec=SPEC, **{"classifier": CLASSIFIER, **common, **arguments})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (slice(0, 4), "the training part has no Benign images. Received: images=3"),
        (slice(3, 4), "the test part has no benign images that are classified correctly. Received: images=4"),
    ],
)
def test_a_part_without_images_is_refused(data, tmp_path, wrong, message):
    few = data.first(4)
    few.labels[wrong] = (few.labels[wrong] + 1) % 3
    attacks = [OptBrittle()]
    with pytest.raises(InvalidInputError, match=message):
        detect(
            CLASSIFIER, few, SPEC, train_attacks=attacks, test_attacks=attacks, search=SEARCH, output=tmp_path, steps=1
        )
    (tmp_path / "detection.json").write_text("[]")
    with pytest.raises(InvalidInputError, match="does not hold detectors"):
        read_detection(tmp_path)
