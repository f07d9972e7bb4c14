"""A dispatcher under test."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from rig import Rig, eventually

import zart
from zart.testing.server import ServerUnderTest


@contextlib.asynccontextmanager
async def dispatching(
    server: ServerUnderTest, *tasks: zart.Task, **options: object
) -> AsyncIterator[asyncio.Event]:
    """Run a dispatcher until the context is left."""
    stop = asyncio.Event()
    given: dict[str, Any] = {"address": server.address, **options}
    dispatcher = zart.Dispatcher(tasks, **given)
    running = asyncio.create_task(dispatcher.run(stop))
    try:
        yield stop
    finally:
        stop.set()
        await running


async def registered(rig: Rig, name: str) -> None:
    """Wait until a dispatcher has registered a task."""

    async def there() -> bool:
        return name in [d.task_name for d in await rig.client.list_task_definitions()]

    await eventually(there)


async def start(
    rig: Rig, task: zart.Task, payload: object = None, execution_id: str = "x"
) -> zart.Handle:
    """Start a task once it is registered."""
    await registered(rig, task.name)
    return await rig.client.start(task, payload, execution_id=execution_id)
