"""Who is blamed for an error in an attack, and with which line."""

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from advkeras.attacks import FGSM, FixedNormAttack
from advkeras.errors import AdvkerasError, InvalidInputError

from ..commands import run

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = pytest.mark.usefixtures("own_registry")


@dataclass(frozen=True, kw_only=True)
class Plain(FixedNormAttack):
    """Returns the images."""

    name: ClassVar[str] = "plain"
    title: ClassVar[str] = "Plain"

    def run(self, classifier, problem, progress):
        return problem.images


def divided():
    return 1 / 0


@pytest.mark.parametrize("error", [InvalidInputError("no"), FileNotFoundError("no"), MemoryError("no")], ids=repr)
def test_what_an_attack_says_itself_is_told_as_it_is(half_space, grey_images, error):
    class Refusing(Plain):
        def run(self, classifier, problem, progress):
            raise error

    classifier, images = half_space()[0], grey_images()
    with pytest.raises(type(error), match="^no$"):
        Refusing(epsilon=0.1)(classifier, images, classifier.predict(images))


def test_the_line_is_the_one_that_failed_and_advkeras_is_not_blamed(half_space, grey_images, monkeypatch):
    classifier, images = half_space()[0], grey_images()
    labels = classifier.predict(images)

    class Deep(Plain):
        def run(self, classifier, problem, progress):
            return divided()

    with pytest.raises(AdvkerasError, match=f"line {inspect.getsourcelines(divided)[1] + 1}: ZeroDivisionError"):
        Deep(epsilon=0.1)(classifier, images, labels)
    monkeypatch.setattr(FGSM, "run", lambda *given: divided())
    with pytest.raises(ZeroDivisionError):
        FGSM(epsilon=0.1)(classifier, images, labels)


@pytest.mark.parametrize(
    "command", [("attack", "broken", "--output", "found.npz"), ("evaluate", "--attack", "broken", "--output", "run")]
)
def test_a_fault_in_ones_own_attack_is_told_with_its_line(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (EXAMPLES / "deepfool.py").read_text().replace('"deepfool"', '"broken"').replace('"DeepFool"', '"Broken"')
    line = text.replace("problem.targeted", "problem.misspelt")
    Path("broken.py").write_text(line)
    number = 1 + line[: line.index("misspelt")].count("\n")
    said = run("--load", "broken.py", *command, "--examples", 2, "--model", "mnist-natural", code=1).stderr.splitlines()
    message = said[-1]
    assert f"Broken has failed in {tmp_path / 'broken.py'}, line {number}: AttributeError: 'Problem' object" in message
    assert not any("fault of advkeras" in each for each in said)
