"""``--workers``: the results of one process, also of attacks of one's own, and where a worker is killed."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import psutil
import pytest

from ..runs.sums import wait_for

REPOSITORY = Path(__file__).parents[2]
COMMAND = (
    *(sys.executable, "-m", "advkeras", "--load", str(REPOSITORY / "examples" / "momentum_fgsm.py"), "evaluate"),
    *("--model", "mnist-natural", "--attack", "mi-fgsm,optbrittle", "--set", "optbrittle.gradients=10"),
    *("--examples", "8", "--slice", "2"),
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed"),
]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The folder of one process."""
    folder = tmp_path_factory.mktemp("alone")
    subprocess.run([*COMMAND, "--output", str(folder)], cwd=REPOSITORY, check=True, capture_output=True)
    return folder


def check_same(folder, alone):
    """All arrays are equal to the bit."""
    names = sorted(path.name for path in (alone / "mnist-natural").iterdir())
    assert names == ["benign.npz", "mi-fgsm.npz", "optbrittle.npz"]
    for name in names:
        one, other = (dict(np.load(place / "mnist-natural" / name)) for place in (alone, folder))
        assert all(np.array_equal(one[key], other[key]) for key in one if key != "facts")


def workers(process):
    """The processes of a command's workers."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            if child.cmdline()[0].startswith("ray::Worker"):
                found.append(child)
        except (psutil.Error, IndexError):
            continue
    return found


@pytest.mark.parametrize("killed", [False, True])
def test_two_workers_give_the_results_of_one_process(alone, tmp_path, killed):
    log = tmp_path / "log"
    with log.open("w") as stream:
        process = subprocess.Popen(
            [*COMMAND, "--output", str(tmp_path / "run"), "--workers", "2"], cwd=REPOSITORY, stderr=stream
        )
    if killed:
        wait_for(lambda: len(list((tmp_path / "run" / "units").glob("*.npz"))) >= 2, seconds=300)
        assert len(workers(process)) == 2
        workers(process)[0].kill()
    assert process.wait(timeout=600) == 0, log.read_text()
    check_same(tmp_path / "run", alone)
    assert ("the process that computed it died; it is tried again" in log.read_text()) == killed
