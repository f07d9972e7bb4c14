"""A batch's plan tells of what is on its way as it is made: else its token would take it unseen."""

from __future__ import annotations

import asyncio

from batching import until_batch
from rig import Rig

import zart
from zart_server.store.connecting import Connector
from zart_server.store.pausing.rules import SEIZE_PAUSE_LOCK
from zart_server.store.sessions import Session


async def test_a_plan_waits_for_what_is_on_its_way(rig: Rig) -> None:
    """It began before the plan: not seen by it, it would be taken all the same."""
    await rig.start("x", {"a": ()})
    await rig.work(fail=["a"])
    operation, named = zart.CancelExecution(), ["x"]
    async with rig.locked(SEIZE_PAUSE_LOCK):
        restarting = asyncio.create_task(rig.client.restart("x"))
        await rig.until_waiting(at_length=True)
        planning = asyncio.create_task(
            rig.client.create_batch(operation, execution_ids=named, validate_only=True)
        )
        await asyncio.wait({planning}, timeout=0.1)
        assert not planning.done()
    await restarting
    plan = await planning
    assert plan.plan is not None
    assert [(kind.refused_for, kind.items) for kind in plan.plan.kinds] == [("", 1)]
    created = await rig.client.create_batch(
        operation, execution_ids=named, plan_token=plan.plan_token
    )
    await until_batch(rig.client, created.batch_id, "COMPLETED")
    (item,) = await rig.client.list_batch_items(created.batch_id)
    assert (item.run_number, item.refusal) == (1, None)


async def test_a_plan_waits_for_what_waits_for_its_first_lock(rig: Rig, zart_database: str) -> None:
    """It has written nothing yet, but will write as of when it began: before the plan."""
    await rig.start("x", {"a": ()})
    await rig.work(fail=["a"])
    another = await Connector(zart_database, Session("another")).connect()
    try:
        async with rig.locked("SELECT FROM zart.runs FOR UPDATE"):
            waiting = asyncio.create_task(another.execute("SELECT FROM zart.runs FOR UPDATE"))
            await rig.until_waiting()
            planning = asyncio.create_task(
                rig.client.create_batch(zart.RetryStep(), everything=True, validate_only=True)
            )
            await asyncio.wait({planning}, timeout=0.1)
            assert not planning.done()
        await waiting
        plan = await planning
    finally:
        another.terminate()
    assert plan.plan is not None
    assert plan.plan.items == 1
