"""The figures that the paper prints, to stand beside ours: He, Li and Song (ICLR 2018), Tables 1 and 2."""

from dataclasses import dataclass

from advkeras.record_types import Length, Share


@dataclass(frozen=True)
class PaperRow:
    """One attack, or benign images, on one of the paper's models.

    Attributes:
        success: share of images for which the attack succeeds (Table 1).
        distortion: average RMS, in the data set's pixel unit (Table 1).
        region: accuracy of region classification (Table 2).
        point: accuracy of point classification (Table 2).
    """

    success: Share | None = None
    distortion: Length | None = None
    region: Share | None = None
    point: Share | None = None


_NATURAL, _ADVERSARIAL = "natural", "adversarially trained"

_ROWS: dict[tuple[str, str], dict[str, PaperRow]] = {
    ("mnist", _NATURAL): {
        "benign": PaperRow(region=0.99, point=0.99),
        "fgsm": PaperRow(0.91, 0.219, region=0.16, point=0.09),
        "optbrittle": PaperRow(1.00, 0.0732, region=0.95, point=0.0),
        "optmargin": PaperRow(1.00, 0.158, region=0.01, point=0.0),
        "optstrong": PaperRow(1.00, 0.214),
    },
    ("mnist", _ADVERSARIAL): {
        "benign": PaperRow(region=1.00, point=1.00),
        "fgsm": PaperRow(0.06, 0.221, region=0.54, point=0.94),
        "optbrittle": PaperRow(1.00, 0.0879, region=0.89, point=0.0),
        "optmargin": PaperRow(1.00, 0.168, region=0.10, point=0.0),
        "optstrong": PaperRow(0.28, 0.391),
    },
    ("cifar10", _NATURAL): {
        "benign": PaperRow(region=0.93, point=0.96),
        "fgsm": PaperRow(0.82, 8.00, region=0.16, point=0.17),
        "optbrittle": PaperRow(1.00, 0.824, region=0.71, point=0.0),
        "optmargin": PaperRow(1.00, 1.13, region=0.05, point=0.0),
        "optstrong": PaperRow(1.00, 2.86),
    },
    ("cifar10", _ADVERSARIAL): {
        "benign": PaperRow(region=0.86, point=0.86),
        "fgsm": PaperRow(0.36, 8.00, region=0.55, point=0.55),
        "optbrittle": PaperRow(1.00, 3.83, region=0.79, point=0.0),
        "optmargin": PaperRow(1.00, 4.08, region=0.05, point=0.06),
        "optstrong": PaperRow(0.73, 37.4),
    },
}


def rows_for(dataset: str, defense: str | None) -> dict[str, PaperRow]:
    """The paper's rows that a model can be held against, by attack; none where its training is not known.

    Args:
        dataset: name of the data set.
        defense: how the model was trained, as its card says; None where that is not known.
    """
    if defense is None:
        return {}
    return _ROWS.get((dataset, _NATURAL if defense == "none" else _ADVERSARIAL), {})
