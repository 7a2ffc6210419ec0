"""The classifiers and the images that a command works on, from its options."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from advkeras.cli import options
from advkeras.cli.console import err
from advkeras.errors import InvalidInputError


def doubts_about(classifier: Any) -> str:
    """What a user should know of a classifier before anything is measured; empty for most."""
    from advkeras.models.reading import OF_PROBABILITIES

    found = []
    if classifier.reading.random:
        found.append(
            f"answers differently at every call, by up to {classifier.reading.random:.2g}: augmentation or dropout is "
            "left on in what was exported. advkeras export of the Keras model serves it with them off"
        )
    if classifier.reading.how == OF_PROBABILITIES:
        found.append(
            "returns probabilities, and no softmax is found behind which logits are: their logarithms stand in, "
            "which say nothing where it is sure"
        )
    return f"{classifier.name} {'; it '.join(found)}" if found else ""


def classifiers_and_data(
    dataset: str,
    models: Sequence[str],
    *,
    bounds: tuple[float, float] | None,
    threshold: float | None = None,
    classes: str | None,
    resize: bool,
    examples: int | None,
    data_dir: Path | None,
) -> tuple[list[Any], Any, Any]:
    """Loads the classifiers, and the images in the pixel unit that they take.

    Returns:
        Classifiers, the data set's spec and its images.
    """
    from advkeras import datasets
    from advkeras.evaluation.fit import check_fit
    from advkeras.models import Classifier, zoo

    known = dataset in datasets.names()
    if not known and not models:
        datasets.find(dataset, bounds=bounds, data_dir=data_dir)  # says so, if there is no such data set
        raise InvalidInputError(f"the zoo has no model of {dataset}: give one with --model")
    unit = datasets.get(dataset).bounds if known and bounds is None else bounds
    classifiers = [
        Classifier.load(source, bounds=unit, threshold=threshold) for source in models or zoo.names_for(dataset)
    ]
    for line in map(doubts_about, classifiers):
        if line:
            err.print(f"Doubtful: {line}", style="yellow", soft_wrap=True)
    first = classifiers[0]
    source = datasets.find(
        dataset,
        bounds=unit or first.bounds,
        class_names=options.split_classes(classes),
        shape=first.input_shape,
        num_classes=first.num_classes,
        resize=resize,
        data_dir=data_dir,
    )
    for classifier in classifiers:
        check_fit(classifier, source.spec)
    data = source.load(examples=examples, at_most=source.spec.default_examples)
    return classifiers, source.spec, data
