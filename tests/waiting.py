"""How tests wait: for a condition, never for a time.

The only place that sleeps, a moment between two looks; ``test_waiting.py`` holds that. What is
allowed to take is generous: it says only when a test gives up on a machine however busy.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

GIVE_UP = 120.0  # seconds
_MOMENT = 0.02


async def eventually(condition: Callable[[], Awaitable[object]], within: float = GIVE_UP) -> None:
    """Wait until an async condition holds."""
    async with asyncio.timeout(within):
        while not await condition():
            await asyncio.sleep(_MOMENT)


async def until(condition: Callable[[], object], within: float = GIVE_UP) -> None:
    """Wait until a plain condition holds, while the event loop goes on."""
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(_MOMENT)


def block_until(condition: Callable[[], object], within: float = GIVE_UP) -> None:
    """Wait until a condition holds, where there is no event loop: in a thread, for a process."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, condition
        time.sleep(_MOMENT)


async def for_ever() -> None:
    """Be what never ends by itself."""
    await asyncio.Event().wait()
