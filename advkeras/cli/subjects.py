"""The classifiers and the images that a command works on, from its options."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Any

from advkeras.cli import options
from advkeras.cli.console import err
from advkeras.errors import InvalidInputError, UnknownShapeError


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


@dataclass(frozen=True)
class Subject:
    """What a command works on: images, and how classifiers take them; each field is an option."""

    dataset: options.Dataset = "mnist"
    bounds: options.Bounds = None
    threshold: options.Threshold = None
    channels_first: options.ChannelsFirst = None
    classes: options.Classes = None
    resize: options.Resize = False
    examples: options.Examples = None
    data_dir: options.DataDir = None

    def load(self, models: Sequence[str]) -> tuple[list[Any], Any, Any]:
        """Loads classifiers, and the images in the pixel unit that they take.

        Args:
            models: names of the zoo, folders or files; all of the zoo's for the data set, if there are none.

        Returns:
            Classifiers, the data set's spec and its images.
        """
        from advkeras import datasets
        from advkeras.evaluation.fit import check_fit
        from advkeras.models import zoo

        known = self.dataset in datasets.names()
        if not known and not models:
            # Says so, if there is no such data set.
            datasets.find(self.dataset, bounds=self.bounds, data_dir=self.data_dir)
            raise InvalidInputError(f"the zoo has no model of {self.dataset}: give one with --model")
        unit = datasets.get(self.dataset).bounds if known and self.bounds is None else self.bounds
        sources = models or zoo.names_for(self.dataset)
        classifiers = [self._classifier(source, unit) for source in sources]
        for line in map(doubts_about, classifiers):
            if line:
                err.print(f"Doubtful: {line}", style="yellow", soft_wrap=True)
        first = classifiers[0]
        source = datasets.find(
            self.dataset,
            bounds=unit or first.bounds,
            class_names=options.split_classes(self.classes),
            shape=first.input_shape,
            num_classes=first.num_classes,
            resize=self.resize,
            data_dir=self.data_dir,
        )
        for classifier in classifiers:
            check_fit(classifier, source.spec)
        return classifiers, source.spec, source.load(examples=self.examples, at_most=source.spec.default_examples)

    def _classifier(self, source: str, unit: tuple[float, float] | None) -> Any:
        """A classifier; one that leaves the images' shape open takes the data's."""
        from advkeras import datasets
        from advkeras.models import Classifier

        settings: dict[str, Any] = {"bounds": unit, "threshold": self.threshold, "channels_first": self.channels_first}
        try:
            return Classifier.load(source, **settings)
        except UnknownShapeError:
            found = datasets.find(
                self.dataset,
                bounds=unit,
                class_names=options.split_classes(self.classes),
                data_dir=self.data_dir,
            )
            return Classifier.load(source, **settings, shape=found.spec.shape)


def on_subject(command: Callable[..., None]) -> Callable[..., None]:
    """A command with the options of a :class:`Subject`, which it is handed as its argument ``subject``."""

    @wraps(command)
    def with_options(**given: Any) -> None:
        chosen = {field.name: given.pop(field.name) for field in fields(Subject)}
        command(subject=Subject(**chosen), **given)

    shared = [
        Parameter(field.name, Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type)
        for field in fields(Subject)
    ]
    own = [each for each in signature(command).parameters.values() if each.name != "subject"]
    parameters = [*shared, *(each.replace(kind=Parameter.KEYWORD_ONLY) for each in own)]
    # What Typer reads the options from.
    with_options.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {each.name: each.annotation for each in parameters}
    return with_options
