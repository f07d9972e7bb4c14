"""Waits that end when a dispatcher stops."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

CLEAN_UP = 1.0  # seconds that steps have to clean up in, once they are cancelled


async def unless(stop: asyncio.Event, pause: Coroutine[Any, Any, None]) -> None:
    """Wait for the end of ``pause``, but only until ``stop`` is set."""
    waiting = asyncio.create_task(pause)
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        stopping.cancel()
    await asyncio.wait({waiting, stopping})
