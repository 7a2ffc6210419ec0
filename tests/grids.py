"""Cases of a parametrised test of which the fast tests run some, and the slow ones the rest."""

from collections.abc import Iterable
from itertools import product
from typing import Any

import pytest


def grid(*axes: Iterable[Any], fast: Iterable[tuple[Any, ...]]) -> list[Any]:
    """All combinations of the axes' values; those that ``fast`` does not name are slow tests."""
    quick, combinations = list(fast), list(product(*axes))
    assert all(case in combinations for case in quick), "fast names a case that there is not"
    return [case if case in quick else pytest.param(*case, marks=pytest.mark.slow) for case in combinations]
