"""Figures in the docs' running text are those of the results that they are taken from: measured again, both change."""

import json
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


def rows(name):
    return json.loads((REPOSITORY / "benchmarks" / "results" / f"{name}.json").read_text())["rows"]


def row(name, **chosen):
    """The one row of a benchmark's results with some values."""
    (found,) = [each for each in rows(name) if all(each[key] == value for key, value in chosen.items())]
    return found


def share(interval):
    """``20 [14, 29]`` as ``20% [14, 29]``, and 0 in words."""
    rate, rest = interval.split(maxsplit=1)
    return f"none {rest}" if rate == "0" else f"{rate}% {rest}"


def vote(model, search):
    return share(row("searches", model=model, search=search)["region_%"])


def of_first(model, search):
    return row("searches", model=model, search=search)["of_first"]


PUBLISHED, EQUATION, REGION = "published, stopped when nothing improves", "equation (4), decoupled", "OptRegion"


def evading_the_vote():
    two = [of_first(model, EQUATION) for model in ("mnist-natural", "mnist-pgd")]
    yield f"with examples {1 / two[0]:.1f} and {1 / two[1]:.1f} times as far away as equation (4)'s"
    yield f"it leaves the vote right on {vote('mnist-natural', PUBLISHED)} of `mnist-natural`'s"
    yield f"and on {vote('mnist-pgd', PUBLISHED)} of `mnist-pgd`'s"
    both = [vote(model, EQUATION) for model in ("mnist-natural", "mnist-pgd")]
    yield f"examples need {two[0]:.2f} and {two[1]:.2f} times the distortion"
    yield f"and the vote is right on {' and '.join(both)}"
    yield f"right on {vote('cifar10-natural', EQUATION)} of the images of `cifar10-natural`"
    yield f"and on {vote('cifar10-pgd', EQUATION)} of `cifar10-pgd`"
    near = {
        model: of_first(model, REGION) for model in ("mnist-natural", "mnist-pgd", "cifar10-natural", "cifar10-pgd")
    }
    yield f"on MNIST at {near['mnist-natural']:.2f} and {near['mnist-pgd']:.2f} times the published distortion"
    yield f"on CIFAR-10 at {near['cifar10-natural']:.2f} and {near['cifar10-pgd']:.2f} times that of equation (4)"


def detection():
    found = json.loads((REPOSITORY / "docs" / "results" / "mnist-detection.json").read_text())["rows"]
    network, agreement = (
        next(each["auc"] for each in found if (each["detector"], each["trained_on"]) == (kind, "OptMargin"))
        for kind in ("boundaries", "agreement")
    )
    yield f"much better ({network['OptMargin']:.2f} and {agreement['OptMargin']:.2f})"
    yield f"agreement is hardly better than chance ({agreement['OptMimic']:.2f})"


def boundary_curves():
    found = rows("directions")
    draws = [each["largest_between_two_draws"] for each in found]
    largest = max(each["curves,_largest_difference"] for each in found)
    mean = max(each["mean"] for each in found)
    yield f"at most {mean:.1%} of the reach apart, and at single points up to {largest:.0%}"
    yield f"Two draws of 400 directions differ by {min(draws):.0%} to {max(draws):.0%} at single points"


def fixed_norm():
    def right(images, attack):
        models = ("mnist-pgd", "cifar10-pgd")
        places = dict(zip(models, images, strict=True))
        found = [row("fixed_norm", model=model, images=places[model], attack=attack)["right_%"] for model in models]
        return [f"{value:g}%" for value in found]

    shipped, beyond = ("1 to 200", "1 to 200"), ("1001 to 1200", "501 to 700")
    together, restarts = "PGD and OptLinf together", "PGD, 5 restarts of 200 steps"
    first, second = right(shipped, together), right(shipped, restarts)
    yield f"leaves {first[0]} of `mnist-pgd` and {first[1]} of `cifar10-pgd` right on the first 200 test images"
    yield f"PGD with 5 restarts of 200 steps leaves {' and '.join(second)}"
    yield f"{' and '.join(right(beyond, together))}, where that leaves {' and '.join(right(beyond, restarts))}"


def one_dnn():
    ratios = {
        kind: [each["ratio"] for each in rows("onednn") if each["pass"] == kind] for kind in ("gradient", "forward")
    }
    shown = {kind: f"{min(values):.2f} to {max(values):.2f}" for kind, values in ratios.items()}
    yield f"takes {shown['gradient']} times as long with it, a forward pass {shown['forward']} times"


def against_other_libraries():
    others = [each["of_best_peer"] for each in rows("minimum_norm") if each["gradients"] == 100]
    assert max(others) <= 1, "no larger than the best peer's"
    ratio = row("minimum_norm", model="mnist-pgd", gradients=100)["of_best_peer"]
    yield f"within 0.5% on three models of the zoo, {1 - ratio:.0%} less on `mnist-pgd`"
    assert sum(value > 0.995 for value in others) == 3


def first_by_optimality():
    """With 50 gradients in the mean; of the models but mnist-pgd, with how many, against the best peer."""
    found = {each["attack"]: each for each in rows("optimality")}
    ours = [found[f"OptBrittle, {gradients} gradients"] for gradients in (50, 100, 200, 400)]
    peers = [each for title, each in found.items() if not title.startswith("OptBrittle")]
    assert all(ours[0]["mean"] > each["mean"] for each in peers)
    ahead = {
        model: [each[model] > max(peer[model] for peer in peers) for each in ours]
        for model in ("mnist-natural", "mnist-pgd", "cifar10-natural", "cifar10-pgd")
    }
    assert ahead == {
        "mnist-natural": [False, True, True, True],
        "mnist-pgd": [True] * 4,
        "cifar10-natural": [False, False, False, True],
        "cifar10-pgd": [False, True, True, True],
    }
    yield "On each model but `mnist-pgd` ALMA's is larger than with 50"
    yield "it takes 100 gradients to pass it, on `cifar10-natural` 400"


def more_gradients_for_optstrong():
    found = json.loads((REPOSITORY / "docs" / "results" / "optstrong_budgets.json").read_text())["models"]["mnist-pgd"]
    by, images = found["by_gradients"], found["images"]
    yield f"with 400 it succeeds on {by['400']['success']} of the {images} images instead of {by['200']['success']}"
    yield f"with 800 on {by['800']['success']}. On the {found['success_with_all']} images where all three succeed"
    rms = [by[gradients]["rms_where_all_succeed"] for gradients in ("200", "400", "800")]
    yield "RMS falls from {:.3f} to {:.3f} and {:.3f}".format(*rms)
    (checked,) = [
        row["convergence"]
        for model in json.loads((REPOSITORY / "docs" / "results" / "mnist.json").read_text())["models"]
        for row in model["rows"]
        if (model["name"], row["attack"]) == ("mnist-pgd", "optstrong")
    ]
    yield f"on its {checked['images']} images the check with twice the work succeeds"
    yield f"on {checked['success_again']} instead of {checked['success']}"


SENTENCES = [
    ("docs/mnist.md", more_gradients_for_optstrong),
    ("docs/region.md", evading_the_vote),
    ("docs/boundaries.md", detection),
    ("docs/boundaries.md", boundary_curves),
    ("docs/index.md", fixed_norm),
    ("README.md", one_dnn),
    ("README.md", against_other_libraries),
    ("docs/index.md", first_by_optimality),
]


@pytest.mark.parametrize(("page", "sentences"), SENTENCES, ids=[sentences.__name__ for _, sentences in SENTENCES])
def test_sentences_say_what_was_measured(page, sentences):
    text = " ".join((REPOSITORY / page).read_text().split())
    for sentence in sentences():
        assert sentence in text
