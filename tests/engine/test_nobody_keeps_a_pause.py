"""Who shares the pause lock waits for nothing, and inserts no more than some steps: a Pause waits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from doubts import ONE, in_doubt
from rig import Rig, eventually

import zart
from zart.models import StepError
from zart_server.store.pausing.rules import PAUSE_LOCK

# More steps than are inserted under the lock, behind one root.
LARGE = {"root": (), **{f"s{n}": ("root",) for n in range(5_000)}}
_GATE = "SELECT pg_advisory_xact_lock(1, 1)"
_SHARES_IT = f"""
    SELECT EXISTS (
        SELECT FROM pg_locks l WHERE l.pid = a.pid AND l.granted AND l.locktype = 'advisory'
          AND l.classid = {PAUSE_LOCK >> 32} AND l.objid = {PAUSE_LOCK & 0xFFFF_FFFF})
    FROM pg_stat_activity a WHERE a.datname = current_database() AND a.wait_event_type = 'Lock'
"""


async def shares_the_pause_lock_and_waits(rig: Rig) -> bool:
    """Return, once a session waits for a lock, whether it holds the pause lock meanwhile."""
    found: list[bool] = []

    async def is_any_waiting() -> bool:
        # Within a transaction the first look would be the last.
        await rig.db.execute("SELECT pg_stat_clear_snapshot()")
        found[:] = [row[0] for row in await rig.db.fetch(_SHARES_IT)]
        return bool(found)

    await eventually(is_any_waiting)
    return any(found)


@pytest.fixture
async def gate(rig: Rig) -> None:
    """Have whoever has inserted steps wait for whoever has locked the gate."""
    await rig.db.execute(
        f"""
        CREATE FUNCTION wait_at_the_gate() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM {_GATE.removeprefix("SELECT")}; RETURN NULL; END $$;
        CREATE TRIGGER gate AFTER INSERT ON zart.steps
            FOR EACH STATEMENT EXECUTE FUNCTION wait_at_the_gate();
        """
    )


@pytest.mark.usefixtures("gate")
@pytest.mark.parametrize("how", ["inline", "registered", "again"])
async def test_while_the_steps_of_a_large_graph_are_inserted(rig: Rig, how: str) -> None:
    rig.registers = how != "inline"
    await rig.start("x", LARGE)  # the server knows the graph from then on
    async with rig.locked(_GATE):
        if how == "again":
            beginning: asyncio.Task[Any] = asyncio.create_task(rig.client.restart("x"))
        else:
            beginning = asyncio.create_task(rig.start("y", LARGE))
        assert not await shares_the_pause_lock_and_waits(rig)
        await rig.client.pause(task_name="other")
    await beginning
    leased = [(task.execution_id, task.step_name) for task in await rig.lease()]
    assert leased == ([("x", "root")] if how == "again" else [("x", "root"), ("y", "root")])


async def test_while_a_late_outcome_waits_for_who_resolves_its_doubt(rig: Rig) -> None:
    await in_doubt(rig, "x")
    late = rig.leased["x", "a"]
    await rig.start("y", ONE)
    failed = await rig.lease_one("a", "y")
    error = StepError("Broken", "no", "")
    async with rig.locked("SELECT FROM zart.in_doubt FOR UPDATE"):
        reporting = asyncio.create_task(
            rig.report(
                zart.Outcome(late.task_id, late.lease_token, zart.Completed(7)),
                zart.Outcome(failed.task_id, failed.lease_token, zart.Failed(error)),
            )
        )
        assert not await shares_the_pause_lock_and_waits(rig)
        await rig.client.pause(task_name="other")
    assert [result.status for result in await reporting] == ["LEASE_LOST", "RECORDED"]
    assert await rig.statuses("y") == {"a": "SCHEDULED"}
    (doubt,) = [item async for item in rig.client.list_in_doubt()]
    assert doubt.late_outcome is not None
    assert doubt.late_outcome.result == 7
