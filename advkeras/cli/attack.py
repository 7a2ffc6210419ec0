"""``advkeras attack``."""

import json
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from advkeras.cli import options
from advkeras.cli.console import counted, counting, import_tensorflow, out, progress_bar
from advkeras.cli.subjects import Subject, on_subject, say_further_flags
from advkeras.errors import InvalidInputError
from advkeras.parameters import NOT_NEGATIVE

# What _write_pictures calls an example.
_PICTURE = re.compile(r"\d{5,}-\d+-as-\d+\.png")


@on_subject
def attack(
    subject: Subject,
    name: Annotated[
        str,
        typer.Argument(
            metavar="ATTACK",
            help="fgsm, pgd, apgd, apgd-t, fab, autoattack, quick, optlinf, optbrittle, optmargin, optstrong, "
            "optregion or optmimic; without gradients, square or hopskipjump; or one of your own (advkeras --load).",
        ),
    ],
    model: options.Model = "mnist-natural",
    parameters: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="A parameter of the attack, for example gradients=200; repeat for several.",
            rich_help_panel="What to run",
        ),
    ] = None,
    epsilon: Annotated[
        float | None,
        NOT_NEGATIVE,
        typer.Option(
            help="Of attacks that stay within one, in pixel units; the protocol's by default.",
            rich_help_panel="What to run",
        ),
    ] = None,
    target: Annotated[
        int | None,
        NOT_NEGATIVE,
        typer.Option(
            help="Class to reach; images of that class are left out (a search by classes starts at them). Any wrong "
            "class by default.",
            rich_help_panel="What to run",
        ),
    ] = None,
    seed: options.Seed = 0,
    output: Annotated[
        Path | None,
        typer.Option(
            help="The .npz file to write, with a .png picture beside it; MODEL-ATTACK.npz by default. With "
            "--whole-pixels each example is written as a .png file into a folder of that name, too.",
            rich_help_panel="Run",
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Craft adversarial examples, and save them (.npz) with a picture of them (.png).

    Example: [bold]advkeras attack pgd --model mnist-pgd --set iterations=100 --examples 20[/]
    """
    import_tensorflow()
    import numpy as np

    from advkeras import records
    from advkeras.attacks.families import FixedNormAttack
    from advkeras.attacks.registry import configure
    from advkeras.evaluation.example_flags import of_result
    from advkeras.evaluation.signs import of_study
    from advkeras.files import safe_name
    from advkeras.proportion import Proportion
    from advkeras.reporting.figures import example_picture

    if output is not None:
        _require_npz(output)
    (classifier,), spec, data = subject.load((model,))
    given = {each.removeprefix(f"{name}."): value for each, value in options.parse_parameters(parameters or ()).items()}
    configured = configure(name, spec, {"seed": seed, "epsilon": epsilon, **given})
    targets = None
    if target is not None:
        reached = data.where(data.labels == target)
        if len(reached):
            configured = configured.among(reached.images)
        data = data.where(data.labels != target)
        targets = np.full(len(data), target, np.int32)
    path = output or Path(f"{safe_name(classifier.name)}-{name}.npz")
    _require_npz(path)
    with progress_bar() as progress:
        result = configured(
            classifier,
            data.images,
            data.labels,
            targets,
            places=data.places,
            progress=counting(progress, configured.title),
        )
    found = result.with_facts(
        attack=name, config=configured.get_config(), model=classifier.name, data=data.source, target=target
    )
    found.write(path)
    flags = (
        *of_study((classifier,), (configured,), classifier.bounds, data.images),
        *of_result(
            found,
            model=classifier.name,
            attack=name,
            title=configured.title,
            within=isinstance(configured, FixedNormAttack),
            num_classes=classifier.num_classes,
        ),
    )
    say_further_flags(flags, [classifier])
    picture = path.with_suffix(".png")
    example_picture(
        found,
        picture,
        bounds=classifier.bounds,
        class_names=spec.class_names,
        title=f"{configured.title} on {classifier.name}",
    )
    saved = f"{path} and {picture}"
    if classifier.levels is not None:
        folder = _write_pictures(found, data.places, path.with_suffix(""), spec.bounds)
        saved += f", and each of them as a picture in {folder}"
    success = Proportion(int(found.success.sum()), int(found.attacked.sum()))
    distortion = float(found.distortion[found.success].mean()) if success.count else None
    if as_json:
        out.print_json(
            json.dumps(
                {
                    **found.facts,
                    **found.counts,
                    "success": records.plain(success),
                    "distortion": distortion,
                    "flags": [records.plain(flag) for flag in flags],
                    "output": str(path),
                }
            )
        )
        return
    average = "" if distortion is None else f", average RMS {distortion:.4g}"
    out.print(
        f"{configured.title} on {classifier.name}: {success.count} of {success.of} succeeded{average}, "
        f"{result.seconds:.1f} s; {counted(len(data), 'image')}: {data.source}; written to {saved}",
        soft_wrap=True,
    )


def _require_npz(path: Path) -> None:
    from advkeras.files import require_writable_folder

    if path.suffix != ".npz" or path.is_dir():
        raise InvalidInputError(f"--output must be a file that ends with .npz. Received: {path}")
    require_writable_folder(path.parent)


def _write_pictures(found: Any, places: Any, folder: Path, bounds: tuple[float, float]) -> Path:
    """Each example that fools as a picture, PLACE-CLASS-as-CLASS.png, and no other picture of that form."""
    from advkeras.datasets import pictures
    from advkeras.files import write_atomically

    rows = found.success.nonzero()[0]
    names = [f"{places[row]:05}-{found.labels[row]}-as-{found.predictions[row]}.png" for row in rows]
    for name, content in zip(names, pictures.encoded(found.adversarials[rows], bounds), strict=True):
        write_atomically(folder / name, content)
    # What an earlier command has found is no part of the .npz file any more.
    kept = set(names)
    for path in folder.iterdir() if folder.is_dir() else ():
        if _PICTURE.fullmatch(path.name) and path.name not in kept:
            path.unlink()
    return folder
