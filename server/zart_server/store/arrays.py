"""Arrays as PostgreSQL writes them, for hot statements: ``$1::text::bigint[]``.

The driver looks into each element of a list for a nested one before it encodes it, which costs
more than everything else that is done with a batch. A list's own text is nearly PostgreSQL's.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


def numbers(values: Iterable[float]) -> str:
    """Write numbers, none of them None."""
    return "{" + str(list(values))[1:-1] + "}"


def words(values: Iterable[str]) -> str:
    """Write words of our own choice: letters and underscores only."""
    return "{" + ",".join(values) + "}"


def column(values: Iterable[str | None]) -> list[str | None]:
    """Return a column of an ``unnest`` of several: empty if all of it is None, that is NULL.

    The driver looks longer into a None than into any text.
    """
    found = list(values)
    return [] if found.count(None) == len(found) else found


class Distinct(Generic[T]):
    """Values of which a batch has few: each once, and its index, from 1, for each row."""

    def __init__(self) -> None:
        self._indexes: dict[T, int] = {}

    def index(self, value: T) -> int:
        """Return the index of a value."""
        indexes = self._indexes
        found = indexes.get(value)
        if found is None:
            found = indexes[value] = len(indexes) + 1
        return found

    @property
    def values(self) -> list[T]:
        """The values by index."""
        return list(self._indexes)
