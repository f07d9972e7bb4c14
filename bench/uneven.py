"""Starts executions at 60 % of what can be done: steadily, then nothing, then a burst."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import zart

# Shares of a cycle, and the pace in each as a share of what can be done.
CYCLE = ((0.6, 0.5), (0.2, 0.0), (0.2, 1.5))
_TICK = 0.05  # seconds between two calls, each of which starts what is due
_MOST = 1000  # executions in one call


def due(at: float, cycle: float) -> float:
    """Return how many seconds' worth of work is to be started by then, of cycles of such length."""
    whole, left = divmod(at, cycle)
    total = whole * cycle * sum(share * pace for share, pace in CYCLE)
    for share, pace in CYCLE:
        spent = min(left, share * cycle)
        total += spent * pace
        left -= spent
    return total


async def started_unevenly(
    client: zart.Client, tasks: Sequence[str], per_second: float, cycle: float, seconds: float
) -> int:
    """Start executions of the tasks in turn for so long; ``per_second`` is what can be done.

    Return how many were started. Raises the error of a start that was refused.
    """
    begun, count, now = time.monotonic(), 0, 0.0
    while now < seconds:
        await asyncio.sleep(_TICK)
        now = min(seconds, time.monotonic() - begun)
        upto = int(due(now, cycle) * per_second)
        while count < upto:
            count = await started_in_turn(client, tasks, count, min(_MOST, upto - count))
    return count


async def started_in_turn(
    client: zart.Client, tasks: Sequence[str], first: int, count: int, prefix: str = "uneven"
) -> int:
    """Start so many executions by one call, numbered from ``first``; give the next number."""
    results = await client.batch_start_executions(
        [
            zart.Start(tasks[n % len(tasks)], {"number": n}, f"{prefix}-{n}")
            for n in range(first, first + count)
        ]
    )
    for result in results:
        if isinstance(result, Exception):
            raise result
    return first + count
