"""Whether a SavedModel answers, without Python and without XLA, as the classifier that it was made from."""

import math
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
from advkeras.serving.c_api import READABLE, CApiError, CApiProcess
from advkeras.serving.signatures import Signature

_TOLERANCE = 1e-5
# Images that are looked at, of so many numbers together, where that is fewer; and how many are tried for each of them.
_COUNT, _NUMBERS, _TRIED = 8, 2**18, 8
_BISECTIONS = 12
# Points that only tell split regions from others.
_FEW_SAMPLES = 16
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
        numbers = math.prod(classifier.input_shape)
        images = split_images(classifier, vote, max(2, min(_COUNT, _NUMBERS // numbers)))
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
    agreement, by a few points, is nearest to a half.
    """
    generator = np.random.default_rng(0)
    low, high = classifier.bounds
    shape = (_TRIED * count, *classifier.input_shape)
    spread, level = generator.uniform(0, 1, (2, shape[0], 1, 1, 1))
    noise = low + (high - low) * np.clip(level + spread * (generator.uniform(0, 1, shape) - 0.5), 0, 1)
    start: FloatArray = noise.astype(np.float32)
    end = start[generator.permutation(len(start))]
    classes = classifier.predict(start)
    # Where the class is the same at both ends there is nothing to look for in between.
    apart = np.flatnonzero(classes != classifier.predict(end))[: 2 * count]
    inner, outer = np.zeros((2, len(apart), 1, 1, 1), np.float32)
    outer += 1
    for _ in range(_BISECTIONS if len(apart) else 0):
        middle = (inner + outer) / 2
        between = start[apart] + middle * (end[apart] - start[apart])
        changed = (classifier.predict(between) != classes[apart])[:, None, None, None]
        inner, outer = np.where(changed, inner, middle), np.where(changed, middle, outer)
    points = np.concatenate([start[apart] + outer * (end[apart] - start[apart]), start])[: 2 * count]
    # By the classifier as it is: a vote of few points would be another graph to compile.
    offsets = vote.region.offsets((_FEW_SAMPLES, *classifier.input_shape), tf.constant([0, 0])).numpy()
    around = np.clip(points[:, None] + offsets, low, high).reshape(-1, *classifier.input_shape)
    found = classifier.predict(around).reshape(len(points), _FEW_SAMPLES)
    leading = np.array([np.unique(row, return_counts=True)[1].max() for row in found])
    order = np.argsort(np.abs(leading / _FEW_SAMPLES - 0.5), kind="stable")
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
        """The answers of a signature by the names of its outputs; strings and the like are left out."""
        known = self._found[signature]
        outputs = {key: info.tensor for key, info in known.outputs.items() if info.dtype in READABLE}
        answers = self._run({known.inputs[key].tensor: value for key, value in inputs.items()}, [*outputs.values()])
        return {key: answers[tensor] for key, tensor in outputs.items()}


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
        few = images[: max(1, len(images) // 2)]
        first, second = (server(name, {"images": few}) for _ in range(2))
        return [_fresh(name, first, second, vote)]
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


def _fresh(
    name: str, first: Mapping[str, npt.NDArray[Any]], second: Mapping[str, npt.NDArray[Any]], vote: RegionVote
) -> Check:
    """Whether two requests were answered by other points: votes do not show it, where all points say the same."""
    if not vote.region.radius:
        return Check(name, True, "a radius of 0 has one point, which is the image: none are drawn")
    if "noise" not in first:
        return Check(name, False, "it does not say which points were drawn: export the model anew")
    images = len(first["noise"])
    same = int((first["noise"] == second["noise"]).sum())
    # One number of one image may be the same by chance.
    return Check(name, same < images, f"two requests: other points on {images - same} of {images} images")


def _seeded(name: str, server: Server, classifier: Classifier, vote: RegionVote, images: FloatArray) -> list[Check]:
    seed = np.arange(len(images), dtype=np.int32)
    first = server(name, {"images": images, "seed": seed})
    alone, again = (server(name, {"images": images[-1:], "seed": seed[-1:]}) for _ in range(2))
    repeated = all(np.array_equal(alone[key], again[key]) for key in alone)
    independent = bool(np.array_equal(first["votes"][-1:], alone["votes"]))
    expected = voted(classifier, vote, images, seed)
    differing = int((first["votes"] != expected["votes"]).any(axis=1).sum())
    agreement = float(np.abs(first["agreement"] - expected["agreement"]).max())
    radius = vote.region.radius or 1.0
    noise = float(np.abs(first.get("noise", expected["noise"]) - expected["noise"]).max()) / radius
    return [
        Check(name, repeated, f"the same request again is {'equal' if repeated else 'NOT equal'} to the bit"),
        Check(name, independent, f"an image alone has {'the same' if independent else 'OTHER'} votes as in a batch"),
        Check(
            name,
            agreement <= _TOLERANCE and noise <= _TOLERANCE and differing == 0,
            f"other votes than here on {differing} of {len(images)} images, agreement differs by {agreement:.1e}, "
            f"noise by {noise:.1e} of the radius",
        ),
    ]
