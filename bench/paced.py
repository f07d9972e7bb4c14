"""How well a pace was kept, judged by when each went."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

WINDOW = 10.0  # seconds, over any of which a pace is kept


def off_pace(times: Sequence[float], rate: float, until: float | None = None) -> float:
    """Return by how many percent any window is off the pace, but for one step.

    Where less than that is there, all of it is the window.
    """
    worst = 0.0
    if len(times) < 2:
        return worst
    last = times[-1] if until is None else until
    window = min(WINDOW, last - times[0])
    for begin in sorted(set(times)):
        if begin + window > last:
            break
        # Not what goes at its begin: a piece stands for the time before it.
        count = bisect_right(times, begin + window) - bisect_right(times, begin)
        worst = max(worst, (abs(count - rate * window) - 1) / (rate * window) * 100)
    return worst
