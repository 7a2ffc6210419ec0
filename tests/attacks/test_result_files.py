"""Files of adversarial examples that are damaged or lie: read whole, or refused in one line."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advkeras.attacks import AttackResult
from advkeras.errors import InvalidInputError

from ..fuzzing.files import packed
from ..fuzzing.mutations import of_npz

PIXELS = np.random.default_rng(0).random((3, 2, 2, 1)).astype(np.float32)
FACTS = {"forward_count": 1, "gradient_count": 2, "seconds": 0.5, "attack": "fgsm"}
WHOLE = {
    "images": PIXELS,
    "adversarials": PIXELS,
    **{name: np.arange(3, dtype=np.int32) for name in ("labels", "predictions", "benign_predictions")},
    **{name: np.zeros(3, np.int32) for name in ("zero_gradients", "nonfinite_gradients")},
    **{name: np.ones(3, bool) for name in ("success", "attacked")},
    "distortion": np.zeros(3, np.float32),
    "facts": np.array(json.dumps(FACTS)),
}
TRACED = {
    "trace_margins": np.zeros((3, 2), np.float32),
    **{f"trace_{name}": np.ones(3, np.int32) for name in ("stride", "steps", "queries", "begun", "best")},
}


def test_a_whole_file_is_read(tmp_path):
    (tmp_path / "a.npz").write_bytes(packed(**WHOLE))
    found = AttackResult.read(tmp_path / "a.npz")
    assert found.facts == {"attack": "fgsm"}
    assert found.success_rate == 1.0
    assert found.trace is None
    (tmp_path / "a.npz").write_bytes(packed(**WHOLE, **TRACED))
    np.testing.assert_array_equal(AttackResult.read(tmp_path / "a.npz").trace.margins, np.zeros((3, 2)))


def test_rates_are_of_what_was_attacked_and_distortions_of_what_succeeded(tmp_path):
    found = {
        "attacked": np.array([True, True, False]),
        "success": np.array([True, False, False]),
        "distortion": np.array([1, 2, 3], np.float32),
    }
    (tmp_path / "a.npz").write_bytes(packed(**{**WHOLE, **found}))
    result = AttackResult.read(tmp_path / "a.npz")
    assert (result.success_rate, result.average_distortion) == (0.5, 1.0)
    nothing = replace(result, attacked=np.zeros(3, bool), success=np.zeros(3, bool))
    assert np.isnan([nothing.success_rate, nothing.average_distortion]).all()


@pytest.mark.parametrize(
    "changed",
    [
        {"facts": np.array("[]")},
        {"facts": np.array("{")},
        {"facts": np.array("null")},
        {"facts": np.array(json.dumps({**FACTS, "seconds": None}))},
        {"facts": np.array(json.dumps({"seconds": 1.0}))},
        {"labels": np.arange(4)},
        {"labels": np.array(3)},
        {"success": np.ones(2, bool)},
        {"success": np.ones(3)},
        {"predictions": np.ones(3)},
        {"adversarials": PIXELS[:, :1]},
        {"images": PIXELS[..., 0], "adversarials": PIXELS[..., 0]},
        {"distortion": np.array(["a"] * 3)},
        {"distortion": np.array([None] * 3)},
        {**TRACED, "trace_margins": np.zeros(3, np.float32)},
        {**TRACED, "trace_margins": np.zeros((2, 3), np.float32)},
        {**TRACED, "trace_stride": np.zeros(3, np.int32)},
        {**TRACED, "trace_steps": np.zeros(3)},
    ],
    ids=str,
)
def test_a_file_that_does_not_fit_together_is_refused(tmp_path, changed):
    (tmp_path / "a.npz").write_bytes(packed(**{**WHOLE, **changed}))
    with pytest.raises(InvalidInputError, match="a.npz") as error:
        AttackResult.read(tmp_path / "a.npz")
    assert len(str(error.value).splitlines()) == 1


def test_a_changed_file_is_read_or_refused(tmp_path_factory):
    path = tmp_path_factory.mktemp("examples") / "a.npz"

    @settings(max_examples=150, deadline=None, database=None)
    @given(st.randoms(use_true_random=False))
    def check(draw):
        content = packed(**WHOLE, **TRACED)
        path.write_bytes(of_npz(content, [content], draw))
        try:
            AttackResult.read(path)
        except InvalidInputError as error:
            assert len(str(error).splitlines()) == 1

    check()
