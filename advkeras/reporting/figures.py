"""Pictures of images and of what attacks made of them."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from advkeras.arrays import FloatArray
from advkeras.attacks.result import AttackResult
from advkeras.errors import plain_text
from advkeras.files import write_atomically

_SHOWN = 8
_PANEL_INCHES = 1.35
# Okabe and Ito's colours, which people of all kinds of colour vision tell apart.
_COLOURS = ("#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_STYLES = ("-", "--", "-.", ":")
_FORMATS = (".png", ".svg")


def example_picture(
    examples: AttackResult, path: Path, *, bounds: tuple[float, float], class_names: tuple[str, ...], title: str
) -> None:
    """Draws benign images, adversarial examples and their differences, one above the other.

    The first examples are shown, those that succeeded before those that did not. Differences are drawn around
    mid-grey at the scale of the images, so that a change that is hard to see is hard to see here.

    Args:
        examples: what to draw.
        path: of the picture; its ending says the format (.png, .svg, .pdf).
        bounds: lowest and highest pixel value.
        class_names: one for each class.
        title: above the picture.
    """
    from matplotlib.figure import Figure

    order = np.argsort(~examples.success, kind="stable")[:_SHOWN]
    columns = len(order)
    figure = Figure(figsize=(1.1 + _PANEL_INCHES * columns, 1.1 + 1.25 * _PANEL_INCHES * 3), layout="constrained")
    axes: Any = figure.subplots(3, columns, squeeze=False)
    low, high = bounds
    middle = (low + high) / 2
    for column, index in enumerate(order):
        benign, adversarial = examples.images[index], examples.adversarials[index]
        panels = (
            (benign, _benign_caption(examples, index, class_names)),
            (adversarial, f"{class_names[examples.predictions[index]]}{_remark(examples, index)}"),
            (np.clip(adversarial - benign + middle, low, high), f"RMS {examples.distortion[index]:.3g}"),
        )
        for row, (image, caption) in enumerate(panels):
            _draw(axes[row][column], image, bounds, caption)
    for row, heading in enumerate(("benign", "adversarial", "difference")):
        axes[row][0].set_ylabel(heading, fontsize=11)
    figure.suptitle(drawn(title), fontsize=11)
    save_figure(figure, path)


def drawn(text: object) -> str:
    """Text from outside as Matplotlib is to draw it: one short line, with no formula in it, and never left out."""
    line = plain_text(text, 80).replace("$", r"\$")
    return f" {line}" if line.startswith("_") else line


def save_figure(figure: Any, path: Path) -> None:
    """Writes a figure, whole or not at all, in the format that the path's ending says (.png, .svg, .pdf)."""
    content = BytesIO()
    figure.savefig(content, format=path.suffix.lstrip(".") or "png", dpi=150)
    write_atomically(path, content.getvalue())


def save_formats(figure: Any, path: Path) -> list[Path]:
    """Writes a figure in each format.

    Args:
        figure: to be written.
        path: of the files, without ending.

    Returns:
        The files.
    """
    paths = [path.with_name(path.name + ending) for ending in _FORMATS]
    for each in paths:
        save_figure(figure, each)
    return paths


def colour(number: int) -> str:
    """The colour of a line of a figure; 0 is black."""
    return _COLOURS[number % len(_COLOURS)]


def line_style(number: int) -> dict[str, Any]:
    """How a line of a figure is drawn, so that it is told apart from others without its colour, too."""
    return {"color": colour(number), "linestyle": _STYLES[number % len(_STYLES)], "linewidth": 1.6}


def show_image(axes: Any, image: FloatArray, bounds: tuple[float, float]) -> None:
    """Draws one image (H, W, C) without ticks; in grey, the mean of its channels, unless it has three."""
    low, high = bounds
    scaled = (image - low) / (high - low)
    colours = scaled if image.shape[-1] == 3 else scaled.mean(axis=-1)
    axes.imshow(colours, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])


def _benign_caption(examples: AttackResult, index: int, class_names: tuple[str, ...]) -> str:
    """The class, and what the model takes it for where that is another one."""
    label, answer = class_names[examples.labels[index]], class_names[examples.benign_predictions[index]]
    return label if label == answer else f"{label}, taken for {answer}"


def _remark(examples: AttackResult, index: int) -> str:
    if not examples.attacked[index]:
        return " (not attacked)"
    if not examples.success[index]:
        return " (failed)"
    # An attack on region classification may turn the vote around a point whose own class is still the right one.
    return " (vote turned)" if examples.predictions[index] == examples.benign_predictions[index] else ""


def _draw(axes: Any, image: FloatArray, bounds: tuple[float, float], caption: str) -> None:
    show_image(axes, image, bounds)
    axes.set_title(drawn(caption), fontsize=9)
