"""What is to be computed, as data: a unit of a long run, its identity, and its result."""

import abc
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from advkeras.arrays import Progress


@dataclass(frozen=True)
class Result:
    """What a unit gives.

    Attributes:
        arrays: by name.
        facts: what else is known, as plain values that JSON takes.
    """

    arrays: Mapping[str, npt.NDArray[Any]]
    facts: Mapping[str, Any]

    @property
    def checksum(self) -> str:
        """SHA-256 of all of it."""
        digest = hashlib.sha256(canonical(self.facts).encode())
        for name, values in sorted(self.arrays.items()):
            head = (name, values.dtype.str, values.shape)
            digest.update(repr(head).encode())
            digest.update(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data if values.nbytes else b"")
        return digest.hexdigest()


Find = Callable[[str], Result | None]
"""A unit's result by its digest; None where there is none."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Unit(abc.ABC):
    """A piece of work whose result depends on nothing but what it says of itself and the results that it follows on.

    A subclass is a value, and pickled where units are computed by other processes.

    Attributes:
        follows: units whose results this one is given.
        kind: what is computed.
        version: of how it is computed; another one makes other units.
    """

    follows: Sequence["Unit"] = ()

    kind: ClassVar[str]
    version: ClassVar[int] = 1

    @property
    @abc.abstractmethod
    def title(self) -> str:
        """What people are told that it is; units that belong together share it."""

    @property
    @abc.abstractmethod
    def subject(self) -> Mapping[str, Any]:
        """All that decides the result, besides what it follows on, as plain values."""

    @abc.abstractmethod
    def compute(self, found: Sequence[Result], progress: Progress) -> Result:
        """The result.

        Args:
            found: results of the units that this one follows on, in their order.
            progress: called with what is done and what there is to do.
        """

    @cached_property
    def identity(self) -> str:
        """Canonical JSON of all that decides the result."""
        return canonical(
            {
                "kind": self.kind,
                "version": self.version,
                "subject": self.subject,
                "follows": [unit.digest for unit in self.follows],
            }
        )

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the identity: the unit's name in a store."""
        return digest_of(self.identity)


_DIGEST = re.compile("[0-9a-f]{64}")


def is_digest(text: str) -> bool:
    """Whether a text is the digest of a unit, and so safe as the name of a file."""
    return _DIGEST.fullmatch(text) is not None


def digest_of(identity: str) -> str:
    """The digest of a unit that has an identity."""
    return hashlib.sha256(identity.encode()).hexdigest()


def canonical(value: Any) -> str:
    """Plain values as JSON that is the same whenever they are equal.

    Raises:
        TypeError: if they are not plain.
        ValueError: if there is a NaN or something infinite among them.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def in_order(units: Iterable[Unit]) -> list[Unit]:
    """Units and all that they follow on, each once and after what it follows on."""
    found: dict[str, Unit] = {}

    def add(unit: Unit) -> None:
        if unit.digest not in found:
            for each in unit.follows:
                add(each)
            found[unit.digest] = unit

    for unit in units:
        add(unit)
    return list(found.values())
