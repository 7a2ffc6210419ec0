"""Runs an evaluation: plans its units, has them computed, and puts their results together."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from typing import Any, NamedTuple

from advkeras import __version__, datasets
from advkeras.attacks.base import Attack
from advkeras.attacks.families import FixedNormAttack, MinimumNormAttack
from advkeras.datasets import DatasetSpec, LabelledImages
from advkeras.evaluation import paper
from advkeras.evaluation.active_test import ActiveTest, Binarised, can_be_tested
from advkeras.evaluation.fit import check_all_fit, check_attacks, usable
from advkeras.evaluation.fold import EVALUATION
from advkeras.evaluation.planned import PlannedEvaluation, PlannedModel, PlannedRow
from advkeras.evaluation.protocol import Protocol
from advkeras.evaluation.results import BENIGN, Evaluation, RegionSettings
from advkeras.evaluation.signs import of_use
from advkeras.evaluation.slices import Slice, checksum_of, company, places_of, slices_of, usual_size
from advkeras.evaluation.soundness import Answers, Transfer, Unconstrained, transferable
from advkeras.evaluation.units import Examples, Recheck, Votes, checksum, raised
from advkeras.models import Classifier
from advkeras.models.features import features_of
from advkeras.randomness import derive_seed
from advkeras.runs.execute import Watch, execute
from advkeras.runs.store import Store
from advkeras.runs.study import Compute
from advkeras.runs.unit import Unit

# Images that are attacked again, at most, and the share of a run's images that they are: with twice the work a sixth of
# the attack's time, which in small batches may become a fifth.
_CHECKED, _CHECKED_SHARE = 8, 1 / 12
# Images that are asked about again and again, and that an attack with the whole range of pixels is tried on.
_ANSWERS, _UNCONSTRAINED = 8, 4
# Images that the active test is made on.
_ACTIVE = 16


def evaluate(
    classifiers: Sequence[Classifier],
    data: LabelledImages,
    spec: DatasetSpec,
    protocol: Protocol,
    output: str | PathLike[str],
    *,
    convergence: bool = True,
    active_test: bool = False,
    slice_size: int | None = None,
    compute: Compute = execute,
    watch: Watch | None = None,
) -> Evaluation:
    """Attacks classifiers, and measures point and region classification on what the attacks found.

    Args:
        classifiers: what to evaluate; their bounds and shape must be the data set's.
        data: images and true classes.
        spec: the data set that they belong to.
        protocol: what to run.
        output: folder or URL of the run: units' results, and made of them results.json and a folder of .npz files for
            each model. Units that are already there, made by the same version from the same model, images and
            parameters, are not run again. Models and attacks that are there already, and answer the same question,
            stay in the tables.
        convergence: run each attack again with twice the work on a few of the images.
        active_test: try each attack where an adversarial example surely exists (Zimmermann et al., NeurIPS 2022), on up
            to 16 of the images.
        slice_size: images that one unit works on; by default as many as take a minute or two on two cores.
        compute: has the units computed; here, one after the other, by default.
        watch: told as the work goes on.

    Returns:
        The results; those of an unfinished run, if units are left to others.

    Raises:
        InvalidInputError: if the folder cannot be written, two models have the same name, a model does not take the
            data set's images, or it gives no gradients and all attacks need some. Otherwise such a model is attacked by
            those that need none.
        UnitsFailedError: if units could not be computed; the others are.
    """
    check_all_fit(classifiers, spec)
    check_attacks(protocol.attacks)
    slices = slices_of(data, usual_size(spec) if slice_size is None else slice_size)
    study = _Study(data, spec, protocol, slices, convergence, active_test)
    rows = [study.rows(classifier) for classifier in classifiers]
    models = [study.model(each, of_model, rows) for each, of_model in zip(classifiers, rows, strict=True)]
    units = [unit for _, of_model in models for unit in of_model]
    about = study.about([planned for planned, _ in models])
    return EVALUATION.carry_out(about, units, Store(output), compute=compute, watch=watch)


class _OfSlice(NamedTuple):
    """What is computed of an attack on a slice."""

    examples: Examples
    votes: Votes
    recheck: Recheck | None

    @property
    def all(self) -> list[Unit]:
        return [unit for unit in self if unit is not None]


@dataclass(frozen=True)
class _Study:
    """An evaluation as units."""

    data: LabelledImages
    spec: DatasetSpec
    protocol: Protocol
    slices: tuple[Slice, ...]
    convergence: bool
    active_test: bool

    def about(self, models: Sequence[PlannedModel]) -> PlannedEvaluation:
        """What puts the results together."""
        data, spec, protocol = self.data, self.spec, self.protocol
        return PlannedEvaluation(
            dataset=spec.name,
            dataset_title=spec.title,
            bounds=spec.bounds,
            num_classes=spec.num_classes,
            data_source=data.source,
            examples=len(data),
            images=checksum_of(self.slices),
            pixels=(float(data.images.min()), float(data.images.max())),
            protocol=protocol.mode,
            seed=protocol.seed,
            epsilon=protocol.epsilon,
            region=RegionSettings(protocol.region_radius, protocol.region_samples),
            models=tuple(models),
            version=__version__,
        )

    def rows(self, classifier: Classifier) -> list[list["_OfSlice"]]:
        """The units of benign images and of each attack that can be tried, slice by slice."""
        digest, among = checksum(classifier), company(self.data)
        attacks = (None, *(attack.among(among) for attack in usable(self.protocol.attacks, classifier)))
        return [[self._of_slice(classifier, digest, attack, part) for part in self.slices] for attack in attacks]

    def model(
        self, classifier: Classifier, rows: list[list["_OfSlice"]], of_all: Sequence[list[list["_OfSlice"]]]
    ) -> tuple[PlannedModel, list[Unit]]:
        """A model and its units, slice by slice, so that a run that is stopped has all attacks on some images.

        Args:
            classifier: the model.
            rows: of its units.
            of_all: those of all models.
        """
        known, first = self._paper_rows(classifier), rows[0][0].examples
        others = [row for of_model in of_all if of_model is not rows for row in of_model]
        answers, unconstrained, transfers = self._checks(rows, others)
        active = [self._active(row, rows[0]) for row in rows]
        planned = PlannedModel(
            name=classifier.name,
            source=classifier.source or "in memory",
            checksum=first.checksum,
            logits=classifier.reading.how,
            flags=of_use(classifier, self.protocol.attacks),
            rows=tuple(
                _planned(units, tests, self._paper(units[0].examples.attack, known))
                for units, tests in zip(rows, active, strict=True)
            ),
            features=features_of(classifier)[1] if self.active_test else "",
            usage=classifier.usage.record(),
            answers=tuple(unit.digest for unit in answers),
            unconstrained=tuple(unit.digest for unit in unconstrained),
            transfers=tuple(unit.digest for unit in transfers),
        )
        sliced = [unit for column in zip(*rows, strict=True) for units in column for unit in units.all]
        return planned, [*sliced, *answers, *unconstrained, *transfers, *(test for tests in active for test in tests)]

    def _active(self, row: list["_OfSlice"], benign: list["_OfSlice"]) -> list[ActiveTest]:
        """The active test of a row's attack, on the last layers that all rows share."""
        epsilon, first = self.protocol.epsilon, row[0].examples
        if not self.active_test or first.attack is None or not can_be_tested(first, epsilon):
            return []
        shared: dict[str, Any] = {"epsilon": epsilon, "seed": self.protocol.seed}
        tests = []
        for count, of_benign, of_row in zip(self._spread(_ACTIVE), benign, row, strict=True):
            if count:
                asked = {**of_benign.examples.asked, "of": "checks", "shown": "active test"}
                layers = Binarised(count=count, **shared, **asked)
                asked["shown"] += f", {of_row.examples.shown}"
                tests.append(ActiveTest(attack=first.attack, epsilon=epsilon, count=count, follows=(layers,), **asked))
        return tests

    def _checks(
        self, rows: list[list["_OfSlice"]], others: list[list["_OfSlice"]]
    ) -> tuple[list[Answers], list[Unconstrained], list[Transfer]]:
        """What is asked of a model beside the attacks, and whether other models' examples fool it."""
        attacks = [row[0].examples.attack for row in rows[1:]]
        asked = [{**each.examples.asked, "of": "checks", "shown": "flags"} for each in rows[0]]
        answers = [
            Answers(count=count, seed=self.protocol.seed, **known)
            for count, known in zip(self._spread(_ANSWERS), asked, strict=True)
            if count
        ]
        # Attacks of the run that may go as far as they take say it of all images.
        needed = any(each and each.needs_gradient for each in attacks) and not any(
            each and each.unconstrained for each in attacks
        )
        unconstrained = [
            Unconstrained(count=count, **known)
            for count, known in zip(self._spread(_UNCONSTRAINED), asked, strict=True)
            if count and needed
        ]
        epsilon = self.protocol.epsilon
        transfers = [
            Transfer(epsilon=epsilon, follows=follows, **known)
            for number, known in enumerate(asked)
            if (follows := [row[number].examples for row in others if transferable(row[number].examples, epsilon)])
        ]
        return answers, unconstrained, transfers

    def _of_slice(self, classifier: Classifier, digest: str, attack: Attack | None, part: Slice) -> "_OfSlice":
        examples = Examples.planned(classifier, digest, part, attack)
        protocol, checked = self.protocol, self._checked[part.number]
        votes = Votes(
            radius=protocol.region_radius,
            samples=protocol.region_samples,
            seed=derive_seed(protocol.seed, "evaluation", classifier.name)[0],
            follows=(examples,),
            **examples.asked,
        )
        more = attack is not None and attack.work_setting is not None and checked
        return _OfSlice(
            examples,
            votes,
            Recheck(examples=examples, count=checked, follows=(examples,), **examples.asked) if more else None,
        )

    @cached_property
    def _checked(self) -> list[int]:
        """Images of each slice that are attacked again: spread over all of them."""
        count = min(_CHECKED, max(1, int(_CHECKED_SHARE * len(self.data)))) if self.convergence else 0
        return self._spread(count)

    def _spread(self, count: int) -> list[int]:
        """So many images, spread over all slices: how many of each."""
        places = places_of(len(self.data), count) // len(self.slices[0].data)
        return [int((places == part.number).sum()) for part in self.slices]

    def _paper_rows(self, classifier: Classifier) -> dict[str, paper.PaperRow]:
        spec, card = self.spec, classifier.card
        as_published = spec.name in datasets.names() and (spec.bounds, self.protocol.region_radius) == (
            datasets.get(spec.name).bounds,
            spec.region_radius,
        )
        return paper.rows_for(spec.name, card.defense if as_published and card and card.dataset == spec.name else None)

    def _paper(self, attack: Attack | None, known: dict[str, paper.PaperRow]) -> paper.PaperRow | None:
        if isinstance(attack, FixedNormAttack) and attack.epsilon != self.spec.epsilon:
            return None
        return known.get(attack.name if attack else BENIGN)


def _planned(units: Sequence[_OfSlice], active: Sequence[ActiveTest], paper_row: paper.PaperRow | None) -> PlannedRow:
    first, attack = units[0].examples, units[0].examples.attack
    rechecks = tuple(each.recheck.digest for each in units if each.recheck)
    return PlannedRow(
        attack=first.of,
        title=first.shown,
        config=attack.get_config() if attack else {},
        norm=attack.norm if attack else None,
        minimises=isinstance(attack, MinimumNormAttack),
        by_queries=attack is not None and not attack.needs_gradient,
        unconstrained=attack is not None and attack.unconstrained,
        paper=paper_row,
        examples=tuple(each.examples.digest for each in units),
        votes=tuple(each.votes.digest for each in units),
        rechecks=rechecks,
        active=tuple(each.digest for each in active),
        more_work=raised(attack) if attack and rechecks else None,
    )
