"""The scripts that say whether tests notice faults: each fault still has a place in the code."""

import importlib.util
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


def faults():
    spec = importlib.util.spec_from_file_location("faults", REPOSITORY / "scripts" / "faults.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.FAULTS


@pytest.mark.parametrize("fault", faults(), ids=lambda fault: fault.what)
def test_each_fault_can_be_put_in(fault):
    assert (REPOSITORY / "advkeras" / fault.file).read_text().count(fault.right) == 1
    assert fault.wrong != fault.right
    assert all((REPOSITORY / place).exists() for place in fault.tests.split())
