"""How long a failed step waits before its next attempt."""

from __future__ import annotations

import math
from datetime import timedelta

from zart_server.domain.model import RetryPolicy


def retry_delay(policy: RetryPolicy, failures: int, fraction: float) -> timedelta:
    """Return the wait after ``failures`` (at least 1) attempts since the start or the last revival.

    ``initial_backoff * backoff_multiplier ** (failures - 1)``, at most ``max_backoff``; of that
    the upper half is jitter, spread by ``fraction`` in [0, 1), so that steps that failed together
    do not come back together.
    """
    whole = policy.max_backoff.total_seconds()
    initial = policy.initial_backoff.total_seconds()
    if initial <= 0 or whole <= 0:
        return timedelta(0)
    # Compared as logarithms, since the power itself may be beyond any float.
    grown = math.log(initial) + (failures - 1) * math.log(policy.backoff_multiplier)
    if grown < math.log(whole):
        whole = min(whole, math.exp(grown))
    return timedelta(seconds=whole * (0.5 + 0.5 * fraction))
