"""The classifiers and the images that a command works on, from its options."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from advkeras.cli import options
from advkeras.cli.console import err
from advkeras.cli.shared_options import with_options_of
from advkeras.errors import InvalidInputError, UndecidedError

# Values of a pixel of 8 bits.
_EIGHT_BITS = 256


def say_flags(flags: Iterable[Any]) -> None:
    """Tells the user which flags are raised."""
    for flag in flags:
        err.print(f"Flag {flag}", style="yellow", soft_wrap=True)


def say_further_flags(flags: Iterable[Any], classifiers: Iterable[Any]) -> None:
    """Tells the user which flags results raise beside those that were told when the classifiers were loaded."""
    from advkeras.evaluation.signs import of_classifier

    told = {flag for each in classifiers for flag in of_classifier(each)}
    say_flags(flag for flag in flags if flag not in told)


@dataclass(frozen=True)
class ModelUse:
    """How a model is used, where its file does not say it; each field is an option."""

    bounds: options.Bounds = None
    threshold: options.Threshold = None
    output_name: options.OutputName = None
    channels_first: options.ChannelsFirst = None
    preprocessing: options.Preprocessing = None
    mean: options.Mean = None
    std: options.Std = None
    trust_model: options.TrustModel = False
    whole_pixels: options.WholePixels = False
    memory: options.Memory = None

    def classifier(self, source: str, *, bounds: tuple[float, float] | None = None, **known: Any) -> Any:
        """Loads a classifier, and says which flags it raises.

        Args:
            source: name of the zoo, folder or file.
            bounds: instead of the option's.
            known: of the images: their ``shape``, and how many ``classes`` there are.
        """
        from advkeras.evaluation.signs import of_classifier
        from advkeras.models import Classifier
        from advkeras.models.memory import set_budget

        set_budget(self.memory)
        if self.trust_model:
            known["trust"] = True
        classifier = Classifier.load(
            source,
            bounds=bounds or self.bounds,
            threshold=self.threshold,
            output_name=self.output_name,
            channels_first=self.channels_first,
            preprocessing=self._preprocessing(),
            levels=_EIGHT_BITS if self.whole_pixels else None,
            **known,
        )
        say_flags(of_classifier(classifier))
        if classifier.reading.guessed:
            err.print(f"{classifier.name}: of its outputs {classifier.reading.output!r} is taken (--output-name)")
        return classifier

    def _preprocessing(self) -> Any:
        if self.mean is None and self.std is None:
            return self.preprocessing
        from advkeras.models.preprocessing import Standardising

        if self.preprocessing is not None:
            raise InvalidInputError(
                f"--mean and --std stand in for --preprocessing. Received: {self.preprocessing} too"
            )
        mean, std = (options.parse_numbers(each) for each in (self.mean, self.std))
        return Standardising(mean or (0.0,) * len(std), std or (1.0,) * len(mean))


@dataclass(frozen=True)
class Subject(ModelUse):
    """What a command works on: images, and how classifiers take them; each field is an option."""

    dataset: options.Dataset = "mnist"
    classes: options.Classes = None
    resize: options.Resize = False
    arrays: options.Arrays = None
    labels: options.Labels = None
    skip_broken: options.SkipBroken = False
    exif: options.Exif = False
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
            self._find(self.bounds)  # says so, if there is no such data set
            raise InvalidInputError(f"the zoo has no model of {self.dataset}: give one with --model")
        unit = datasets.get(self.dataset).bounds if known and self.bounds is None else self.bounds
        sources = models or zoo.names_for(self.dataset)
        classifiers = [self._fitting(source, unit) for source in sources]
        _tell_apart(classifiers, sources)
        first = classifiers[0]
        source = self._find(unit or first.bounds, shape=first.input_shape, num_classes=first.num_classes)
        for classifier in classifiers:
            check_fit(classifier, source.spec)
        data = source.load(examples=self.examples, at_most=source.spec.default_examples)
        for remark in data.remarks:
            err.print(f"{source.spec.title}: {remark}", style="yellow", soft_wrap=True)
        return classifiers, source.spec, data

    def _find(self, bounds: tuple[float, float] | None, **known: Any) -> Any:
        from advkeras import datasets

        return datasets.find(
            self.dataset,
            bounds=bounds,
            class_names=options.split_classes(self.classes),
            resize=self.resize,
            arrays=self.arrays,
            labels=self.labels,
            skip_broken=self.skip_broken,
            exif=self.exif,
            data_dir=self.data_dir,
            **known,
        )

    def _fitting(self, source: str, unit: tuple[float, float] | None) -> Any:
        """A classifier; for one that leaves it open, the data say the images' shape and the number of classes."""
        try:
            return self.classifier(source, bounds=unit)
        except UndecidedError:
            found = self._find(unit)
            return self.classifier(source, bounds=unit, shape=found.spec.shape, classes=found.spec.num_classes)


def _tell_apart(classifiers: Sequence[Any], sources: Sequence[str]) -> None:
    """Calls those of one name by their files' or folders' names, as mine.keras and mine.h5."""
    names = [classifier.name for classifier in classifiers]
    for classifier, source in zip(classifiers, sources, strict=True):
        if names.count(classifier.name) > 1:
            classifier.name = Path(source).name


def on_subject(command: Callable[..., None]) -> Callable[..., None]:
    """A command with the options of a :class:`Subject`, which it is handed as its argument ``subject``."""
    return with_options_of(Subject, "subject", command)


def using_model(command: Callable[..., None]) -> Callable[..., None]:
    """A command with the options of a :class:`ModelUse`, which it is handed as its argument ``use``."""
    return with_options_of(ModelUse, "use", command)
