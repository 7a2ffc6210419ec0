"""The members that a minimum-norm search has to fool."""

import numpy as np
import pytest
import tensorflow as tf

from advkeras.searches.ensembles import FixedEnsemble


def fixed(count, **changed):
    offsets = np.arange(count, dtype=np.float32).reshape(-1, 1, 1, 1) / 100
    return FixedEnsemble(**{"bounds": (0.0, 1.0), "targeted": False, "offsets": offsets, "clip": False, **changed})


@pytest.mark.parametrize("count", [12, 20])
def test_a_large_ensembles_members_take_turns(count):
    ensemble = fixed(count, confidence=0.0)
    few = ensemble.few
    assert few.few is None
    points = np.full((2, 1, 1, 1), 0.5, np.float32)
    shared = [tf.convert_to_tensor(value) for value in few.shared]
    seen = [np.asarray(few.members(points, None, tf.constant(step), shared)) for step in range(count // few.size)]
    assert all(members.shape == (2, few.size, 1, 1, 1) for members in seen)
    everything = ensemble.members(points, None, tf.constant(0), shared)
    np.testing.assert_array_equal(np.concatenate(seen, axis=1), everything)
    again = few.members(points, None, tf.constant(count // few.size), shared)
    np.testing.assert_array_equal(again, seen[0])


def test_a_small_ensemble_is_looked_at_as_a_whole():
    assert fixed(4, confidence=0.0).few is None


def test_members_that_take_turns_are_clipped_as_the_others():
    few = fixed(20, confidence=0.0, clip=True).few
    members = few.members(np.ones((1, 1, 1, 1), np.float32), None, tf.constant(1), [*map(tf.constant, few.shared)])
    np.testing.assert_array_equal(members, np.ones((1, few.size, 1, 1, 1)))
