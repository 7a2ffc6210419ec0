"""The scripts that say whether tests notice faults: each fault still has a place in the code."""

import ast
import importlib
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


@pytest.mark.parametrize(
    "script",
    sorted(path for folder in ("benchmarks", "scripts", "examples") for path in (REPOSITORY / folder).glob("*.py")),
    ids=lambda path: f"{path.parent.name}/{path.stem}",
)
def test_what_a_script_imports_of_the_package_is_there(script):
    """Scripts run for hours, and seldom: what has moved since is to be found before that."""
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "advkeras":
            module = importlib.import_module(node.module)
            for name in (each.name for each in node.names):
                assert hasattr(module, name) or importlib.util.find_spec(f"{node.module}.{name}"), name
