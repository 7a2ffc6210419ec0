"""Options that several commands share."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from annotated_types import Interval

from advkeras.errors import InvalidInputError, require
from advkeras.parameters import AT_LEAST_ONE, POSITIVE
from advkeras.parameters import Seed as SeedNumber

Dataset = Annotated[
    str,
    typer.Option(
        help="mnist, cifar10, a file with images and labels (.npz, .npy, .h5, .csv), a folder with a subfolder of "
        "pictures for each class, or an image classification set that tensorflow-datasets has prepared.",
        rich_help_panel="Data",
    ),
]
Bounds = Annotated[
    tuple[float, float] | None,
    typer.Option(
        metavar="LOW HIGH",
        help="Lowest and highest pixel value that the model takes; 8-bit images are scaled to them. By default the "
        "model card's or the data set's.",
        rich_help_panel="Data",
    ),
]
ChannelsFirst = Annotated[
    bool | None,
    typer.Option(
        "--channels-first/--channels-last",
        help="Whether the model takes images (N, C, H, W); found out by the number of channels by default.",
        rich_help_panel="Data",
    ),
]
Threshold = Annotated[
    float | None,
    Interval(gt=0, lt=1),
    typer.Option(
        help="Of a model with one output: the probability from which on it says the second of two classes; a half by "
        "default.",
        rich_help_panel="Data",
    ),
]
OutputName = Annotated[
    str | None,
    typer.Option(
        help="Of a model with several outputs, the one that tells the classes: its name, or its place from 0. By "
        "default the one called logits, or the only one with a column for each class.",
        rich_help_panel="Data",
    ),
]
Preprocessing = Annotated[
    str | None,
    typer.Option(
        help="What is done to pictures before the model gets them, as in keras.applications: caffe, tf or torch.",
        rich_help_panel="Data",
    ),
]
Mean = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBERS",
        help="Subtracted from the pixels before the model gets them, in their unit: one number, or one for each "
        "channel, separated by commas.",
        rich_help_panel="Data",
    ),
]
Std = Annotated[
    str | None,
    typer.Option(metavar="NUMBERS", help="What the pixels are divided by then, likewise.", rich_help_panel="Data"),
]
WholePixels = Annotated[
    bool,
    typer.Option(
        "--whole-pixels",
        help="Examples have pixels of 8 bits, so that they exist as pictures: every attack searches among those alone.",
        rich_help_panel="Data",
    ),
]
Memory = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="What may be used for what goes through the networks at once, like 4GB; half of what is free by default, "
        "at most 2GB without a GPU.",
        rich_help_panel="Run",
    ),
]
Classes = Annotated[
    str | None,
    typer.Option(
        help="Names of the classes, separated by commas; those of the data set, or numbers, by default. A folder's "
        "subfolders are put into this order.",
        rich_help_panel="Data",
    ),
]
Resize = Annotated[
    bool, typer.Option("--resize", help="Scale images to the size that the model takes.", rich_help_panel="Data")
]
Arrays = Annotated[
    tuple[str, str] | None,
    typer.Option(
        metavar="IMAGES LABELS",
        help="What the two arrays of a file are called; by default images and labels, x_test and y_test, x and y, or "
        "arr_0 and arr_1.",
        rich_help_panel="Data",
    ),
]
Labels = Annotated[
    Path | None,
    typer.Option(
        help="File of labels: .npy beside a .npy of images, or .csv with a picture's name and its label in each row "
        "beside a flat folder.",
        rich_help_panel="Data",
    ),
]
SkipBroken = Annotated[
    bool,
    typer.Option("--skip-broken", help="Leave out pictures that cannot be read.", rich_help_panel="Data"),
]
Exif = Annotated[bool, typer.Option("--exif", help="Turn pictures as their EXIF entries say.", rich_help_panel="Data")]
DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Cache of tensorflow-datasets; else ADVKERAS_DATA_DIR, else its default.", rich_help_panel="Data"
    ),
]
Examples = Annotated[
    int | None,
    AT_LEAST_ONE,
    typer.Option(
        help="Images, from the start of the test split; by default 100 of MNIST, else 50, or all there are.",
        rich_help_panel="Data",
    ),
]
Model = Annotated[
    str, typer.Option(help="Zoo name, SavedModel folder, .keras, .h5 or .tflite file.", rich_help_panel="What to run")
]
TrustModel = Annotated[
    bool,
    typer.Option(
        "--trust-model",
        help="Run Python code that a .keras or .h5 file holds, the function of a Lambda layer for example; without it "
        "such a file is refused.",
        rich_help_panel="What to run",
    ),
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        help="Zoo name, SavedModel folder, .keras, .h5 or .tflite file; repeat for several. All of the zoo by default.",
        rich_help_panel="What to run",
    ),
]
BoundaryProtocol = Annotated[
    str,
    typer.Option(
        help="quick: 400 directions, 5 steps at a time; paper: 1,568 (MNIST) or 1,000, step by step, and the authors' "
        "searches for adversarial examples.",
        rich_help_panel="What to run",
    ),
]
Directions = Annotated[
    int | None, AT_LEAST_ONE, typer.Option(help="Directions; the protocol's by default.", rich_help_panel="What to run")
]
Reach = Annotated[
    float | None,
    POSITIVE,
    typer.Option(
        help="RMS up to which boundaries are looked for, in pixel units; the protocol's by default.",
        rich_help_panel="What to run",
    ),
]
Output = Annotated[
    str | None,
    typer.Option(
        help="Folder or URL (gs://, s3://) of the run; one below advkeras-results by default. What is already there, "
        "made the same way, is not made again, and nothing is replaced.",
        rich_help_panel="Run",
    ),
]
SliceSize = Annotated[
    int | None,
    AT_LEAST_ONE,
    typer.Option(
        "--slice",
        help="Images that are worked on and kept at once; a minute or two of work on two cores by default.",
        rich_help_panel="Run",
    ),
]
Shard = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER/OF",
        help="Do a share of the work, as 3/16, the third of 16; advkeras report puts the shares together.",
        rich_help_panel="Run",
    ),
]
Workers = Annotated[
    int | None,
    AT_LEAST_ONE,
    typer.Option(
        help="Processes that share the work by Ray, each with a GPU of its own where there are some.",
        rich_help_panel="Run",
    ),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="Of a Ray cluster whose machines share the work; auto on one of them.",
        rich_help_panel="Run",
    ),
]
Require = Annotated[
    list[str] | None,
    typer.Option(
        metavar="WHAT>=SHARE",
        help="An accuracy that there must be, as worst-case>=0.4, benign>=98%, region>=0.9 or pgd>=0.5; repeat for "
        "several. Exit code 3 where the 95% interval does not say so.",
        rich_help_panel="Run",
    ),
]
Seed = Annotated[SeedNumber, typer.Option(help="Of all the randomness.", rich_help_panel="Run")]
Json = Annotated[bool, typer.Option("--json", help="Print the results as JSON.", rich_help_panel="Run")]


def split_names(names: str) -> tuple[str, ...]:
    """``"cat, dog"`` as names.

    Raises:
        InvalidInputError: if there is none.
    """
    found = tuple(name.strip() for name in names.split(",") if name.strip())
    require(bool(found), "names are separated by commas", names=names)
    return found


def attack_names(given: Sequence[str] | None) -> tuple[str, ...]:
    """The attacks that an option names, by commas or repeated; none where it is not given."""
    return split_names(",".join(given)) if given else ()


def split_classes(classes: str | None) -> tuple[str, ...] | None:
    """The classes' names, where some are given."""
    return split_names(classes) if classes else None


def parse_numbers(text: str | None) -> tuple[float, ...]:
    """``"0.5,0.4"`` as numbers; None as none."""
    try:
        return tuple(float(number) for number in text.split(",")) if text is not None else ()
    except ValueError:
        raise InvalidInputError(f"numbers are separated by commas. Received: {text!r}") from None


def parse_parameters(parameters: Sequence[str]) -> dict[str, Any]:
    """``["iterations=200", "norm=l2"]`` as plain values."""
    parsed: dict[str, Any] = {}
    for parameter in parameters:
        name, separator, text = parameter.partition("=")
        if not separator or not name:
            raise InvalidInputError(f"--set takes NAME=VALUE. Received: {parameter}")
        try:
            parsed[name] = json.loads(text)
        except (ValueError, RecursionError):
            parsed[name] = text
    return parsed


def parse_attack_parameters(parameters: Sequence[str]) -> dict[str, dict[str, Any]]:
    """``["pgd.iterations=200"]`` as plain values, for each attack's name."""
    parsed: dict[str, dict[str, Any]] = {}
    for name, value in parse_parameters(parameters).items():
        attack, separator, parameter = name.partition(".")
        if not separator:
            raise InvalidInputError(f"--set takes ATTACK.NAME=VALUE. Received: {name}={value}")
        parsed.setdefault(attack, {})[parameter] = value
    return parsed
