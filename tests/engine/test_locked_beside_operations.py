"""Somebody locks a row of one run: what operators do to others goes on, and so do the sweeps."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from batching import until_batch
from patient import patient_database
from releasing import paused, settled, until_released
from rig import CHAIN, LONG, Rig, eventually
from waiting import GIVE_UP

import zart
from zart.v1 import admin_service_pb2 as pb
from zart_server.api.mutations.admin import RESTART
from zart_server.api.mutations.mutations import Mutations
from zart_server.engine.dispatch.waiting_room import WaitingRoom

WITHIN = 8.0  # seconds, on a machine however busy; it took 10, or as long as the row was locked
OTHERS = [f"y{n}" for n in range(5)]
ROW = """SELECT FROM zart.{} WHERE run_key IN (
    SELECT run_key FROM zart.runs JOIN zart.executions USING (execution_key)
    WHERE execution_id = 'x') FOR UPDATE"""


async def started(rig: Rig, graph: dict[str, tuple[str, ...]]) -> None:
    """Start one execution among others, neither the first nor the last of them."""
    for name in (*OTHERS[:2], "x", *OTHERS[2:]):
        await rig.start(name, graph)


async def all_are_cancelled(rig: Rig) -> bool:
    return {await rig.run_status(name) for name in OTHERS} == {"CANCELLED"}


async def test_others_that_came_at_the_same_time_are_restarted(
    rig: Rig, zart_database: str
) -> None:
    """In one transaction at first: so it is tried without the server's channel between."""
    await started(rig, {"a": ()})
    db = await patient_database(zart_database)
    mutations = Mutations(db, GIVE_UP, WaitingRoom(2))
    try:
        async with rig.locked(ROW.format("queue")):
            restarting = {
                name: asyncio.create_task(
                    mutations.run(RESTART, pb.RestartRequest(execution_id=name))
                )
                for name in (*OTHERS[:2], "x", *OTHERS[2:])
            }
            others = asyncio.gather(*(restarting[name] for name in OTHERS))
            assert len(await asyncio.wait_for(others, WITHIN)) == len(OTHERS)
            assert not restarting["x"].done()
        assert {(await each).new_run_number for each in restarting.values()} == {1}
    finally:
        await db.close()
    assert await rig.db.fetchval("SELECT count(*) FROM zart.queue") == len(OTHERS) + 1


async def test_the_other_items_of_a_batch_are_done(rig: Rig) -> None:
    await started(rig, {"a": ()})
    names = [*OTHERS[:2], "x", *OTHERS[2:]]
    async with rig.locked(ROW.format("queue")):
        made = await rig.client.create_batch(zart.CancelExecution(), execution_ids=names)
        await eventually(lambda: all_are_cancelled(rig), WITHIN)
        assert await rig.run_status("x") == "SCHEDULED"
    done = await until_batch(rig.client, made.batch_id, "COMPLETED")
    assert (done.counts.done, done.counts.refused) == (6, 0)


def at_once(rig: Rig, rule_id: str) -> Awaitable[object]:
    return rig.client.resume(rule_id=rule_id)


def at_a_pace(rig: Rig, rule_id: str) -> Awaitable[object]:
    return rig.client.resume(rule_id=rule_id, rate_per_second=100)


def slowly(rig: Rig, rule_id: str) -> Awaitable[object]:
    """One at a time: the first is one that somebody has locked."""
    return rig.client.resume(rule_id=rule_id, rate_per_second=1.9)


@pytest.mark.parametrize("resume", [at_once, at_a_pace, slowly])
async def test_other_steps_of_a_rule_are_let_go(
    rig: Rig, resume: Callable[[Rig, str], Awaitable[object]]
) -> None:
    rule_id = await paused(rig)
    await started(rig, {"a": ()})
    leased: list[str] = []

    async def all_others() -> bool:
        leased.extend(task.execution_id for task in await rig.lease())
        return sorted(leased) == OTHERS

    async with rig.locked(ROW.format("held")):
        await asyncio.wait_for(asyncio.ensure_future(resume(rig, rule_id)), WITHIN)
        await eventually(all_others, WITHIN)
        await asyncio.wait_for(rig.client.pause(task_name="nobody"), WITHIN)
    assert [task.execution_id for task in await rig.lease(wait=LONG)] == ["x"]


async def test_a_rule_goes_on_while_another_waits(rig: Rig) -> None:
    """For what it had let go and took back, which it writes down once more."""
    first = await paused(rig)
    await rig.start("x", {"a": (), "b": ()})
    await rig.client.resume(rule_id=first, rate_per_second=0.01)
    await until_released(rig, 1)
    await rig.client.stop_release(first)
    await rig.start("y", {"a": ()}, task="other")
    second = (await rig.client.pause(task_name="other")).rule_id
    await settled(rig)
    async with rig.locked("SELECT FROM zart.released_steps FOR UPDATE"):
        await rig.client.resume(rule_id=first, rate_per_second=100)
        await rig.until_waiting()
        await rig.client.resume(rule_id=second, rate_per_second=100)
        tasks = await asyncio.wait_for(rig.lease(task="other", wait=LONG), WITHIN)
        assert [task.execution_id for task in tasks] == ["y"]
    (one,) = await rig.lease(1, wait=LONG)
    (other,) = await rig.lease(1, wait=LONG)
    assert {one.step_name, other.step_name} == {"a", "b"}


async def test_a_step_that_is_locked_and_retried_keeps_no_pause_waiting(rig: Rig) -> None:
    await rig.dead("x", CHAIN, "b")
    async with rig.locked(ROW.format("steps")):
        retrying = asyncio.ensure_future(rig.client.retry_step("x", "b"))
        await rig.until_waiting()
        await asyncio.wait_for(rig.client.pause(task_name="nobody"), WITHIN)
    await asyncio.gather(retrying, return_exceptions=True)
    if (await rig.statuses())["b"] == "DEAD":  # it was told so
        await rig.client.retry_step("x", "b")
    await rig.work()
    assert await rig.run_status() == "COMPLETED"
