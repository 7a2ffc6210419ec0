"""The wheel in an environment of its own, away from the checkout: what a user installs."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
LARGEST_WHEEL = 60e6


@pytest.mark.slow
def test_the_wheel_does_the_main_job_on_its_own(tmp_path):
    def run(*command: object) -> str:
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        return subprocess.run(
            [str(word) for word in command],
            cwd=tmp_path,
            env={**environment, "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, REPOSITORY)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.stat().st_size < LARGEST_WHEEL
    venv.create(tmp_path / "venv", with_pip=True)
    run(tmp_path / "venv" / "bin" / "pip", "install", "--quiet", wheel)
    program = tmp_path / "venv" / "bin" / "advkeras"
    models = json.loads(run(program, "models", "--json"))
    assert {Path(model["place"]).relative_to(tmp_path / "venv").parts[0] for model in models} == {"lib"}
    results = json.loads(run(program, "evaluate", "--attack", "fgsm", "--examples", 20, "--json"))
    assert [model["name"] for model in results["models"]] == ["mnist-natural", "mnist-pgd"]
    assert all(model["rows"][0]["point"]["count"] >= 19 for model in results["models"])
