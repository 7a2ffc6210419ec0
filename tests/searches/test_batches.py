"""Batches that are filled up, so that XLA sees few shapes."""

import numpy as np
import pytest

from advkeras.searches.batches import filled


@pytest.mark.parametrize(
    ("count", "batch_size", "size"),
    [(1, 64, 1), (10, 64, 16), (16, 64, 16), (17, 64, 32), (33, 64, 64), (64, 64, 64), (2, 5, 2), (3, 5, 5)],
)
def test_a_batch_is_filled_with_copies_up_to_a_half_or_a_quarter_of_its_size(count, batch_size, size):
    indices = np.arange(7, 7 + count)
    found = filled(indices, batch_size)
    assert len(found) == size
    np.testing.assert_array_equal(found[:count], indices)
    assert set(found) == set(indices)
