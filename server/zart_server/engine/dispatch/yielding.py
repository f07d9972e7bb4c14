"""Yields to the event loop: work without a hurry lets calls that are under way go first."""

from __future__ import annotations

import asyncio

_TURNS = 5  # of the event loop, which a report takes from its arrival to its statement


async def yield_to_others() -> None:
    """Wait while the calls that came just now get to their statements."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)
