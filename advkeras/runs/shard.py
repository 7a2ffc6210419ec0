"""A share of a study's units, for machines that know nothing of each other: the jobs of a cluster's scheduler."""

import re
from collections.abc import Iterable

from advkeras.errors import InvalidInputError
from advkeras.runs.execute import Watch, execute
from advkeras.runs.store import Store
from advkeras.runs.study import Compute
from advkeras.runs.unit import Unit, in_order

_SHARD = re.compile(r"([1-9]\d{0,8})/([1-9]\d{0,8})")


def shard(text: str) -> Compute:
    """Computes one of so many shares of units, and leaves the others.

    Units that follow on each other belong together. Those that follow on several shares are computed by the one that
    finds all of these done; or by the command without a share.

    Args:
        text: as ``3/16``, the third of 16 shares.

    Raises:
        InvalidInputError: if it is no share.
    """
    found = _SHARD.fullmatch(text)
    number, of = (int(part) for part in found.groups()) if found else (1, 0)
    if not 1 <= number <= of:
        raise InvalidInputError(f"a shard is given as NUMBER/OF, as in 3/16. Received: {text}")

    def compute(units: Iterable[Unit], store: Store, watch: Watch | None = None) -> None:
        ordered = in_order(units)
        owners = _owners(ordered)
        # Of units that are called alike, an attack's for example, each share gets as many.
        roots = [unit for unit in ordered if owners[unit.digest] == unit.digest]
        groups = {unit.digest: index for index, unit in enumerate(sorted(roots, key=lambda unit: unit.title))}
        own = [unit for unit in ordered if (root := owners[unit.digest]) and groups[root] % of == number - 1]
        execute(own, store, watch)
        for unit in ordered:
            if owners[unit.digest] is None and all(each in store for each in unit.follows):
                execute([unit], store, watch)

    return compute


def _owners(ordered: Iterable[Unit]) -> dict[str, str | None]:
    """Which unit each one follows on in the end, by digests; None where there are several."""
    owners: dict[str, str | None] = {}
    for unit in ordered:
        above = {owners[each.digest] for each in unit.follows}
        owners[unit.digest] = (above.pop() if len(above) == 1 else None) if above else unit.digest
    return owners
