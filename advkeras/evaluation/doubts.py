"""What in an evaluation's results says that something is wrong with what was evaluated, rather than with the model."""

from advkeras.attacks.base import gradient_free
from advkeras.evaluation.results import BENIGN, Evaluation, ModelResult, Row

# Accuracy on benign images that is nearer to chance than this share of the way to 1 is no classifier's.
_FAR_FROM_CHANCE = 0.2
# Images whose pixels take up less of the range than this share are probably in another unit.
_FILLED = 0.5


def doubts(evaluation: Evaluation, *, num_classes: int, pixels: tuple[float, float]) -> list[str]:
    """Lines for the user; none where nothing is suspicious.

    Args:
        evaluation: the results.
        num_classes: of the data set.
        pixels: the lowest and the highest one of the images.
    """
    chance = 1 / num_classes
    lines = []
    (low, high), (least, most) = evaluation.bounds, pixels
    if most - least < _FILLED * (high - low):
        lines.append(
            f"the images' pixels lie in [{least:.3g}, {most:.3g}], and the bounds are [{low:g}, {high:g}]: are these "
            "the model's (--bounds)? Attacks use the whole of them"
        )
    for model in evaluation.models:
        lines.extend(_about_gradients(model, row) for row in model.rows if row.zero_gradients + row.nonfinite_gradients)
        benign = next(row.point for row in model.rows if row.attack == BENIGN)
        if benign.rate < chance + _FAR_FROM_CHANCE * (1 - chance):
            lines.append(
                f"{model.name} classifies {benign.rate:.0%} of the benign images correctly, and chance would "
                f"{chance:.0%}: does it take pixels in [{low:g}, {high:g}] (--bounds), is its preprocessing inside the "
                "model, are its classes in the order of the labels?"
            )
    return lines


def _about_gradients(model: ModelResult, row: Row) -> str:
    found = [
        f"{count:,} were {words}"
        for count, words in (
            (row.zero_gradients, "zero everywhere"),
            (row.nonfinite_gradients, "NaN or infinite somewhere"),
        )
        if count
    ]
    others = " and ".join(f"--attack {name}" for name in gradient_free())
    return (
        f"of the gradients that {row.title} took of {model.name} {' and '.join(found)}: its figures may be "
        f"of the gradients and not of the model; {others} need none"
    )
