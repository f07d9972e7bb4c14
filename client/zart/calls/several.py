"""Refuses one text where several are meant, which Python would take letter by letter."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


def several(given: Iterable[T]) -> Iterable[T]:
    """Return what is given. Raises TypeError for one text: of "17" it would be about 1 and 7."""
    if isinstance(given, str | bytes):
        raise TypeError(f"give several names, not one text: [{given!r}], not {given!r}")
    return given
