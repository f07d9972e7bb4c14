"""Keeps short results at hand that this server has recorded of late: they never change.

Handlers of the steps that waited for them need them, as a rule within seconds.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import TypeAlias

_StepKey: TypeAlias = tuple[int, int]  # run key and step number
_BESIDE = 350  # bytes that a result takes besides its text: its key, its size and its place


class ResultCache:
    """The results that were added last, of at most ``most`` bytes of memory together."""

    def __init__(self, most: int = 8 * 1024 * 1024) -> None:
        self._most = most
        self._size = 0
        self._results: OrderedDict[_StepKey, tuple[str, int]] = OrderedDict()

    def add(self, results: Mapping[_StepKey, str]) -> None:
        """Keep results that are committed, dropping those that were added longest ago."""
        for key, text in results.items():
            if key not in self._results:
                size = sys.getsizeof(text) + _BESIDE
                self._results[key] = text, size
                self._size += size
        while self._size > self._most:
            _, (_, size) = self._results.popitem(last=False)
            self._size -= size

    def at_hand(self, keys: Iterable[_StepKey]) -> dict[_StepKey, str]:
        """Return those of the results that are at hand, by key."""
        results = self._results
        return {key: kept[0] for key in keys if (kept := results.get(key)) is not None}
