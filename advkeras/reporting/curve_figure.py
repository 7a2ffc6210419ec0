"""Security curves drawn: accuracy against epsilon, several models in one figure."""

from pathlib import Path
from typing import Any

from advkeras.evaluation.curve_results import Curve, CurveReport
from advkeras.reporting.curve_tables import NORMS
from advkeras.reporting.figures import colour, drawn, line_style, save_formats

# Share of the axis that is left free beyond the last epsilon.
_MARGIN = 1.04
_MARKER = "#666666"


def curve_figure(report: CurveReport, path: Path) -> list[Path]:
    """Each model's curve with its 95% band; the data set's epsilon as a line, what a check leaves as dots.

    Args:
        report: with the curves.
        path: of the figure, without ending.

    Returns:
        The files written, one for each format.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes: Any = figure.subplots()
    end = _MARGIN * max([*report.at, *(model.steps()[-1][0] for model in report.models)])
    for number, model in enumerate(report.models):
        _draw(axes, report, model, number, end)
    if report.norm == "linf" and 0 < report.epsilon < end:
        label = f"{drawn(report.dataset_title)}'s epsilon, {report.epsilon:g}"
        axes.axvline(report.epsilon, color=_MARKER, linewidth=1, linestyle=":", label=label)
    low, high = report.bounds
    axes.set_xlim(0, end)
    axes.set_ylim(-2, 102)
    axes.set_xlabel(f"epsilon ({NORMS[report.norm]}, pixels in [{low:g}, {high:g}])")
    axes.set_ylabel("accuracy (%)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, frameon=False, loc="best")
    axes.set_title(
        f"{drawn(report.dataset_title)}: accuracy under attack, {report.examples:,} images\n"
        f"least distances by {drawn(report.search)}, with 95% bands",
        fontsize=10,
    )
    return save_formats(figure, path)


def _draw(axes: Any, report: CurveReport, model: Curve, number: int, end: float) -> None:
    """A curve, on to the end of the axis."""
    steps = model.steps()
    epsilons = [*(epsilon for epsilon, _ in steps), end]
    shares = [left for _, left in steps] + [steps[-1][1]]
    rates, lows, highs = ([100 * value for value in values] for values in zip(*map(_share, shares), strict=True))
    axes.fill_between(epsilons, lows, highs, step="post", color=colour(number), alpha=0.12, linewidth=0)
    axes.step(epsilons, rates, where="post", label=drawn(model.name), **line_style(number))
    checked = [(point.epsilon, 100 * point.check.rate) for point in model.points if point.check and point.check.of]
    if checked:
        axes.plot(
            *zip(*checked, strict=True),
            linestyle="",
            marker="o",
            markersize=5,
            color=colour(number),
            label=drawn(f"{model.name}, {report.check}"),
        )


def _share(left: Any) -> tuple[float, float, float]:
    return (left.rate, *left.interval())
