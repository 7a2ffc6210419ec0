"""The attacks in examples/, as a user has them: loaded from their files."""

import json
import shlex
import shutil
from pathlib import Path
from string import Template

import numpy as np
import pytest
import yaml

from advkeras.attacks import FGSM, configure, registry
from advkeras.datasets import MNIST

from .commands import run
from .conftest import FEATURES, to_the_plane

EXAMPLES = Path(__file__).parents[1] / "examples"


pytestmark = pytest.mark.usefixtures("own_registry")


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.py")), ids=lambda file: file.stem)
def test_an_attack_is_one_short_file(file):
    assert len(file.read_text().splitlines()) <= 60


def test_attacks_from_outside_stand_in_the_table_are_counted_and_resumed(tmp_path):
    files = [Path(shutil.copy(file, tmp_path)) for file in sorted(EXAMPLES.glob("*.py"))]
    loads = [word for file in files for word in ("--load", file)]
    command = [
        *loads, "evaluate", "--model", "mnist-natural", "--examples", 4, "--attack", "mi-fgsm,deepfool",
        "--set", "mi-fgsm.iterations=7", "--set", "deepfool.iterations=12", "--output", tmp_path / "run",
        "--no-convergence-check", "--json",
    ]  # fmt: skip
    first = json.loads(run(*command).stdout)
    rows = {row["attack"]: row for row in first["models"][0]["rows"]}
    assert (rows["mi-fgsm"]["title"], rows["deepfool"]["title"]) == ("MI-FGSM", "DeepFool")
    assert rows["deepfool"]["success"]["count"] == 4
    assert rows["mi-fgsm"]["gradient_count"] == 4 * 7
    assert rows["mi-fgsm"]["config"]["epsilon"] == MNIST.epsilon
    # A forward pass has a gradient for each class; three more look at what came out, and what went in.
    assert rows["deepfool"]["gradient_count"] == 4 * 12 * 10
    made = (tmp_path / "run" / "mnist-natural" / "deepfool.npz").stat().st_mtime_ns
    again = json.loads(run(*command).stdout)
    assert again["models"] == first["models"]
    assert (tmp_path / "run" / "mnist-natural" / "deepfool.npz").stat().st_mtime_ns == made
    # Other code makes other examples.
    files[0].write_text(files[0].read_text() + "\n# changed\n")
    changed = json.loads(run(*command).stdout)
    made_of = {row["attack"]: row["examples_file"] for row in changed["models"][0]["rows"]}
    assert made_of["deepfool"] == "mnist-natural/deepfool-2.npz"


def test_the_workflow_of_a_gate_does_what_the_verdict_says(tmp_path):
    """Its command, run as it stands: FGSM leaves nothing of an unprotected model."""
    job = yaml.safe_load((EXAMPLES / "gate.yml").read_text())["jobs"]["gate"]
    (step,) = (step for step in job["steps"] if step.get("run", "").startswith("advkeras evaluate"))
    command = Template(step["run"]).substitute(job["env"])
    words = [word if word != "run" else str(tmp_path / "run") for word in shlex.split(command)[1:]]
    said = error_of_last_line(*words)
    assert "mnist-natural: fgsm>=0.2 is not met: 0 of 20" in said
    assert "benign" not in said
    assert (tmp_path / "run" / "results.json").exists()
    words[words.index("fgsm>=0.2")] = "fgsm<=0.2"
    assert "mnist-natural: fgsm<=0.2 is met" in run(*words).stderr


def error_of_last_line(*words: str) -> str:
    return run(*words, code=3).stderr.strip().splitlines()[-1]


def test_deepfool_finds_the_projection_on_a_hyperplane(half_space, grey_images):
    registry.load(str(EXAMPLES / "deepfool.py"))
    classifier, normal = half_space()
    images = grey_images()
    result = configure("deepfool", MNIST)(classifier, images, classifier.predict(images))
    least = to_the_plane(images, normal) / np.sqrt(FEATURES)
    assert result.success.all()
    np.testing.assert_allclose(result.distortion, 1.02 * least, rtol=0.01, atol=1e-5)


def test_momentum_fgsm_ends_at_the_corner_of_the_ball(half_space, grey_images):
    registry.load(str(EXAMPLES / "momentum_fgsm.py"))
    classifier, _ = half_space()
    images = grey_images()
    labels = classifier.predict(images)
    attack = registry.get("mi-fgsm")(epsilon=0.1)
    np.testing.assert_allclose(
        attack(classifier, images, labels).adversarials,
        FGSM(epsilon=0.1)(classifier, images, labels).adversarials,
        atol=1e-5,
    )
