"""A plain handler that returns a coroutine when it is no longer wanted: that does not begin."""

from __future__ import annotations

import inspect
from collections.abc import Coroutine
from typing import Any

import pytest
from dispatching import dispatching, start
from rig import Rig
from waiting import GIVE_UP, block_until, until

import zart
from zart.testing.server import ServerUnderTest


@pytest.mark.parametrize("once", [True, False], ids=["once", "again"])
@pytest.mark.parametrize("timeout", [0.2, GIVE_UP], ids=["timed out", "cancelled"])
async def test_it_is_closed(
    rig: Rig, zart_server: ServerUnderTest, *, once: bool, timeout: float
) -> None:
    task = zart.Task("t")
    at_work: list[str] = []
    begun: list[str] = []
    given: list[Coroutine[Any, Any, None]] = []

    async def charge(execution_id: str) -> None:
        begun.append(execution_id)

    @task.step(once=once, timeout=timeout, retry=zart.Retry(max_attempts=1))
    def gives_a_coroutine(ctx: zart.StepContext) -> Coroutine[Any, Any, None]:
        at_work.append(ctx.execution_id)
        block_until(lambda: ctx.cancelled)
        given.append(charge(ctx.execution_id))
        return given[-1]

    # A dispatcher hears of a cancellation when it extends the lease, after a third of that.
    lease = 6.0 if timeout == GIVE_UP else 30.0
    async with dispatching(zart_server, task, lease=lease):
        handle = await start(rig, task)
        if timeout == GIVE_UP:
            await until(lambda: at_work)
            await rig.client.cancel_execution("x")
        await handle.run(timeout=GIVE_UP)
        await until(lambda: given and inspect.getcoroutinestate(given[0]) == inspect.CORO_CLOSED)
    assert not begun
