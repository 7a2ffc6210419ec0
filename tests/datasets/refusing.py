"""What tests of hostile files have in common."""

import tracemalloc
from contextlib import contextmanager

import pytest

from advkeras import datasets
from advkeras.errors import InvalidInputError

MIB = 2**20


@contextmanager
def at_most(size):
    """Makes sure that no more memory is taken at any time while this holds."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < size, f"{peak / MIB:.0f} MiB"


def refused(path, message, **said):
    with pytest.raises(InvalidInputError, match=message) as error:
        datasets.find(path, bounds=(0, 255), **said).load(at_most=3)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 1_000
    assert "pickle=" not in str(error.value)
