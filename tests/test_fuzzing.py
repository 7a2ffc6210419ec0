"""All readers of files from elsewhere, on valid files that were changed: they read them or refuse them."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .fuzzing.readers import TARGETS, content_of, executed

REPOSITORY = Path(__file__).parents[1]
# Some three hundred changes of each kind of file take ten seconds together.
EXAMPLES = {"hdf5": 60, "run": 60, "picture": 120}


@pytest.mark.parametrize("name", TARGETS)
def test_readers_read_what_is_whole(name, tmp_path):
    for seed in TARGETS[name].seeds():
        assert executed(name, seed, tmp_path) == ""


@pytest.mark.parametrize("name", TARGETS)
def test_readers_refuse_what_was_changed_in_one_line(name, tmp_path_factory, monkeypatch):
    monkeypatch.setenv("ADVKERAS_MAX_BYTES", "64MB")
    folder = tmp_path_factory.mktemp("files")

    @settings(max_examples=EXAMPLES.get(name, 200), deadline=None, database=None)
    @given(st.integers(0, 2**40))
    def check(number):
        assert executed(name, content_of(name, number), folder) == ""

    check()


def test_the_script_runs_without_tensorflow(tmp_path):
    code = (
        "import sys; sys.path.insert(0, 'scripts'); import fuzz; sys.exit('tensorflow' in sys.modules or fuzz.main())"
    )
    arguments = ("--executions", "40", "--only", "card", "plan", "--keep", tmp_path / "kept")
    found = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    assert not (tmp_path / "kept").exists()
