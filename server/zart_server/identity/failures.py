"""Limits what failures to authenticate may cost: by address, a bucket that fills again.

A caller whose credentials hold is never held up by others' failures, even from the same address
(a proxy, a gateway): only failures are counted, and only failures are answered differently.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

_BURST = 20.0
_A_SECOND = 1.0
_ADDRESSES = 10_000


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float
    untold: int = 0


@dataclass(frozen=True, slots=True)
class Noted:
    """What is to become of a failure.

    ``retry_after``: seconds to wait, once there were too many; such a failure is not logged.
    ``untold``: how many were not since the last that was.
    """

    retry_after: float | None
    untold: int


class Failures:
    """Counts failures by address."""

    def __init__(self) -> None:
        self._buckets: dict[str, _Bucket] = {}

    def note(self, address: str) -> Noted:
        """Note a failure, and say what is to become of it."""
        now = time.monotonic()
        bucket = self._buckets.pop(address, None) or _Bucket(_BURST, now)
        while len(self._buckets) >= _ADDRESSES:
            del self._buckets[next(iter(self._buckets))]  # the one longest without a failure
        self._buckets[address] = bucket
        bucket.left = min(_BURST, bucket.left + (now - bucket.at) * _A_SECOND)
        bucket.at = now
        if bucket.left < 1:
            bucket.untold += 1
            return Noted((1 - bucket.left) / _A_SECOND, 0)
        bucket.left -= 1
        untold, bucket.untold = bucket.untold, 0
        return Noted(None, untold)
