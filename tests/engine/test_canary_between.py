"""What comes between a canary's look at the line and its locks costs it no steps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from releasing import paused
from rig import Rig, eventually

import zart
from zart.testing.server import ServerUnderTest, serving
from zart_server.engine.operations import canary, canary_line
from zart_server.store.connection import Tx

Operate = Callable[[zart.Client], Awaitable[Any]]


def by(server: ServerUnderTest, operate: Operate) -> Callable[[], Awaitable[None]]:
    """Return what does an operation by a server, which waits in no line of another one."""

    async def operating() -> None:
        async with zart.connect(server.address) as client:
            await operate(client)

    return operating


def interrupt(
    monkeypatch: pytest.MonkeyPatch, module: Any, name: str, between: Callable[[], Awaitable[None]]
) -> None:
    """Have something be done once, just before a function that a module uses is called."""
    function, left = getattr(module, name), [between]

    async def interrupted(tx: Tx, *args: Any, **options: Any) -> Any:
        if left:
            await tx.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            await left.pop()()
        return await function(tx, *args, **options)

    monkeypatch.setattr(module, name, interrupted)


@pytest.mark.parametrize(
    "operate",
    [
        pytest.param(lambda client: client.cancel_execution("x"), id="cancelled"),
        pytest.param(lambda client: client.restart("x"), id="restarted"),
        pytest.param(lambda client: client.resume(task_name="t", canary=1), id="let go"),
    ],
)
async def test_what_has_gone_before_its_run_is_locked_is_made_up_for(
    rig: Rig, zart_database: str, monkeypatch: pytest.MonkeyPatch, operate: Operate
) -> None:
    rule_id = await paused(rig)
    for name in ("x", "y"):
        await rig.start(name, {"a": ()})
    with serving(zart_database) as other:
        interrupt(monkeypatch, canary_line, "lock_runs", by(other, operate))
        answer = await rig.client.resume(rule_id=rule_id, canary=1)
    assert answer.released_steps == 1
    assert await rig.statuses("y") == {"a": "SCHEDULED"}


async def test_what_another_rule_withholds_by_then_is_passed_over(
    rig: Rig, zart_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule_id = await paused(rig)
    for name in ("x", "y"):
        await rig.start(name, {"a": ()})
    with serving(zart_database) as other:
        pausing = by(other, lambda client: client.pause(execution_id="x"))
        interrupt(monkeypatch, canary, "share_pause_lock", pausing)
        answer = await rig.client.resume(rule_id=rule_id, canary=1)
    assert answer.released_steps == 1
    assert await rig.statuses("x") == {"a": "PAUSED"}
    assert await rig.statuses("y") == {"a": "SCHEDULED"}


async def test_a_rule_that_is_settled_by_then_lets_its_oldest_steps_go(
    rig: Rig,
    zart_server: ServerUnderTest,
    zart_database: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sweeps = zart_server.running.runtime.sweeps
    move_aside = sweeps._move_aside

    async def move_nothing(_work: object) -> bool:
        return False

    async def between() -> None:
        monkeypatch.setattr(sweeps, "_move_aside", move_aside)
        sweeps.kick()
        db = await asyncpg.connect(zart_database)

        async def is_settled() -> bool:
            return not await db.fetchval("SELECT EXISTS (SELECT FROM zart.pause_work)")

        await eventually(is_settled)
        await db.close()

    monkeypatch.setattr(sweeps, "_move_aside", move_nothing)
    await rig.start("x", {"a": (), "b": (), "c": ()})
    rule_id = (await rig.client.pause(task_name="t")).rule_id
    interrupt(monkeypatch, canary, "share_pause_lock", between)
    answer = await rig.client.resume(rule_id=rule_id, canary=2)
    assert answer.released_steps == 2
    assert await rig.statuses() == {"a": "SCHEDULED", "b": "SCHEDULED", "c": "PAUSED"}
