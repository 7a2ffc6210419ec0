"""``advkeras export``."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from advkeras.cli.console import err, import_tensorflow, out
from advkeras.cli.subjects import ModelUse, using_model
from advkeras.errors import AdvkerasError
from advkeras.parameters import AT_LEAST_ONE, NOT_NEGATIVE
from advkeras.reporting.layout import plain_table


@using_model
def export(
    use: ModelUse,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Zoo name, SavedModel folder or .keras file.")],
    output: Annotated[
        Path,
        typer.Option(help="Folder above the versions; the next free version number is written.", show_default=False),
    ],
    radius: Annotated[
        float | None,
        NOT_NEGATIVE,
        typer.Option(
            help="Of region classification, in pixel units; by default that of the model's data set, or 0.02 of the "
            "pixels' range.",
            rich_help_panel="Region",
        ),
    ] = None,
    samples: Annotated[int, AT_LEAST_ONE, typer.Option(help="Points of a vote.", rich_help_panel="Region")] = 100,
    region: Annotated[str, typer.Option(help="hypercube, ball or gaussian.", rich_help_panel="Region")] = "hypercube",
    combine: Annotated[
        str, typer.Option(help="majority, mean_softmax or mean_logits.", rich_help_panel="Region")
    ] = "majority",
    stop: Annotated[
        str, typer.Option(help="When a vote may stop early: never, exact or confident.", rich_help_panel="Region")
    ] = "exact",
    detector: Annotated[
        Path | None,
        typer.Option(help="Detector of adversarial examples (.keras), as advkeras detect has trained it."),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Run every signature without Python's TensorFlow and compare with the model."),
    ] = False,
) -> None:
    """Write a model as TF Serving takes it, with signatures for point and region classification.

    Example: [bold]advkeras export mnist-pgd --output served/mnist-pgd --verify[/]
    """
    import_tensorflow()
    from advkeras import regions
    from advkeras.boundary.detector import BoundaryDetector
    from advkeras.regions.voting import LARGEST_ROUND, RegionVote
    from advkeras.serving.export import export as write
    from advkeras.serving.signatures import signatures_of
    from advkeras.serving.verify import verify as run_checks

    classifier = use.classifier(model)
    chosen = regions.get(region, _radius(classifier) if radius is None else radius)
    # What a vote refuses, it refuses by name.
    vote = RegionVote(
        region=chosen,
        samples=samples,
        combine=combine,  # type: ignore[arg-type]
        stop=stop,  # type: ignore[arg-type]
        chunk_size=max(LARGEST_ROUND, classifier.at_once),
    )
    loaded = BoundaryDetector.load(detector) if detector else None
    folder = write(classifier, output, vote=vote, detector=loaded)
    table = plain_table(None, ("Signature", "Inputs", "Outputs"))
    for name, signature in sorted(signatures_of(folder).items()):
        table.add_row(name, ", ".join(signature.inputs), ", ".join(sorted(signature.outputs)))
    out.print(table)
    if find_spec("tensorflow_serving") is None:
        err.print("no warm-up requests: pip install 'advkeras[serving]' for these")
    out.print(f"written to {folder}", soft_wrap=True)
    if not verify:
        return
    checks = run_checks(folder, classifier, detector=loaded)
    for check in checks:
        out.print(f"{'ok    ' if check.passed else 'FAILED'} {check.subject}: {check.detail}", soft_wrap=True)
    failed = [check for check in checks if not check.passed]
    if failed:
        raise AdvkerasError(f"{len(failed)} of {len(checks)} checks of {folder} failed: {failed[0].detail}")


def _radius(classifier: Any) -> float:
    """The radius of the data set that the model was trained on; of another one, as the protocol scales CIFAR-10's."""
    from advkeras import datasets

    card = classifier.card
    if card is not None and card.dataset in datasets.names():
        return datasets.get(card.dataset).region_radius
    return datasets.get("cifar10").with_bounds(classifier.bounds).region_radius
