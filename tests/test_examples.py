"""The attacks in examples/, as a user has them: loaded from their files."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from advkeras.attacks import FGSM, FixedNormAttack, OptBrittle, configure, register, registry
from advkeras.datasets import MNIST
from advkeras.errors import InvalidInputError

from .commands import error_of, run
from .conftest import FEATURES

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(autouse=True)
def own_registry(monkeypatch):
    """What a test registers is forgotten afterwards."""
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.py")), ids=lambda file: file.stem)
def test_an_attack_is_one_short_file(file):
    assert len(file.read_text().splitlines()) <= 60


def test_attacks_from_outside_stand_in_the_table_are_counted_and_resumed(tmp_path):
    files = [Path(shutil.copy(file, tmp_path)) for file in sorted(EXAMPLES.glob("*.py"))]
    loads = [word for file in files for word in ("--load", file)]
    command = [
        *loads, "evaluate", "--model", "mnist-natural", "--examples", 4, "--attack", "mi-fgsm,deepfool",
        "--set", "mi-fgsm.iterations=7", "--output", tmp_path / "run", "--no-convergence-check", "--json",
    ]  # fmt: skip
    first = json.loads(run(*command).stdout)
    rows = {row["attack"]: row for row in first["models"][0]["rows"]}
    assert (rows["mi-fgsm"]["title"], rows["deepfool"]["title"]) == ("MI-FGSM", "DeepFool")
    assert rows["deepfool"]["success"]["count"] == 4
    assert rows["mi-fgsm"]["gradient_count"] == 4 * 7
    assert rows["mi-fgsm"]["config"]["epsilon"] == MNIST.epsilon
    # A forward pass has a gradient for each class; three more look at what came out, and what went in.
    assert rows["deepfool"]["gradient_count"] == 4 * 50 * 10
    made = (tmp_path / "run" / "mnist-natural" / "deepfool.npz").stat().st_mtime_ns
    again = json.loads(run(*command).stdout)
    assert again["models"] == first["models"]
    assert (tmp_path / "run" / "mnist-natural" / "deepfool.npz").stat().st_mtime_ns == made
    # Other code makes other examples.
    files[0].write_text(files[0].read_text() + "\n# changed\n")
    run(*command)
    assert (tmp_path / "run" / "mnist-natural" / "deepfool.npz").stat().st_mtime_ns > made


def test_deepfool_finds_the_projection_on_a_hyperplane(half_space, grey_images):
    registry.load(str(EXAMPLES / "deepfool.py"))
    classifier, normal = half_space()
    images = grey_images()
    result = configure("deepfool", MNIST)(classifier, images, classifier.predict(images))
    least = np.abs((images - 0.5).reshape(len(images), -1) @ normal) / np.sqrt(FEATURES)
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


def test_what_cannot_be_registered_is_refused():
    class Plain(FixedNormAttack):
        name: ClassVar[str] = "plain"
        title: ClassVar[str] = "Plain"

        def run(self, classifier, problem, progress):
            return problem.images

    with pytest.raises(InvalidInputError, match="Plain must be a dataclass"):
        register(Plain)

    @dataclass(frozen=True, kw_only=True)
    class Abstract(FixedNormAttack):
        name: ClassVar[str] = "abstract"
        title: ClassVar[str] = "Abstract"

    with pytest.raises(InvalidInputError, match="Abstract lacks run"):
        register(Abstract)

    @dataclass(frozen=True, kw_only=True)
    class Untitled(Plain):
        name: ClassVar[str] = "fgsm"
        work: ClassVar[str] = "steps"

    with pytest.raises(InvalidInputError, match="work must name a hyperparameter of Untitled"):
        register(Untitled)
    Untitled.work = ""
    with pytest.raises(InvalidInputError, match=r"the name 'fgsm' is taken, by advkeras\.attacks\.fgsm\.FGSM"):
        register(Untitled)
    with pytest.raises(InvalidInputError, match="can be registered"):
        register(OptBrittle())
    with pytest.raises(InvalidInputError, match="lower case letters"):

        class Shouting(Plain):
            name: ClassVar[str] = "NO!"


def test_what_cannot_be_loaded_is_one_line(tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text("1 / 0\n")
    assert "broken.py cannot be loaded: ZeroDivisionError" in error_of("--load", broken, "models")
    assert "nowhere.py cannot be loaded: FileNotFoundError" in error_of("--load", tmp_path / "nowhere.py", "models")
    assert "no_such_module cannot be loaded" in error_of("--load", "no_such_module", "models")
    assert "did you mean 'deepfool'" in error_of(
        "--load", EXAMPLES / "deepfool.py", "evaluate", "--attack", "deepfol", "--output", tmp_path
    )
