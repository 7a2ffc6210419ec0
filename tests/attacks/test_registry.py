"""Attacks that are registered by their users: what is refused, and what is taken as it was meant."""

from __future__ import annotations

import importlib
import inspect
import sys
from dataclasses import dataclass, is_dataclass, make_dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pytest

from advkeras import attacks
from advkeras.attacks import (
    Attack,
    FixedNormAttack,
    HopSkipJump,
    MinimumNormAttack,
    OptBrittle,
    configure,
    names,
    register,
    registry,
)
from advkeras.attacks.accuracy import robust_accuracy
from advkeras.attacks.base import gradient_free
from advkeras.datasets import MNIST, LabelledImages
from advkeras.errors import InvalidInputError
from advkeras.evaluation.slices import slices_of
from advkeras.evaluation.units import Examples, checksum
from advkeras.runs.execute import execute
from advkeras.runs.store import Store

from ..commands import error_of
from ..conftest import FEATURES

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = pytest.mark.usefixtures("own_registry")


@dataclass(frozen=True, kw_only=True)
class Plain(FixedNormAttack):
    """Returns the images. Its annotations are strings, as in all of this module."""

    iterations: int = 3
    rate: float | Literal["auto"] = "auto"
    either: int | float = 1
    shares: tuple[float, ...] = (0.5, 1.0)
    decay: float | None = None

    name: ClassVar[str] = "plain"
    title: ClassVar[str] = "Plain"

    def run(self, classifier, problem, progress):
        return problem.images


def test_what_cannot_be_registered_is_refused():
    class Bare(Plain):
        name: ClassVar[str] = "bare"

    with pytest.raises(InvalidInputError, match="Bare must be a dataclass"):
        register(Bare)

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
    for name in ("NO!", "two words", "", 5, None):
        with pytest.raises(InvalidInputError, match="lower case letters"):
            type("Misnamed", (Plain,), {"name": name})
    for title in (" ", "", 5, None):
        with pytest.raises(InvalidInputError, match="must be a word for tables"):
            type("Untold", (Plain,), {"title": title})


@pytest.mark.parametrize(
    ("name", "title", "message"),
    [
        ("benign", "Mine", "the name 'benign' is taken, by images that are not attacked"),
        ("mine", "Benign", "the title 'Benign' is taken"),
        ("mine", "PGD", r"the title 'PGD' is taken, by advkeras\.attacks\.pgd\.PGD"),
    ],
)
def test_names_and_titles_are_those_of_one_attack(name, title, message):
    mine = dataclass(frozen=True, kw_only=True)(type("Mine", (Plain,), {"name": name, "title": title}))
    with pytest.raises(InvalidInputError, match=message):
        register(mine)


def test_an_attack_must_be_made_from_its_name_and_written_as_json():
    @dataclass(frozen=True, kw_only=True)
    class Needy(Plain):
        """Has a hyperparameter without a default."""

        length: float

    with pytest.raises(InvalidInputError, match="length of Needy must have a default"):
        register(Needy)

    @register
    @dataclass(frozen=True, kw_only=True)
    class Provided(Plain):
        """Takes it from the data set."""

        length: float
        name: ClassVar[str] = "provided"
        title: ClassVar[str] = "Provided"

        @classmethod
        def parameters_on(cls, spec, *, full_search):
            length = (0.2 if full_search else 0.1) * spec.span
            return {**super().parameters_on(spec, full_search=full_search), "length": length}

    # The paper's search takes hours, so nobody gets it who does not ask for it.
    assert configure("provided", MNIST).length == Provided.for_data(MNIST).length == pytest.approx(0.1)
    assert configure("provided", MNIST, full_search=True).length == pytest.approx(0.2)

    @dataclass(frozen=True, kw_only=True)
    class Filed(Plain):
        """Has a hyperparameter that results cannot keep."""

        folder: Path = EXAMPLES

    with pytest.raises(InvalidInputError, match="hyperparameters of Filed must be numbers, words, and lists"):
        register(Filed)

    named = make_dataclass("Named", [("table", dict, None)], bases=(Plain,), frozen=True, kw_only=True)
    with pytest.raises(InvalidInputError, match=r"hyperparameters of Named must .*: table=<class 'dict'>"):
        register(named)


def test_a_norm_that_nobody_measures_is_refused():
    @dataclass(frozen=True, kw_only=True)
    class Manhattan(Plain):
        """Says so."""

        norm: ClassVar[str] = "l1"

    with pytest.raises(InvalidInputError, match="norm of Manhattan must be 'l2' or 'linf'. Received: norm='l1'"):
        register(Manhattan)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"iterations": "abc"}, "iterations must be a whole number. Received: iterations='abc'"),
        ({"iterations": 1.5}, "iterations must be a whole number"),
        ({"iterations": True}, "iterations must be a whole number"),
        ({"rate": [1]}, "rate must be a number or 'auto'"),
        ({"either": "x"}, "either must be a whole number or a number"),
        ({"decay": "x"}, "decay must be a number or none"),
        ({"_data": 1}, "unknown parameter of plain '_data'"),
    ],
)
def test_a_value_of_another_type_is_refused(given, message):
    register(Plain)
    with pytest.raises(InvalidInputError, match=message):
        configure("plain", MNIST, given)


@pytest.mark.parametrize(
    "given", [{"rate": "auto"}, {"rate": 0.5}, {"either": 1.5}, {"shares": [0.1]}, {"iterations": np.int64(5)}]
)
def test_a_value_of_any_of_the_types_is_taken(given):
    register(Plain)
    attack = configure("plain", MNIST, given)
    assert all(getattr(attack, name) == value for name, value in given.items())


def test_parameters_are_given_by_name():
    public = [getattr(attacks, name) for name in attacks.__all__]
    ours = [each for each in public if is_dataclass(each) and (issubclass(each, Attack) or "Search" in each.__name__)]
    assert len(ours) > len(names())
    kinds = {parameter.kind for each in ours for parameter in inspect.signature(each).parameters.values()}
    assert kinds == {inspect.Parameter.KEYWORD_ONLY}


def test_files_of_one_name_are_two_modules(tmp_path):
    paths = [tmp_path / folder / "mine.py" for folder in "ab"]
    for path in paths:
        path.parent.mkdir()
        text = (EXAMPLES / "deepfool.py").read_text().replace('"deepfool"', f'"fool-{path.parent.name}"')
        path.write_text(text.replace('"DeepFool"', f'"Fool {path.parent.name}"'))
        registry.load(str(path))
    first, second = (configure(f"fool-{folder}", MNIST).data_checksum for folder in "ab")
    assert first != second
    paths[0].write_text(paths[0].read_text() + "# changed\n")
    assert configure("fool-a", MNIST).data_checksum not in (first, second)


def test_a_file_may_import_what_lies_beside_it_and_depends_on_it(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    helper = tmp_path / "fools_helper.py"
    helper.write_text("TITLE = 'Helped'\n")
    text = (EXAMPLES / "deepfool.py").read_text().replace('"deepfool"', '"helped"').replace('"DeepFool"', "TITLE")
    (tmp_path / "helped.py").write_text(f"from fools_helper import TITLE\n{text}")
    registry.load(str(tmp_path / "helped.py"))
    attack = configure("helped", MNIST)
    before = attack.data_checksum
    assert attack.title == "Helped"
    helper.write_text(helper.read_text() + "# changed\n")
    assert attack.data_checksum != before


def test_a_file_does_not_depend_on_others_that_lie_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("one", "other"):
        text = (
            (EXAMPLES / "deepfool.py").read_text().replace('"deepfool"', f'"{name}"').replace('"DeepFool"', f'"{name}"')
        )
        (tmp_path / f"{name}.py").write_text(f"{text}\n\ndef later():\n    import {name}_helper  # noqa\n")
        (tmp_path / f"{name}_helper.py").write_text("import shared_helper\n")
    (tmp_path / "shared_helper.py").write_text("")
    registry.load(str(tmp_path / "one.py"))
    attack = configure("one", MNIST)
    alone = attack.data_checksum
    registry.load(str(tmp_path / "other.py"))
    monkeypatch.setitem(sys.modules, "other_helper", importlib.import_module("other_helper"))
    assert attack.data_checksum == alone
    # What it imports itself counts, also when it does so late, and by way of another file.
    monkeypatch.setitem(sys.modules, "one_helper", importlib.import_module("one_helper"))
    imported = attack.data_checksum
    assert imported != alone
    (tmp_path / "shared_helper.py").write_text("# changed\n")
    assert attack.data_checksum != imported


def test_packages_of_an_environment_beside_a_file_are_no_part_of_it(tmp_path, monkeypatch):
    package = tmp_path / "env" / "site-packages" / "their_package.py"
    package.parent.mkdir(parents=True)
    package.write_text("")
    monkeypatch.setattr(sys, "path", [*sys.path, str(package.parent)])
    text = (EXAMPLES / "deepfool.py").read_text().replace('"deepfool"', '"alone"').replace('"DeepFool"', '"Alone"')
    (tmp_path / "alone.py").write_text(f"import their_package\n{text}")
    registry.load(str(tmp_path / "alone.py"))
    before = configure("alone", MNIST).data_checksum
    package.write_text("# changed\n")
    assert configure("alone", MNIST).data_checksum == before


def test_the_attack_command_takes_parameters_with_the_attacks_name(tmp_path):
    given = ("attack", "fgsm", "--examples", 2, "--output", tmp_path / "found.npz")
    assert "'fgsm.step'" not in (message := error_of(*given, "--set", "fgsm.step=1"))
    assert "unknown parameter of fgsm 'step'" in message
    assert "unknown parameter of fgsm 'pgd.step'" in error_of(*given, "--set", "pgd.step=1")


def test_a_package_that_cannot_be_loaded_is_told_of_when_it_is_asked_for(monkeypatch, tmp_path):
    (tmp_path / "working_attacks.py").write_text((EXAMPLES / "deepfool.py").read_text())
    monkeypatch.syspath_prepend(tmp_path)
    declared = [
        EntryPoint("broken", "no_such_module:Attack", registry.ENTRY_POINTS),
        EntryPoint("working", "working_attacks:DeepFool", registry.ENTRY_POINTS),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: declared if group == registry.ENTRY_POINTS else [])
    registry._declared_elsewhere.cache_clear()
    assert configure("pgd", MNIST).name == "pgd"
    assert configure("deepfool", MNIST).title == "DeepFool"
    for _ in range(2):
        with pytest.raises(InvalidInputError, match="no_such_module:Attack cannot be loaded: ModuleNotFoundError"):
            registry.get("theirs")
    registry._declared_elsewhere.cache_clear()


def test_only_registered_attacks_are_advised():
    @dataclass(frozen=True, kw_only=True)
    class Blind(Plain):
        """Is not registered."""

        name: ClassVar[str] = "blind"
        title: ClassVar[str] = "Blind"
        needs_gradient: ClassVar[bool] = False

    assert gradient_free() == ("hopskipjump", "square")
    register(Blind)
    assert gradient_free() == ("blind", "hopskipjump", "square")


class Far(Plain):
    """Leaves its ball."""

    def run(self, classifier, problem, progress):
        return np.random.default_rng(0).uniform(size=problem.images.shape)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_what_lies_outside_the_ball_is_refused(half_space, grey_images, norm, monkeypatch):
    monkeypatch.setattr(Far, "norm", norm)
    classifier, _ = half_space()
    images = grey_images()
    labels = classifier.predict(images)
    data = LabelledImages(images, labels, "made up", "test")
    with pytest.raises(
        InvalidInputError, match=rf"within epsilon, 0.01, .* {len(images)} of {len(images)} .*\({norm}\)"
    ):
        robust_accuracy(classifier, data, Far(epsilon=0.01))
    # The ball of this Euclidean length holds them all.
    inside = Far(epsilon=FEATURES**0.5 if norm == "l2" else 1.0)(classifier, images, labels)
    assert inside.success.any()
    np.testing.assert_array_equal(inside.adversarials, Far(epsilon=1.0).run(None, data, None).astype(np.float32))


def test_an_attack_below_hopskipjump_keeps_what_is_its_own():
    @dataclass(frozen=True, kw_only=True)
    class Mine(HopSkipJump):
        """Has a hyperparameter of its own."""

        extra: int = 1

    images = np.zeros((2, 4, 4, 1), np.float32)
    started = Mine(extra=7).among(images[:1]).starting_at(images)
    assert isinstance(started, Mine)
    assert started.get_config() == Mine(extra=7).get_config()
    assert (len(started._starts.images), len(started._starts.company)) == (2, 1)


def test_examples_of_an_attack_with_a_list_are_found_again(half_space, grey_images, tmp_path):
    classifier, _ = half_space()
    images = grey_images()
    data = LabelledImages(images, classifier.predict(images), "made up", "test")
    (part,) = slices_of(data, len(data))
    unit, same, other = (
        Examples.planned(classifier, checksum(classifier), part, Plain(epsilon=0.1, shares=shares))
        for shares in ((0.5, 1.0), (0.5, 1.0), (0.5,))
    )
    store = Store(tmp_path)
    execute([unit], store)
    assert same in store
    assert other not in store


def test_a_norm_of_ones_own_is_the_one_that_counts():
    @dataclass(frozen=True, kw_only=True)
    class Widest(MinimumNormAttack):
        """Looks for the least change of any pixel."""

        name: ClassVar[str] = "widest"
        title: ClassVar[str] = "Widest"
        norm: ClassVar[str] = "linf"

        def run(self, classifier, problem, progress):
            return problem.images

    difference = np.zeros((1, 2, 2, 1), np.float32)
    difference[0, 0] = 0.5
    assert Widest().distance(difference)[0] == pytest.approx(0.5)


def test_what_cannot_be_loaded_is_one_line(tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text("1 / 0\n")
    assert "broken.py cannot be loaded: ZeroDivisionError" in error_of("--load", broken, "models")
    assert "nowhere.py cannot be loaded: FileNotFoundError" in error_of("--load", tmp_path / "nowhere.py", "models")
    assert "no_such_module cannot be loaded" in error_of("--load", "no_such_module", "models")
    assert "did you mean 'deepfool'" in error_of(
        "--load", EXAMPLES / "deepfool.py", "evaluate", "--attack", "deepfol", "--output", tmp_path
    )


def test_load_belongs_before_the_command(tmp_path):
    message = error_of("evaluate", "--load", EXAMPLES / "deepfool.py", "--output", tmp_path)
    assert "--load stands before the command's name" in message
