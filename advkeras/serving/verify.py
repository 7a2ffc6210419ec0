"""Whether a SavedModel answers, without Python and without XLA, as the classifier that it was made from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from advkeras import regions
from advkeras.arrays import FloatArray
from advkeras.boundary.detector import BoundaryDetector
from advkeras.datasets import pictures
from advkeras.errors import InvalidInputError
from advkeras.models import Classifier, ModelCard
from advkeras.regions.voting import RegionVote
from advkeras.serving import signatures
from advkeras.serving.c_api import CApiError, CApiProcess
from advkeras.serving.signatures import Signature

_TOLERANCE = 1e-5
_COUNT = 8
_BISECTIONS = 12
_MUST_COMPILE = b"_XlaMustCompile"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        subject: a signature's name, or what else was looked at.
        passed: whether it is as it should be.
        detail: what was seen.
    """

    subject: str
    passed: bool
    detail: str


def verify(folder: Path, classifier: Classifier, *, detector: BoundaryDetector | None = None) -> list[Check]:
    """Runs every signature of a SavedModel through the C API and holds it against the classifier in this process.

    Args:
        folder: of a version that :func:`~advkeras.serving.export.export` has written.
        classifier: that it was made from.
        detector: that it was made with.

    Returns:
        What was looked at. A signature that fails is a check that has not passed.

    Raises:
        InvalidInputError: if the model cannot be loaded, or has no card that says how it was exported.
    """
    card = ModelCard.read(folder)
    if card is None or not card.serving:
        raise InvalidInputError(f"{folder} was not written by advkeras export: it has no model card that says how")
    vote = vote_of(card)
    checks = [_without_xla(folder)]
    found = signatures.signatures_of(folder)
    with CApiProcess(folder) as process:
        server = Server(process.run, found)
        images = split_images(classifier, vote)
        for name in found:
            try:
                checks += _check(name, server, classifier, vote, detector, images)
            except CApiError as error:
                checks.append(Check(name, False, str(error)))
    return checks


def vote_of(card: ModelCard) -> RegionVote:
    """The region's vote that a model was exported with."""
    parameters = dict(card.serving["region"])
    region = regions.get(parameters.pop("region"), parameters.pop("radius"))
    return RegionVote(region=region, **parameters)


def split_images(classifier: Classifier, vote: RegionVote, count: int = _COUNT) -> FloatArray:
    """Images (count, H, W, C) whose votes differ from sample to sample, as far as any are found.

    Noise around random levels, and the points where the class changes on the lines between such images; those whose
    agreement is nearest to a half.
    """
    generator = np.random.default_rng(0)
    low, high = classifier.bounds
    shape = (8 * count, *classifier.input_shape)
    spread, level = generator.uniform(0, 1, (2, shape[0], 1, 1, 1))
    noise = low + (high - low) * np.clip(level + spread * (generator.uniform(0, 1, shape) - 0.5), 0, 1)
    start: FloatArray = noise.astype(np.float32)
    end = start[generator.permutation(len(start))]
    classes = classifier.predict(start)
    inner, outer = np.zeros((2, len(start), 1, 1, 1), np.float32)
    outer += 1
    for _ in range(_BISECTIONS):
        middle = (inner + outer) / 2
        changed = (classifier.predict(start + middle * (end - start)) != classes)[:, None, None, None]
        inner, outer = np.where(changed, inner, middle), np.where(changed, middle, outer)
    points = np.concatenate([start, start + outer * (end - start)])
    votes = voted(classifier, vote, points, np.zeros(len(points), np.int32))
    order = np.argsort(np.abs(votes["agreement"] - 0.5), kind="stable")
    return np.asarray(points[order[:count]])


def voted(
    classifier: Classifier, vote: RegionVote, images: FloatArray, seed: npt.NDArray[np.int32]
) -> dict[str, npt.NDArray[Any]]:
    """What ``region_seeded`` should answer, computed in this process."""
    function, specs = signatures.region_seeded(classifier, vote)
    compiled = classifier.graph(("region_seeded", vote), lambda: function, specs)
    return {key: value.numpy() for key, value in compiled(tf.constant(images), tf.constant(seed)).items()}


class Server:
    """A loaded SavedModel, called by the names of its signatures' inputs and outputs.

    Args:
        run: from arrays by tensor names and the tensors to fetch to arrays by tensor names.
        found: the model's signatures.
    """

    def __init__(self, run: Any, found: Mapping[str, Signature]) -> None:
        self._run = run
        self._found = found

    def __call__(self, signature: str, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """The answers of a signature by the names of its outputs."""
        known = self._found[signature]
        answers = self._run(
            {known.inputs[key].tensor: value for key, value in inputs.items()},
            [info.tensor for info in known.outputs.values()],
        )
        return {key: answers[info.tensor] for key, info in known.outputs.items()}


def _without_xla(folder: Path) -> Check:
    demands = _MUST_COMPILE in (folder / "saved_model.pb").read_bytes()
    return Check("XLA", not demands, "compilation is demanded" if demands else "no function demands compilation")


def _check(
    name: str,
    server: Server,
    classifier: Classifier,
    vote: RegionVote,
    detector: BoundaryDetector | None,
    images: FloatArray,
) -> list[Check]:
    if name == signatures.DEFAULT:
        return [_point(name, server(name, {"images": images}), classifier.logits(images))]
    if name == signatures.BYTES:
        encoded = pictures.encoded(images, classifier.bounds)
        low, high = classifier.bounds
        decoded = [tf.io.decode_png(file, channels=classifier.input_shape[2]).numpy() for file in encoded]
        scaled = (low + np.stack(decoded).astype(np.float32) / 255 * (high - low)).astype(np.float32)
        return [_point(name, server(name, {"image_bytes": np.array(encoded, object)}), classifier.logits(scaled))]
    if name == signatures.REGION:
        first, second = (server(name, {"images": images}) for _ in range(2))
        return [_fresh(name, first["votes"], second["votes"])]
    if name == signatures.REGION_SEEDED:
        return _seeded(name, server, classifier, vote, images)
    if name == signatures.DETECT and detector is not None:
        expected = tf.function(detector.function(classifier), autograph=False)(tf.constant(images)).numpy()
        difference = float(np.abs(server(name, {"images": images})["probability"] - expected).max())
        return [Check(name, difference <= _TOLERANCE, f"probabilities differ by {difference:.1e} at most")]
    return [Check(name, False, "not a signature that could be checked here")]


def _point(name: str, answer: Mapping[str, npt.NDArray[Any]], logits: npt.NDArray[np.float32]) -> Check:
    """Logits are compared in units of the largest one, since that is what rounding errors grow with."""
    scale = max(1.0, float(np.abs(logits).max()))
    difference = float(np.abs(answer["logits"] - logits).max()) / scale
    probabilities = float(np.abs(answer["probabilities"] - tf.nn.softmax(logits).numpy()).max())
    same = bool((answer["class"] == answer["logits"].argmax(axis=1)).all())
    return Check(
        name,
        difference <= _TOLERANCE and probabilities <= _TOLERANCE and same,
        f"logits differ by {difference:.1e} of the largest, probabilities by {probabilities:.1e} at most",
    )


def _fresh(name: str, first: npt.NDArray[Any], second: npt.NDArray[Any]) -> Check:
    """Fresh points show where votes are split; where all are unanimous, nothing is held against the model."""
    if all((votes.max(axis=1) == votes.sum(axis=1)).all() for votes in (first, second)):
        return Check(
            name,
            True,
            f"votes are unanimous on all {len(first)} images tried: fresh points cannot be told from old ones",
        )
    differing = int((first != second).any(axis=1).sum())
    return Check(name, differing > 0, f"two requests: other votes on {differing} of {len(first)} images")


def _seeded(name: str, server: Server, classifier: Classifier, vote: RegionVote, images: FloatArray) -> list[Check]:
    seed = np.arange(len(images), dtype=np.int32)
    first, second = (server(name, {"images": images, "seed": seed}) for _ in range(2))
    alone = server(name, {"images": images[-1:], "seed": seed[-1:]})
    repeated = all(np.array_equal(first[key], second[key]) for key in first)
    independent = bool(np.array_equal(first["votes"][-1:], alone["votes"]))
    expected = voted(classifier, vote, images, seed)
    differing = int((first["votes"] != expected["votes"]).any(axis=1).sum())
    agreement = float(np.abs(first["agreement"] - expected["agreement"]).max())
    return [
        Check(name, repeated, f"the same request again is {'equal' if repeated else 'NOT equal'} to the bit"),
        Check(name, independent, f"an image alone has {'the same' if independent else 'OTHER'} votes as in a batch"),
        Check(
            name,
            agreement <= _TOLERANCE and differing == 0,
            f"other votes than here on {differing} of {len(images)} images, agreement differs by {agreement:.1e}",
        ),
    ]
