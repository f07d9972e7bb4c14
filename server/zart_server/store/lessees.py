"""Who leases steps at once, in the transaction that makes them ready."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from zart_server.store.arrays import Distinct


class Lessee(NamedTuple):
    """Who leases a ready step at once. ``lease_seconds`` is how long the lease lasts."""

    dispatcher_id: str
    principal: str
    lease_seconds: float


@dataclass(slots=True)
class Lessees:
    """Lessees, each once, and the index, from 1, of that of each step; 0: nobody takes it."""

    indexes: list[int] = field(default_factory=list)
    values: Distinct[Lessee] = field(default_factory=Distinct)

    def add(self, lessee: Lessee | None) -> None:
        """Note who takes the next step."""
        self.indexes.append(0 if lessee is None else self.values.index(lessee))
