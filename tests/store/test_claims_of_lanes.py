"""Claims cost their batch, however many lanes are asked for, and leave no lane aside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, cast

import asyncpg
import pytest
from hot.explained import explained
from lanes import names, queue, wanting

from zart_server.domain.commands import Caller, StartExecution
from zart_server.domain.dispatch import LeasedTask
from zart_server.domain.graph import WrittenGraph
from zart_server.domain.model import IfExists, StepSpec
from zart_server.engine.dispatch.lease import lease_tasks
from zart_server.engine.dispatch.low_water import LowWater
from zart_server.engine.operations.start import start_executions
from zart_server.store.connection import Tx
from zart_server.store.db import Database
from zart_server.store.pausing.rules import SHARE_PAUSE_LOCK


async def leased(tx: Any, count: int, handlers: tuple[str, ...] = ()) -> list[LeasedTask]:
    return await lease_tasks(tx, wanting(count, handlers), LowWater())


async def test_it_locks_what_it_takes_and_reads_little_more(store: Database) -> None:
    await queue(store, lanes=200, tasks=10)
    async with explained(store, first=SHARE_PAUSE_LOCK) as tx:
        assert len(await leased(tx.tx, 20)) == 20

        claim = tx.plans[0]
        locked = [node for node in claim.nodes if node["Node Type"] == "LockRows"]
        assert locked
        assert sum(n["Actual Rows"] * n["Actual Loops"] for n in locked) <= 2 * 20  # runs as well
        assert claim.looked_at("queue") <= 200 + 5 * 20


async def test_who_has_few_handlers_reads_no_other_lanes(store: Database) -> None:
    await queue(store, lanes=1000, tasks=1)
    async with explained(store, first=SHARE_PAUSE_LOCK) as tx:
        assert len(await leased(tx.tx, 20, ("h1", "h2", "none"))) == 2

        assert all(plan.looked_at("lanes") <= 10 for plan in tx.plans)


async def test_a_lane_with_many_old_tasks_leaves_room_for_others(store: Database) -> None:
    await queue(store, lanes=8, tasks=40)
    async with store.transaction() as tx:
        await tx.execute(
            "UPDATE zart.queue SET not_before = not_before - interval '1 hour'"
            " WHERE step_name = 's3'"
        )
    async with store.transaction(first=SHARE_PAUSE_LOCK) as tx:
        steps = Counter(task.step_no for task in await leased(tx, 40))

    assert steps.keys() == set(range(8))
    assert max(steps, key=lambda step: steps[step]) == 3


async def test_of_few_lanes_the_oldest_tasks_are_leased(store: Database) -> None:
    await queue(store, lanes=3, tasks=10)
    async with store.transaction() as tx:
        await tx.execute(
            "UPDATE zart.queue SET not_before = not_before - interval '1 hour'"
            " WHERE step_name = 's1'"
        )
    async with store.transaction(first=SHARE_PAUSE_LOCK) as tx:
        tasks = await leased(tx, 12)

    assert [task.step_no for task in tasks] == [1] * 10 + [0, 2]


async def test_all_is_leased_where_lanes_have_unequally_much(store: Database) -> None:
    await queue(store, lanes=30, tasks=1)
    async with store.transaction() as tx:
        graph = WrittenGraph.of([StepSpec("s0", (), "h0")])
        await start_executions(
            tx,
            [
                StartExecution(f"more-{n}", "t", "1", graph, IfExists.FAIL, Caller())
                for n in range(60)
            ],
        )
    async with store.transaction(first=SHARE_PAUSE_LOCK) as tx:
        assert len(names(await leased(tx, 80))) == 80


@pytest.mark.parametrize(("lanes", "tasks"), [(60, 1), (2, 30), (1, 60)])
async def test_claims_at_the_same_time_leave_each_other_something(
    store: Database, lanes: int, tasks: int
) -> None:
    await queue(store, lanes, tasks)
    async with (
        store.transaction(first=SHARE_PAUSE_LOCK) as one,
        store.transaction(first=SHARE_PAUSE_LOCK) as other,
        store.transaction(first=SHARE_PAUSE_LOCK) as third,
    ):
        found = [names(await leased(tx, 20)) for tx in (one, other, third)]

    assert [len(tasks) for tasks in found] == [20, 20, 20]
    assert len(found[0] | found[1] | found[2]) == 60


@dataclass
class Interrupted:
    """Stands in for a Tx: after its first statement something else happens."""

    tx: Tx
    then: Callable[[], Awaitable[object]]
    is_told: bool = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tx, name)

    async def fetch(self, sql: str, *args: object) -> list[asyncpg.Record]:
        rows = await self.tx.fetch(sql, *args)
        if not self.is_told:
            self.is_told = True
            await self.then()
        return rows


async def test_a_rule_of_another_task_is_settled_after_the_claim_stood_aside(
    store: Database, zart_database: str
) -> None:
    await queue(store, lanes=1, tasks=3)
    other = await asyncpg.connect(zart_database)
    try:
        await other.execute(
            "INSERT INTO zart.pause_rules (rule_id, task_name, everything, created_by, reason)"
            " VALUES ('pr-other', 'another', false, '', '')"
        )
        await other.execute(
            "INSERT INTO zart.pause_work SELECT rule_key, 'settle' FROM zart.pause_rules"
        )
        async with store.transaction(first=SHARE_PAUSE_LOCK) as tx:
            settle = Interrupted(tx, lambda: other.execute("DELETE FROM zart.pause_work"))
            tasks = await leased(cast("Tx", settle), 10)
    finally:
        await other.close()

    assert settle.is_told
    assert len(tasks) == 3
