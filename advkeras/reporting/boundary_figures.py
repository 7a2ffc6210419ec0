"""The paper's figures of decision boundaries: sorted distances, single instances, purity (sections 5.2 and 5.3)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from advkeras.evaluation.boundary_results import BoundaryReport, MeasuredBoundaries
from advkeras.reporting.figures import colour, drawn, line_style, save_formats, show_image

Measured = Mapping[str, Sequence[MeasuredBoundaries]]

# Tol's ten colours, for classes. Of kinds of images what is benign is black.
_CLASSES = (
    *("#332288", "#88CCEE", "#44AA99", "#117733", "#999933"),
    *("#DDCC77", "#CC6677", "#882255", "#AA4499", "#888888"),
)
_UNMET = "#BBBBBB"


def distances_figure(measured: Measured, report: BoundaryReport, path: Path) -> list[Path]:
    """Sorted distances, benign against each attack: mean and 10-90% band over images, one panel a model (Figure 4).

    Args:
        measured: for each model the boundaries of each kind of images.
        report: of the same run.
        path: of the figure, without ending.

    Returns:
        The files written, one for each format.
    """
    figure, panels = _panels(measured)
    reach = report.search["reach"]
    for axes, (model, entries) in zip(panels, measured.items(), strict=True):
        for number, entry in enumerate(entries):
            if not len(entry.found.classes):
                continue
            distances = np.sort(np.minimum(entry.found.distances, reach), axis=1)
            rank = np.linspace(0, 100, distances.shape[1])
            low, high = np.percentile(distances, [10, 90], axis=0)
            axes.fill_between(rank, low, high, color=colour(number), alpha=0.12, linewidth=0)
            axes.plot(rank, distances.mean(axis=0), label=_counted(entry), **line_style(number))
        axes.set_title(drawn(model), fontsize=10)
        axes.set_xlabel("directions, sorted by distance (%)")
        axes.set_xlim(0, 100)
        axes.set_ylim(0, reach * 1.02)
        axes.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    panels[0].set_ylabel(f"distance to the boundary (RMS, pixels in {_unit(report)})")
    figure.suptitle(
        f"{drawn(report.dataset_title)}: sorted distances, mean and 10-90% of the images\n"
        f"along {report.search['directions']:,} directions; at the top edge no boundary was met",
        fontsize=10,
    )
    return save_formats(figure, path)


def purity_figure(measured: Measured, report: BoundaryReport, path: Path) -> list[Path]:
    """Average purity of the top k adjacent classes against k, benign against each attack, one panel a model.

    Args:
        measured: for each model the boundaries of each kind of images.
        report: of the same run.
        path: of the figure, without ending.

    Returns:
        The files written, one for each format.
    """
    figure, panels = _panels(measured)
    for axes, (model, rows) in zip(panels, report.models.items(), strict=True):
        for number, (row, entry) in enumerate(zip(rows, measured[model], strict=True)):
            ranks = np.arange(1, len(row.purity) + 1)
            axes.plot(ranks, row.purity, marker="o", markersize=4, label=_counted(entry), **line_style(number))
        axes.set_title(drawn(model), fontsize=10)
        axes.set_xlabel("k")
        axes.set_ylim(0, 1.02)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, frameon=False, loc="lower right")
    panels[0].set_ylabel("average purity of the top k adjacent classes")
    figure.suptitle(
        f"{drawn(report.dataset_title)}: how much directions\nagree on the class beyond the boundary", fontsize=10
    )
    return save_formats(figure, path)


def instance_figure(
    entries: Sequence[MeasuredBoundaries],
    report: BoundaryReport,
    path: Path,
    *,
    model: str,
    class_names: Sequence[str],
    index: int | None = None,
) -> list[Path]:
    """One image and its adversarial versions, each with its sorted distances coloured by adjacent class (Figure 5).

    The line is the expected RMS of a point of region classification.

    Args:
        entries: the boundaries of each kind of images around one model.
        report: of the same run.
        path: of the figure, without ending.
        model: its name.
        class_names: one for each class.
        index: of the image among the data; by default the first one on which all attacks succeed, or most do.

    Returns:
        The files written, one for each format.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    index = _most_complete(entries) if index is None else index
    shown = [(entry, np.flatnonzero(entry.indices == index)) for entry in entries]
    shown = [(entry, place) for entry, place in shown if len(place)]
    figure = Figure(figsize=(8.2, 0.9 + 1.75 * max(1, len(shown))), layout="constrained")
    grid: Any = figure.subplots(
        max(1, len(shown)), 2, squeeze=False, gridspec_kw={"width_ratios": [1, 3.6]}, sharex="col"
    )
    reach = report.search["reach"]
    seen: set[int] = set()
    unmet = False
    for row, (entry, place) in enumerate(shown):
        own = class_names[entry.found.classes[place[0]]]
        picture, axes = grid[row]
        show_image(picture, entry.images[place[0]], report.bounds)
        picture.set_title(drawn(f"{entry.title}: {own}"), fontsize=9)
        distances, adjacent = entry.found.distances[place[0]], entry.found.adjacent[place[0]]
        order = np.argsort(distances, kind="stable")
        met = adjacent[order] >= 0
        rank = np.linspace(0, 100, len(order))
        colours = [_CLASSES[label % len(_CLASSES)] for label in adjacent[order][met]]
        axes.scatter(rank[met], distances[order][met], c=colours, s=5, linewidths=0)
        axes.scatter(rank[~met], np.full((~met).sum(), reach), c=_UNMET, s=8, linewidths=0.8, marker="x")
        axes.axhline(report.region_distance, color="black", linewidth=0.8, linestyle="--")
        axes.set_ylim(0, reach * 1.04)
        axes.set_ylabel("RMS", fontsize=9)
        seen.update(int(label) for label in adjacent[adjacent >= 0])
        unmet = unmet or not met.all()
    grid[-1][1].set_xlabel("directions, sorted by distance (%); dashed: where a region's points are expected")
    names = [(drawn(class_names[label]), _CLASSES[label % len(_CLASSES)], "o") for label in sorted(seen)]
    names += [("none met", _UNMET, "x")] if unmet else []
    handles = [Line2D([], [], marker=mark, linestyle="", color=colour, label=name) for name, colour, mark in names]
    if not shown:
        grid[0][1].text(
            0.5, 0.5, "classified wrongly: nothing to be shown", transform=grid[0][1].transAxes, ha="center"
        )
    if handles:
        figure.legend(handles=handles, title="class beyond", loc="outside right center", fontsize=8, frameon=False)
    figure.suptitle(f"{drawn(report.dataset_title)}, {drawn(model)}: boundaries around test image {index}", fontsize=10)
    return save_formats(figure, path)


def _most_complete(entries: Sequence[MeasuredBoundaries]) -> int:
    """The first image that is there in as many kinds as any."""
    counts = np.bincount(np.concatenate([entry.indices for entry in entries]), minlength=1)
    return int(np.argmax(counts))


def _panels(measured: Measured) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(0.6 + 4.4 * len(measured), 4.0), layout="constrained")
    grid: Any = figure.subplots(1, len(measured), squeeze=False, sharey=True)
    return figure, list(grid[0])


def _counted(entry: MeasuredBoundaries) -> str:
    return drawn(f"{entry.title} ({len(entry.found.classes)} images)")


def _unit(report: BoundaryReport) -> str:
    low, high = report.bounds
    return f"[{low:g}, {high:g}]"
