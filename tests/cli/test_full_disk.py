"""A disk that fills up in the middle of a run: one line, and the run goes on when there is space."""

import hashlib
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from advkeras.attacks import AttackResult
from advkeras.boundary import BoundarySearch
from advkeras.boundary.detector import BoundaryDetector
from advkeras.datasets import MNIST, originals
from advkeras.errors import InvalidInputError
from advkeras.training.recipes import TrainingRecipe
from advkeras.training.trainer import train

from ..commands import error_of, run

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
    # Logs of a training that has failed may still be open.
    subprocess.run(["umount", "--lazy", folder], check=True)


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


def test_a_preparation_leaves_nothing_on_a_full_disk(disk, tmp_path, monkeypatch):
    folder, _ = disk
    content = np.random.default_rng(0).bytes(200_000)
    raw = tmp_path / "raw"
    raw.mkdir()
    known = originals.ORIGINALS["mnist"]
    digests = dict.fromkeys(known.digests, hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(originals.ORIGINALS, "mnist", replace(known, digests=digests))
    for name in digests:
        (raw / f"{name}-idx{3 if 'images' in name else 1}-ubyte").write_bytes(content)
    said = error_of("datasets", "prepare", "mnist", "--from", raw, "--data-dir", folder)
    assert said.endswith(f"cannot write to the folder {folder}: No space left on device")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("filled", [50_000, 98_000])
def test_a_training_that_finds_no_room_is_one_line(disk, sample, small, filled):
    folder, enlarge = disk
    recipe = TrainingRecipe.default(MNIST, "none", epochs=1)
    (folder / "other").write_bytes(bytes(filled))

    def again():
        return train(recipe, MNIST, sample.first(256), sample.first(50), folder / "mine", report=lambda _: None)

    with pytest.raises(InvalidInputError, match="cannot write .*No space left on device") as error:
        again()
    assert len(str(error.value).splitlines()) == 1
    assert not list((folder / "mine").glob("[0-9]*"))
    enlarge()
    assert again().folder == folder / "mine" / "1"


def test_a_detector_has_its_name_once_it_is_whole(disk, natural):
    folder, enlarge = disk
    search = BoundarySearch(directions=100, step=0.05, reach=0.5)
    detector = BoundaryDetector.build(search, natural)
    (folder / "other").write_bytes(bytes(60_000))
    with pytest.raises(InvalidInputError, match="cannot write .*No space left on device|cannot write .*detector"):
        detector.save(folder / "detector.keras")
    assert [path.name for path in folder.iterdir()] == ["other"]
    enlarge()
    detector.save(folder / "detector.keras")
    assert BoundaryDetector.load(folder / "detector.keras").search == search
