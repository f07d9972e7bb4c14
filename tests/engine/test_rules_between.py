"""A rule that comes between an operation's judgement and its write withholds what it makes ready.

It is another server's, of which this one is not told: the operation waits for the pause lock by
then, finds that the rules have changed, and judges anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from rig import CHAIN, Rig, specs

from zart_server.store.pausing.rules import SEIZE_PAUSE_LOCK

MANY = {f"s{n:03}": () for n in range(300)}
ADD_RULE = """
    INSERT INTO zart.pause_rules (rule_id, execution_id, everything, created_by, reason, epoch)
    SELECT 'pr-x', 'x', false, 'op', '', epoch + 1 FROM zart.pause_epoch;
    UPDATE zart.pause_epoch SET epoch = epoch + 1;
"""


async def nothing(_rig: Rig) -> None:
    """Begin with nothing."""


async def a_dead_step(rig: Rig) -> None:
    await rig.dead("x", CHAIN, step="b")


async def a_dead_step_of_many(rig: Rig) -> None:
    await rig.start("x", MANY)
    while tasks := await rig.lease(500):
        await rig.complete(*(task for task in tasks if task.step_name != "s000"))
        for task in tasks:
            if task.step_name == "s000":
                await rig.fail(task)


async def a_leased_step(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    await rig.lease()


async def registered(rig: Rig) -> None:
    rig.registers = True
    await rig.client.register_task("t", specs(CHAIN))


@pytest.mark.parametrize(
    ("before", "operate", "step"),
    [
        pytest.param(nothing, lambda rig: rig.start("x", CHAIN), "a", id="start"),
        pytest.param(registered, lambda rig: rig.start("x", CHAIN), "a", id="start alone"),
        pytest.param(a_dead_step, lambda rig: rig.client.retry_step("x", "b"), "b", id="retry"),
        pytest.param(a_dead_step, lambda rig: rig.client.restart("x"), "a", id="restart"),
        pytest.param(a_dead_step, lambda rig: rig.client.rerun("x"), "b", id="rerun"),
        pytest.param(
            a_dead_step_of_many, lambda rig: rig.client.rerun("x"), "s000", id="rerun of many"
        ),
        pytest.param(
            a_leased_step, lambda rig: rig.complete(rig.leased["x", "a"]), "b", id="report"
        ),
    ],
)
async def test_it_withholds_what_is_made_ready(
    rig: Rig,
    before: Callable[[Rig], Awaitable[None]],
    operate: Callable[[Rig], Awaitable[Any]],
    step: str,
) -> None:
    await before(rig)
    await rig.client.pause(task_name="another")  # the rules are at hand
    async with rig.locked(SEIZE_PAUSE_LOCK):
        operating = asyncio.ensure_future(operate(rig))
        await rig.until_waiting()
        await rig.db.execute(ADD_RULE)
    await operating

    assert (await rig.statuses())[step] == "PAUSED"
    assert await rig.lease() == []
    # Nothing was made or recorded twice by judging twice.
    assert await rig.db.fetchval("SELECT count(*) FROM zart.held") == 1
    recorded = await rig.db.fetch("SELECT kind FROM zart.operations WHERE execution_id = 'x'")
    assert len({row["kind"] for row in recorded}) == len(recorded)
