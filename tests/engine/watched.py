"""What a watch of an execution has seen so far."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from rig import Rig, eventually


@dataclass
class Seen:
    """What a watch has told so far."""

    told: int = 0
    state: dict[str, str] = field(default_factory=dict)


@asynccontextmanager
async def watched(rig: Rig, name: str) -> AsyncIterator[Seen]:
    """Watch an execution; what it is told is there from the first message on."""
    seen = Seen()

    async def follow() -> None:
        async for told in rig.client.watch_execution(name):
            seen.told += 1
            seen.state["run"] = f"{told.run.run_number} {told.run.status.value}"
            seen.state |= {step.step_name: step.status.value for step in told.steps}

    async def is_told() -> bool:
        return seen.told > 0

    following = asyncio.create_task(follow())
    try:
        await eventually(is_told)
        yield seen
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
