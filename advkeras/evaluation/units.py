"""What an evaluation computes of one slice of images: examples, the votes on them, the same attack with more work."""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from advkeras import __version__
from advkeras.arrays import BoolArray, Progress, linf
from advkeras.attacks.base import Attack
from advkeras.attacks.result import COUNTS, FOUND, AttackResult
from advkeras.datasets import LabelledImages
from advkeras.defenses.region_classification import RegionClassification
from advkeras.errors import InvalidInputError
from advkeras.evaluation.results import BENIGN
from advkeras.evaluation.slices import Slice, places_of
from advkeras.models import Classifier, layout
from advkeras.models.counted import Passes
from advkeras.regions.voting import Stop
from advkeras.runs.unit import Result, Unit
from advkeras.searches.trace import Trace

# How much more work the check of convergence gives an attack.
FACTOR = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class OfModel(Unit):
    """A unit that asks a model about a slice of images.

    Attributes:
        classifier: the model.
        checksum: of the model.
        part: the slice.
        of: name of the attack, or ``"benign"``.
        shown: what people call that.
    """

    classifier: Classifier
    checksum: str
    part: Slice
    of: str
    shown: str

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Takes what another process has sent, once the model that was loaded here is the one that is meant."""
        vars(self).update(state)
        require_same(self.classifier, self.checksum)

    @property
    def title(self) -> str:
        """Model and attack."""
        return f"{self.classifier.name}: {self.shown}"

    @property
    def subject(self) -> Mapping[str, Any]:
        """The model, how it is used, the images, and what :attr:`parameters` say."""
        return {
            "advkeras": __version__,
            "model": self.checksum,
            "usage": self.classifier.usage.record(),
            "bounds": self.classifier.bounds,
            "images": self.part.checksum,
            **self.parameters,
        }

    @property
    def parameters(self) -> Mapping[str, Any]:
        """What else decides the result, as plain values."""
        return {}

    @property
    def passes(self) -> Passes:
        """What it sends through the network, at most; for all images of the slice."""
        return Passes(0, 0)

    @property
    def asked(self) -> dict[str, Any]:
        """What units that follow on this one have in common with it, as arguments."""
        return {name: getattr(self, name) for name in ("classifier", "checksum", "part", "of", "shown")}


@dataclass(frozen=True, kw_only=True, eq=False)
class Examples(OfModel):
    """What an attack finds on a slice; on benign images, what the model makes of them.

    Attributes:
        attack: None leaves the images as they are.
    """

    attack: Attack | None

    kind: ClassVar[str] = "examples"
    version: ClassVar[int] = 2

    @classmethod
    def planned(cls, classifier: Classifier, checksum: str, part: Slice, attack: Attack | None) -> "Examples":
        """The unit of an attack, or of benign images."""
        of, shown = (attack.name, attack.title) if attack else (BENIGN, "Benign")
        return cls(classifier=classifier, checksum=checksum, part=part, of=of, shown=shown, attack=attack)

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Of the attack."""
        if self.attack is None:
            return {"attack": BENIGN}
        return {"attack": self.of, "config": self.attack.get_config(), "attack_data": self.attack.data_checksum}

    def compute(self, found: Sequence[Result], progress: Progress) -> Result:
        """Crafts the examples; true classes are kept beside the benign ones alone."""
        data = self.part.data
        if self.attack is None:
            result = untouched(self.classifier, data)
        else:
            result = self.attack(self.classifier, data.images, data.labels, places=data.places, progress=progress)
        arrays = result.found if self.attack else {**result.found, "labels": result.labels}
        return Result({**arrays, "linf": linf(result.adversarials - result.images)}, result.counts)

    @property
    def passes(self) -> Passes:
        """Those of the attack; benign images are looked at once."""
        forwards, gradients = self.attack.passes if self.attack else (1, 0)
        return Passes(len(self.part.data) * forwards, len(self.part.data) * gradients)

    def result(self, found: Result) -> AttackResult:
        """What the attack returned."""
        data = self.part.data
        returned: dict[str, Any] = {name: found.arrays[name] for name in FOUND}
        returned |= {name: found.facts[name] for name in COUNTS}
        return AttackResult(images=data.images, labels=data.labels, trace=Trace.of_arrays(found.arrays), **returned)


@dataclass(frozen=True, kw_only=True, eq=False)
class OverRegion(OfModel):
    """A unit that asks a model about points of a hypercube around a slice's examples.

    Attributes:
        radius: of the hypercube, in pixel units.
        samples: points.
        seed: of the points.
    """

    radius: float
    samples: int
    seed: int

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Of the region."""
        return {"radius": self.radius, "samples": self.samples, "seed": self.seed}

    @property
    def passes(self) -> Passes:
        """All points."""
        return Passes(len(self.part.data) * self.samples, 0)

    def layer(self, stop: Stop = "never") -> RegionClassification:
        """What takes the vote, and when it may stop."""
        return RegionClassification(
            self.classifier, radius=self.radius, samples=self.samples, stop=stop, seed=self.seed
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Votes(OverRegion):
    """What region classification makes of a slice's examples."""

    kind: ClassVar[str] = "votes"

    def compute(self, found: Sequence[Result], progress: Progress) -> Result:
        """Takes the votes."""
        start = time.perf_counter()
        region = self.layer("exact")  # the full vote's answer, for fewer points
        classes = region.predict(found[0].arrays["adversarials"], places=self.part.data.places)["class"]
        return Result({"classes": classes}, {"seconds": round(time.perf_counter() - start, 3)})


@dataclass(frozen=True, kw_only=True, eq=False)
class Recheck(OfModel):
    """An attack once more, with twice the work, on a few images of a slice: had the search ended?

    Attributes:
        examples: whose attack it is; the unit that this one follows on.
        count: images that are attacked again, at most.
    """

    examples: Examples
    count: int

    kind: ClassVar[str] = "recheck"

    @property
    def parameters(self) -> Mapping[str, Any]:
        """How many images, and how much more work."""
        return {"images": self.count, "factor": FACTOR}

    @property
    def passes(self) -> Passes:
        """Those of the attack, for some of the images."""
        share = FACTOR * self.count / len(self.part.data)
        return Passes(*(round(share * number) for number in self.examples.passes))

    def compute(self, found: Sequence[Result], progress: Progress) -> Result:
        """Attacks again; distances are in the norm that the attack makes small, of both searches' examples."""
        attack = self.examples.attack
        if attack is None:
            raise TypeError("benign images are not attacked again")
        start = time.perf_counter()
        before = self.examples.result(found[0])
        chosen = _spread(before.attacked, self.count)
        few = self.part.data.where(chosen)
        arrays: dict[str, npt.NDArray[Any]] = {
            "success": before.success[chosen],
            "success_again": before.success[chosen],
        }
        distances = [np.zeros(len(few), np.float32)] * 2
        if len(few):
            again = attack.with_work(FACTOR)(
                self.classifier, few.images, few.labels, places=few.places, progress=progress
            )
            arrays["success_again"] = again.success
            distances = [attack.distance(x - few.images) for x in (before.adversarials[chosen], again.adversarials)]
        arrays |= {"distance": distances[0], "distance_again": distances[1]}
        return Result(arrays, {"seconds": round(time.perf_counter() - start, 3)})


def raised(attack: Attack) -> str:
    """The hyperparameters that the check of convergence raises, as a command line takes them after ``--set``."""
    before, after = (
        {**config, **config.get("search", {})}
        for config in (each.get_config() for each in (attack, attack.with_work(FACTOR)))
    )
    names = (name for name in after if name != "search" and after[name] != before[name])
    return " --set ".join(f"{attack.name}.{name}={after[name]}" for name in names)


def untouched(classifier: Classifier, data: LabelledImages) -> AttackResult:
    """Benign images as the result of an attack that does nothing."""
    start = time.perf_counter()
    images = classifier.check_images(data.images)
    predictions = classifier.predict(images)
    count = len(data)
    nothing: npt.NDArray[Any] = np.zeros(count, np.int32)
    return AttackResult(
        images=images,
        labels=data.labels,
        adversarials=images,
        success=nothing.astype(bool),
        attacked=nothing.astype(bool),
        distortion=nothing.astype(np.float32),
        predictions=predictions,
        benign_predictions=predictions,
        zero_gradients=nothing,
        nonfinite_gradients=nothing,
        forward_count=count,
        gradient_count=0,
        seconds=time.perf_counter() - start,
    )


def checksum(classifier: Classifier) -> str:
    """Of the files that the classifier was loaded from, and of a Keras model's weights; else of its answers."""
    told = classifier.usage.is_recorded
    if told and classifier.folder is not None:
        return layout.checksum(classifier.folder)
    if told and classifier.source is not None and Path(classifier.source).is_file():
        digest = hashlib.sha256(Path(classifier.source).read_bytes())
        for weights in classifier.model.get_weights() if classifier.model is not None else ():
            digest.update(weights.tobytes())
        return digest.hexdigest()
    low, high = classifier.bounds
    probes = np.random.default_rng(0).uniform(low, high, (4, *classifier.input_shape))
    return "answers:" + hashlib.sha256(classifier.logits(probes).tobytes()).hexdigest()


_KNOWN: WeakKeyDictionary[Classifier, dict[str, bool]] = WeakKeyDictionary()


def require_same(classifier: Classifier, digest: str) -> None:
    """Makes sure that a classifier has a checksum; looked at once.

    Raises:
        InvalidInputError: if it has another one.
    """
    known = _KNOWN.setdefault(classifier, {})
    if digest not in known:
        known[digest] = checksum(classifier) == digest
    if not known[digest]:
        raise InvalidInputError(
            f"{classifier.name} is another model where it is loaded again from {classifier.source}: what is changed in "
            "memory has to be saved first"
        )


def _spread(attacked: BoolArray, count: int) -> BoolArray:
    """So many of the attacked images, spread over all of them."""
    places = np.flatnonzero(attacked)
    chosen = np.zeros(len(attacked), bool)
    chosen[places[places_of(len(places), count)]] = True
    return chosen
