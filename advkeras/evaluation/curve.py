"""Security curves, accuracy against epsilon, as units of a long run: one search for the least distances, and checks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from os import PathLike
from typing import Any

from advkeras import __version__
from advkeras.arrays import FloatArray
from advkeras.attacks import registry
from advkeras.attacks.base import Attack
from advkeras.attacks.families import FixedNormAttack, MinimumNormAttack
from advkeras.datasets import DatasetSpec, LabelledImages
from advkeras.errors import InvalidInputError, require
from advkeras.evaluation.curve_fold import CURVE, PlannedCheck, PlannedCurves, PlannedModelCurve
from advkeras.evaluation.curve_results import CurveReport
from advkeras.evaluation.fit import check_all_fit
from advkeras.evaluation.signs import of_pixels, of_use
from advkeras.evaluation.slices import Slice, checksum_of, company, slices_of, usual_size
from advkeras.evaluation.units import Examples, checksum
from advkeras.models import Classifier
from advkeras.parameters import Positive, Seed, held
from advkeras.runs.execute import Watch, execute
from advkeras.runs.store import Store
from advkeras.runs.study import Compute
from advkeras.searches.norms import NormName

_SEARCHES: dict[NormName, str] = {"linf": "optlinf", "l2": "optbrittle"}
# Of the data set's epsilon: where natural and adversarially trained models differ.
_SHARES = (1 / 8, 1 / 4, 1 / 2, 1.0, 3 / 2)
# In L2 epsilons are usual that are about a quarter of the length of the data set's epsilon in all pixels.
_IN_L2 = 1 / 4


@dataclass(frozen=True, kw_only=True)
class CurveProtocol:
    """What curves are drawn of.

    Attributes:
        norm: of the distances: ``linf``, the largest change of a pixel, or ``l2``, the Euclidean length.
        search: the attack that looks for the least distances.
        at: epsilons of the table, increasing, in pixel units.
        checks: a fixed-norm attack at each of them; none without a check.
        seed: of all the randomness.
    """

    norm: NormName
    search: MinimumNormAttack
    at: tuple[float, ...]
    checks: tuple[FixedNormAttack, ...]
    seed: int

    @classmethod
    def build(
        cls,
        spec: DatasetSpec,
        *,
        norm: str = "linf",
        attack: str | None = None,
        at: Sequence[float] = (),
        check: str | None = None,
        parameters: Mapping[str, Mapping[str, Any]] | None = None,
        seed: int = 0,
    ) -> "CurveProtocol":
        """The protocol on a data set; its attacks are those of :class:`Protocol`, and so share their examples.

        Args:
            spec: the data set.
            norm: of the distances, ``linf`` or ``l2``.
            attack: name of the one that looks for the least distances; OptLinf or OptBrittle by default.
            at: epsilons of the table, in pixel units; five around the data set's epsilon by default.
            check: name of a fixed-norm attack to run at each of them; none by default.
            parameters: for an attack's name, hyperparameters to use instead of the protocol's.
            seed: of all the randomness.

        Raises:
            InvalidInputError: if the norm or an attack is unknown, an attack is of another kind or norm, or a value
                makes no sense.
        """
        in_norm: NormName = held("norm", norm, NormName)
        seed = held("seed", seed, Seed)
        epsilons = tuple(sorted({held("at", each, Positive) for each in at})) or usual_epsilons(spec, in_norm)
        chosen, changed = (attack or _SEARCHES[in_norm], *((check,) if check else ())), parameters or {}
        for name in changed:
            if name not in chosen:
                raise InvalidInputError(f"parameters of {name}, which is not run: it runs {' and '.join(chosen)}")
        require("epsilon" not in changed.get(check or "", {}), "the epsilons of a check are those of --at", at=epsilons)

        def configured(name: str, **more: Any) -> Any:
            return _in_norm(name, spec, in_norm, {"seed": seed, **changed.get(name, {}), **more})

        search = configured(chosen[0])
        if not isinstance(search, MinimumNormAttack):
            raise InvalidInputError(
                f"a curve is made by an attack that looks for the least distance. Received: {attack}"
            )
        if check and not registry.has_epsilon(check):
            raise InvalidInputError(f"a check is made by an attack that stays within an epsilon. Received: {check}")
        return cls(
            norm=in_norm,
            search=search,
            at=epsilons,
            checks=tuple(configured(check, epsilon=epsilon) for epsilon in epsilons) if check else (),
            seed=seed,
        )


def usual_epsilons(spec: DatasetSpec, norm: NormName) -> tuple[float, ...]:
    """Epsilons around those that are usual on a data set, in pixel units."""
    if norm == "linf":
        return tuple(spec.epsilon if share == 1 else float(f"{share * spec.epsilon:.6g}") for share in _SHARES)
    middle = _IN_L2 * spec.epsilon * math.sqrt(math.prod(spec.shape))
    return tuple(float(f"{share * middle:.2g}") for share in _SHARES)


def measure_curves(
    classifiers: Sequence[Classifier],
    data: LabelledImages,
    spec: DatasetSpec,
    protocol: CurveProtocol,
    output: str | PathLike[str],
    *,
    slice_size: int | None = None,
    compute: Compute = execute,
    watch: Watch | None = None,
) -> CurveReport:
    """Looks for each image's least distance, from which follows the accuracy at every epsilon.

    Args:
        classifiers: whose curves.
        data: images and true classes.
        spec: the data set.
        protocol: what to run.
        output: folder or URL of the run: units' results, and made of them curve.json, curve.csv and a folder of .npz
            files for each model. Units that are already there, made the same way, are not run again: those of
            :func:`advkeras.evaluation.runner.evaluate` are the same. Models whose curves are there already, and answer
            the same question, stay beside the new ones.
        slice_size: images that one unit works on; by default as many as take a minute or two on two cores.
        compute: has the units computed; here, one after the other, by default.
        watch: told as the work goes on.

    Returns:
        The report; of an unfinished run, if units are left to others.

    Raises:
        InvalidInputError: if the folder cannot be written, two models have the same name, or a model does not fit the
            images.
        UnitsFailedError: if units could not be computed; the others are.
    """
    check_all_fit(classifiers, spec)
    slices = slices_of(data, usual_size(spec) if slice_size is None else slice_size)
    models = [_model(classifier, slices, protocol, company(data)) for classifier in classifiers]
    report = CurveReport(
        dataset=spec.name,
        dataset_title=spec.title,
        data_source=data.source,
        examples=len(data),
        bounds=spec.bounds,
        epsilon=spec.epsilon,
        norm=protocol.norm,
        search=protocol.search.title,
        search_config=protocol.search.get_config(),
        check=protocol.checks[0].title if protocol.checks else "",
        check_configs=tuple(check.get_config() for check in protocol.checks),
        at=protocol.at,
        seed=protocol.seed,
        models=(),
        flags=tuple(of_pixels(spec.bounds, (float(data.images.min()), float(data.images.max())))),
    )
    about = PlannedCurves(
        report=report,
        attack=protocol.search.name,
        num_classes=spec.num_classes,
        pixels=math.prod(spec.shape),
        images=checksum_of(slices),
        models=tuple(planned for planned, _ in models),
        version=__version__,
    )
    units = [unit for _, of_model in models for unit in of_model]
    return CURVE.carry_out(about, units, Store(output), compute=compute, watch=watch)


def _model(
    classifier: Classifier, slices: Sequence[Slice], protocol: CurveProtocol, among: FloatArray
) -> tuple[PlannedModelCurve, list[Examples]]:
    """A model and its units, slice by slice, so that a run that is stopped has all of them on some images."""
    digest = checksum(classifier)
    for attack in (protocol.search, *protocol.checks):
        attack.check_gradients(classifier)

    def units(attack: Attack | None) -> list[Examples]:
        chosen = attack.among(among) if attack else None
        return [Examples.planned(classifier, digest, part, chosen) for part in slices]

    benign, search = units(None), units(protocol.search)
    checks = [
        [replace(unit, shown=f"{check.title} within {check.epsilon:g}") for unit in units(check)]
        for check in protocol.checks
    ]
    planned = PlannedModelCurve(
        name=classifier.name,
        source=classifier.source or "in memory",
        checksum=digest,
        usage=classifier.usage.record(),
        flags=of_use(classifier, (protocol.search, *protocol.checks[:1])),
        benign=_digests(benign),
        search=_digests(search),
        checks=tuple(
            PlannedCheck(epsilon=check.epsilon, config=check.get_config(), units=_digests(row))
            for check, row in zip(protocol.checks, checks, strict=True)
        ),
    )
    return planned, [unit for of_slice in zip(benign, search, *checks, strict=True) for unit in of_slice]


def _digests(units: Sequence[Examples]) -> tuple[str, ...]:
    return tuple(unit.digest for unit in units)


def _in_norm(name: str, spec: DatasetSpec, norm: NormName, given: Mapping[str, Any]) -> Attack:
    """The attack of a name in a norm, where it has a choice.

    Raises:
        InvalidInputError: if it is of another norm.
    """
    chooses = "norm" in {field.name for field in fields(registry.get(name))}
    attack = registry.configure(name, spec, {**({"norm": norm} if chooses else {}), **given})
    require(attack.norm == norm, f"{attack.title} has another norm than the curve ({norm})", norm=attack.norm)
    return attack
