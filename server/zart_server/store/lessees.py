"""Lessees: the calls that lease steps at once, in the transaction that makes these ready."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from zart_server.store.arrays import Distinct


class Lessee(NamedTuple):
    """A call that leases a ready step at once, for ``lease_seconds``."""

    dispatcher_id: str
    principal: str
    lease_seconds: float


@dataclass(slots=True)
class Lessees:
    """Lessees, each once, and for each step the index, from 1, of its lessee; 0: it has none."""

    indexes: list[int] = field(default_factory=list)
    values: Distinct[Lessee] = field(default_factory=Distinct)

    def add(self, lessee: Lessee | None) -> None:
        """Note the lessee of the next step."""
        self.indexes.append(0 if lessee is None else self.values.index(lessee))


def lessee_columns(lessees: Sequence[Lessee]) -> dict[str, object]:
    """Return the parameters by which statements know lessees, by their indexes."""
    return {
        "lessee_ids": [lessee.dispatcher_id for lessee in lessees],
        "lessee_principals": [lessee.principal for lessee in lessees],
        "lessee_seconds": [lessee.lease_seconds for lessee in lessees],
    }
