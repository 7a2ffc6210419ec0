"""A disk that fills up in the middle of a run: one line, and the run goes on when there is space."""

import subprocess

import numpy as np
import pytest

from advkeras.attacks import AttackResult

from ..commands import run

COMMAND = ("evaluate", "--model", "mnist-natural", "--attack", "fgsm", "--examples", 40, "--slice", 5)


@pytest.fixture
def disk(tmp_path):
    """A small disk, as a folder, and what makes it larger."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(size, *options):
        return subprocess.run(
            ["mount", "-t", "tmpfs", "-o", ",".join((*options, f"size={size}")), "tmpfs", folder],
            capture_output=True,
            check=False,
        )

    if mount("100k").returncode:
        pytest.skip("mounting a disk takes rights that this process does not have")
    yield folder, lambda: mount("50m", "remount")
    subprocess.run(["umount", folder], check=True)


def test_a_run_goes_on_when_there_is_space_again(disk, tmp_path):
    folder, enlarge = disk
    failed = run(*COMMAND, "--output", folder, code=2)
    last = failed.stderr.strip().splitlines()[-1]
    assert last.startswith("Error: cannot write ")
    assert last.endswith("No space left on device")
    done = {path.name: path.stat().st_mtime_ns for path in (folder / "units").glob("*.npz")}
    assert 0 < len(done) < 40
    assert not list(folder.rglob(".writing-*"))
    enlarge()
    run(*COMMAND, "--output", folder)
    assert all((folder / "units" / name).stat().st_mtime_ns == written for name, written in done.items())
    run(*COMMAND, "--output", tmp_path / "other")
    found, expected = (
        AttackResult.read(place / "mnist-natural" / "fgsm.npz") for place in (folder, tmp_path / "other")
    )
    np.testing.assert_array_equal(found.adversarials, expected.adversarials)
