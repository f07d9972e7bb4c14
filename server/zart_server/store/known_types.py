"""What PostgreSQL's own types are, asked once for all connections of a process.

The driver asks it on each connection that first sends or reads a list of numbers, say: that takes
PostgreSQL 15 ms, and a round trip or three, as much as twenty reports. It is the first thing that a
server does with its connections once a database is back, all of them at a time.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import asyncpg

if TYPE_CHECKING:
    _Connection = asyncpg.Connection[asyncpg.Record]
else:
    _Connection = asyncpg.Connection  # which takes no parameter where it runs

# Below this PostgreSQL numbers what it is made with, which is the same in all databases.
_FIRST_OF_OTHERS = 16_384


@dataclass(frozen=True, slots=True)
class _Unasked:
    """Stands for the statement that would have asked: it has a name, so nothing was overwritten."""

    name: str = "unasked"


class KnowingConnection(_Connection):
    """A connection that knows what others were told. It asks itself where the driver changes."""

    _told: dict[frozenset[int], Any] = {}  # noqa: RUF012 - all connections are to share it

    async def _introspect_types(self, typeoids: Collection[int], *more: Any) -> Any:  # noqa: ANN401 - the driver's
        oids = frozenset(typeoids)
        if (known := self._told.get(oids)) is not None:
            return known, _Unasked()
        types, statement = await super()._introspect_types(typeoids, *more)  # type: ignore[misc]  # the driver's own
        if max(oids, default=_FIRST_OF_OTHERS) < _FIRST_OF_OTHERS:
            self._told[oids] = types
        return types, statement
