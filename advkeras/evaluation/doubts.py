"""What in an evaluation's results says that something is wrong with what was evaluated, rather than with the model."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from advkeras.evaluation.results import BENIGN, ModelResult, Row
from advkeras.models.reading import OF_PROBABILITIES

if TYPE_CHECKING:
    from advkeras.models import Classifier

# Accuracy on benign images that is nearer to chance than this share of the way to 1 is no classifier's.
_FAR_FROM_CHANCE = 0.2
# Images whose pixels take up less of the range than this share are probably in another unit.
_FILLED = 0.5


def about_classifier(classifier: "Classifier") -> str:
    """What a user should know of a classifier before anything is measured; empty for most."""
    reading, found = classifier.reading, []
    if reading.random:
        found.append(
            f"answers differently at every call, by up to {reading.random:.2g}, so that its figures mean little: "
            "augmentation or dropout is left on in what was exported, as Keras's own export leaves it. advkeras export "
            "of the Keras model serves it with them off"
        )
    if reading.how == OF_PROBABILITIES:
        why = "whether a softmax comes last cannot be told" if reading.random else "no softmax is found that comes last"
        rounded = f", which say nothing on the {reading.saturated:.0%} of the images tried where one rounds to 0"
        found.append(
            f"returns probabilities, and {why}: their logarithms stand in for logits"
            + (rounded if reading.saturated else "")
        )
    return f"{classifier.name} {'; it '.join(found)}" if found else ""


def doubts(
    models: Sequence[ModelResult],
    *,
    bounds: tuple[float, float],
    num_classes: int,
    pixels: tuple[float, float],
    by_queries: Sequence[str],
) -> tuple[str, ...]:
    """Lines for the user about an evaluation's results; none where nothing is suspicious.

    Args:
        models: the results.
        bounds: lowest and highest pixel value that the models take.
        num_classes: of the data set.
        pixels: the lowest and the highest one of the images.
        by_queries: names of the attacks that need no gradients.
    """
    chance = 1 / num_classes
    lines = []
    (low, high), (least, most) = bounds, pixels
    if most - least < _FILLED * (high - low):
        lines.append(
            f"the images' pixels lie in [{least:.3g}, {most:.3g}], and the bounds are [{low:g}, {high:g}]: are these "
            "the model's (--bounds)? Attacks use the whole of them"
        )
    for model in models:
        weak = (row for row in model.rows if row.zero_gradients + row.nonfinite_gradients)
        lines.extend(_about_gradients(model, row, by_queries) for row in weak)
        benign = next(row.point for row in model.rows if row.attack == BENIGN)
        if benign.rate < chance + _FAR_FROM_CHANCE * (1 - chance):
            lines.append(
                f"{model.name} classifies {benign.rate:.0%} of the benign images correctly, and chance alone "
                f"{chance:.0%}: does it take pixels in [{low:g}, {high:g}] (--bounds), is its preprocessing inside the "
                "model, are its classes in the order of the labels?"
            )
    return tuple(lines)


def _about_gradients(model: ModelResult, row: Row, by_queries: Sequence[str]) -> str:
    found = [
        f"{count:,} were {words}"
        for count, words in (
            (row.zero_gradients, "zero everywhere"),
            (row.nonfinite_gradients, "NaN or infinite somewhere"),
        )
        if count
    ]
    others = " and ".join(f"--attack {name}" for name in by_queries)
    return (
        f"of the gradients that {row.title} took of {model.name} {' and '.join(found)}: its figures may be "
        f"of the gradients and not of the model; {others} need none"
    )
