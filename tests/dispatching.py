"""A dispatcher under test."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
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


@contextlib.contextmanager
def dispatcher_process(
    folder: Path, variables: Mapping[str, str], *command: str, stdin: int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in a folder until the context is left; it logs to the file ``log`` there.

    With these ZART_ variables and no others. It is killed in the end, whatever it does.
    """
    others = {name: value for name, value in os.environ.items() if not name.startswith("ZART_")}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            env={**others, **variables}, cwd=folder, stdin=stdin, stderr=log,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()


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
