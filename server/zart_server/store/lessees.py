"""Who leases steps at once, in the transaction that makes them ready."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from zart_server.store.arrays import Distinct


class Taker(NamedTuple):
    """Who leases a ready step at once. ``lease_seconds`` is how long the lease lasts."""

    dispatcher_id: str
    principal: str
    lease_seconds: float


@dataclass(slots=True)
class Takers:
    """Takers, each once, and the place, from 1, of that of each step; 0: nobody takes it."""

    places: list[int] = field(default_factory=list)
    values: Distinct[Taker] = field(default_factory=Distinct)

    def add(self, taker: Taker | None) -> None:
        """Note who takes the next step."""
        self.places.append(0 if taker is None else self.values.place(taker))
