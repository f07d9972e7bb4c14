"""Whose turn it is: what nobody is in a hurry for lets calls that are under way go first."""

from __future__ import annotations

import asyncio

_TURNS = 5  # of the event loop, which a report takes from its arrival to its statement


async def let_others_go_first() -> None:
    """Wait while others that came just now get to where they wait for the database."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)
