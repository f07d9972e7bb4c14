"""An execution of a registered task starts by one statement, unless it takes more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from rig import CHAIN, Rig, specs

import zart
from zart import errors
from zart.testing.server import serving


@pytest.fixture(autouse=True)
async def _registered(rig: Rig) -> None:
    await rig.client.register_task("t", specs(CHAIN))


@pytest.fixture
async def elsewhere(rig: Rig, zart_database: str) -> AsyncIterator[zart.Client]:
    """Have the same caller ask another server of the same database."""
    with serving(zart_database) as other:
        async with zart.connect(other.address, triggered_by=rig.client.triggered_by) as client:
            yield client


async def start(client: zart.Client, execution_id: str = "x", **options: Any) -> zart.Execution:
    """Start an execution; gives it as it was answered."""
    handle = await client.start("t", execution_id=execution_id, **options)
    assert handle.execution is not None
    return handle.execution


async def test_all_of_it_is_one_statement(rig: Rig) -> None:
    started = await start(rig.client, request_id="once")

    (row,) = await rig.db.fetch(
        "SELECT e.created_at, r.status, e.xmin = ALL(ARRAY[r.xmin, s.xmin, q.xmin, o.xmin, a.xmin])"
        " AS at_once, a.is_complete FROM zart.executions e JOIN zart.runs r USING (execution_key)"
        " JOIN zart.steps s ON s.run_key = r.run_key AND s.step_no = 2"
        " JOIN zart.queue q ON q.run_key = r.run_key JOIN zart.operations o USING (execution_id)"
        " JOIN zart.requests a ON a.request_id = o.request_id"
    )
    assert (row["created_at"], row["status"]) == (started.created_at, "scheduled")
    # Only the one statement stores an answer without its time, which it does not know yet.
    assert (row["at_once"], row["is_complete"]) == (True, False)
    assert await rig.statuses() == {"a": "SCHEDULED", "b": "PENDING", "c": "PENDING"}
    await rig.work()
    assert await rig.run_status() == "COMPLETED"


async def test_a_repeat_gives_the_same_answer_on_any_server(
    rig: Rig, elsewhere: zart.Client
) -> None:
    started = await start(rig.client, request_id="once")
    await rig.work()

    for client in (rig.client, elsewhere):
        assert await start(client, request_id="once") == started
    assert await rig.db.fetchval("SELECT count(*) FROM zart.executions") == 1


async def test_a_repeat_without_an_id_starts_nothing(rig: Rig, elsewhere: zart.Client) -> None:
    first = await start(rig.client, "", request_id="once")

    for client in (rig.client, elsewhere):
        assert await start(client, "", request_id="once") == first
    assert await rig.db.fetchval("SELECT count(*) FROM zart.executions") == 1


async def test_repeats_at_once_start_one(rig: Rig, elsewhere: zart.Client) -> None:
    clients = (rig.client, elsewhere) * 10
    answers = await asyncio.gather(*(start(c, "", request_id="once") for c in clients))

    assert len({answer.execution_id for answer in answers}) == 1
    assert len({answer.created_at for answer in answers}) == 1
    assert await rig.db.fetchval("SELECT count(*) FROM zart.executions") == 1


async def test_another_request_under_the_same_id_is_refused(rig: Rig) -> None:
    await start(rig.client, request_id="once")
    with pytest.raises(errors.RequestIdReused):
        await start(rig.client, "y", request_id="once")
    assert await rig.db.fetchval("SELECT count(*) FROM zart.executions") == 1


async def test_an_id_that_is_taken(rig: Rig) -> None:
    started = await start(rig.client)
    with pytest.raises(errors.ExecutionExists):
        await start(rig.client)
    assert await start(rig.client, if_exists="RETURN") == started
    assert await rig.db.fetchval("SELECT count(*) FROM zart.operations WHERE kind = 'start'") == 1


async def test_the_graph_that_another_server_registered_meanwhile(
    rig: Rig, elsewhere: zart.Client
) -> None:
    await elsewhere.register_task("t", specs({"new": ()}))

    await start(rig.client)
    state = await rig.client.get_execution("x")
    assert ([s.step_name for s in state.steps], state.run.definition_version) == (["new"], 2)


async def test_the_rule_that_another_server_added_meanwhile(
    rig: Rig, elsewhere: zart.Client
) -> None:
    await start(rig.client, "before")
    await elsewhere.pause(step_pattern="a")

    await start(rig.client)
    assert (await rig.statuses())["a"] == "PAUSED"
    assert await rig.lease() == []
