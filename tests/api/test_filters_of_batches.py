"""A filter by a batch: the executions that it has selected."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from batching import load_runs, until_batch
from rig import Rig, eventually

import zart
from zart import ExecutionFilter
from zart_server.store.retention.removing import ALLOW_PURGE


async def test_what_a_batch_was_selected_for(rig: Rig) -> None:
    for name in ("x", "y"):
        await rig.dead(name)
    created = await rig.client.create_batch(zart.RetryStep(), execution_ids=["x"])
    assert created.batch is not None
    wanted = ExecutionFilter(batch_id=created.batch.batch_id)

    async def is_found() -> bool:
        return [one.execution_id for one in await rig.client.list_executions(wanted)] == ["x"]

    await eventually(is_found)
    assert (await rig.client.count_executions(wanted)).total == 1
    with pytest.raises(zart.errors.BatchNotFound):
        await rig.client.list_error_groups(ExecutionFilter(batch_id="ba-nowhere"))


async def test_a_batch_is_a_way_to_its_executions(rig: Rig) -> None:
    names = [f"x{n}" for n in range(6)]
    for name in names:
        await rig.dead(name)
    chosen = names[:5]
    created = await rig.client.create_batch(zart.Restart(), execution_ids=chosen)
    batch_id = created.batch_id

    async def is_done() -> bool:
        return (await rig.client.get_batch(batch_id)).counts.done == len(chosen)

    await eventually(is_done)
    await rig.work(fail=["b"])
    await rig.client.retry_step("x4", "b")
    await rig.client.pause(task_name="t", reason="no")

    async def found(**conditions: Any) -> list[str]:
        wanted = ExecutionFilter(batch_id=batch_id, **conditions)
        pages = [p async for p in rig.client.list_executions(wanted, page_size=2).pages()]
        assert all(len(page.items) <= 2 for page in pages)
        return [one.execution_id for page in pages for one in page.items]

    assert await found() == chosen[::-1]
    assert await found(step_statuses=["DEAD"]) == ["x3", "x2", "x1", "x0"]
    assert await found(step_pattern="b", statuses=["RUNNING"]) == []
    assert await found(step_statuses=["DEAD", "PAUSED"]) == chosen[::-1]
    assert await found(execution_id_prefix="x3") == ["x3"]
    assert await found(task_name="u") == []
    [rule] = await rig.client.list_pause_rules()
    assert await found(rule_id=rule.rule_id) == ["x4"]
    created_at = (await rig.client.get_execution("x2")).execution.created_at
    assert await found(created_before=created_at) == ["x1", "x0"]
    assert await found(created_after=created_at) == ["x4", "x3", "x2"]
    with pytest.raises(zart.errors.ErrorGroupNotFound):
        await found(error_group_id="eg-1abcdefg")


async def test_a_batch_of_many_is_a_way_to_its_executions(rig: Rig) -> None:
    """Of more items than are read at once."""
    await load_runs(rig, 1_050, "completed")
    await rig.dead("dead")
    created = await rig.client.create_batch(zart.Restart(), everything=True, canary=1)
    await until_batch(rig.client, created.batch_id, "PAUSED")
    await rig.dead("another")
    batch_id = created.batch_id
    all_of_them = ["dead", *(f"x-{n}" for n in reversed(range(1_050)))]

    async def found(size: int = 400, **conditions: Any) -> list[str]:
        wanted = ExecutionFilter(batch_id=batch_id, **conditions)
        listed = rig.client.list_executions(wanted, page_size=size)
        return [one.execution_id async for one in listed]

    assert await found() == all_of_them
    assert await found(task_name="t", statuses=["COMPLETED", "FAILED", "SCHEDULED"]) == all_of_them
    assert await found(statuses=["RUNNING"]) == []
    assert await found(step_statuses=["DEAD"]) == ["dead"]
    assert await found(step_pattern="b") == ["dead"]
    created_at = (await rig.client.get_execution("dead")).execution.created_at
    assert await found(1_000, created_before=created_at) == all_of_them[1:]
    assert await found(created_after=created_at) == ["dead"]
    counted = await rig.client.count_executions(ExecutionFilter(batch_id=batch_id))
    # It is counted for a moment: a busy machine comes to the end of a piece of them, and says so.
    assert counted.total == 1_051 or (counted.total_is_lower_bound and 0 < counted.total < 1_051)


async def test_executions_that_are_removed_hide_no_others(rig: Rig) -> None:
    """The items of a batch outlive them: those after them in a list are found all the same."""
    await rig.dead("dead")
    await load_runs(rig, 1_050, "completed")
    # It is refused for the first of them, which is FAILED and stays so.
    created = await rig.client.create_batch(zart.CancelExecution(), everything=True, canary=1)
    await until_batch(rig.client, created.batch_id, "PAUSED")
    await rig.client.cancel_batch(created.batch_id)
    async with rig.db.transaction():
        await rig.db.execute(ALLOW_PURGE)
        for name in ("x-100", "x-1049"):  # among the first of its items, and of the list
            key = await rig.db.fetchval(
                "SELECT execution_key FROM zart.executions WHERE execution_id = $1", name
            )
            await rig.db.execute("DELETE FROM zart.runs WHERE execution_key = $1", key)
            await rig.db.execute("DELETE FROM zart.executions WHERE execution_key = $1", key)

    async def found(**conditions: Any) -> list[str]:
        wanted = ExecutionFilter(batch_id=created.batch_id, **conditions)
        return [one.execution_id async for one in rig.client.list_executions(wanted, page_size=9)]

    assert await found(step_statuses=["DEAD"]) == ["dead"]
    assert await found(statuses=["FAILED"]) == ["dead"]


async def test_where_few_fit_a_batch_of_many_is_not_looked_through(rig: Rig) -> None:
    """They are on the first page, though more executions than are looked at are before them."""
    await rig.dead("dead")
    await rig.dead("as-good-as")
    # It began first, though it got its key later, as of two starts at the same moment.
    for table in ("runs", "dead_steps"):
        await rig.db.execute(
            f"UPDATE zart.{table} SET listed_at = listed_at - interval '1 minute'"
            " WHERE execution_key = (SELECT max(execution_key) FROM zart.executions)"
        )
    rule = await rig.client.pause(task_name="u", reason="no")
    await rig.start("withheld", {"a": ()}, task="u")
    await load_runs(rig, 1_050, "completed")
    # It is refused for the first of them, which is FAILED and stays so.
    created = await rig.client.create_batch(zart.CancelExecution(), everything=True, canary=1)
    await until_batch(rig.client, created.batch_id, "PAUSED")
    [group] = await rig.client.list_error_groups()
    await rig.start("at-work", {"a": ()}, task="u")  # of no batch
    await rig.client.update_pause_rule(rule.rule_id, exempt=["at-work"])

    async def first(**conditions: Any) -> list[str]:
        wanted = ExecutionFilter(batch_id=created.batch_id, **conditions)
        pages = [p async for p in rig.client.list_executions(wanted, page_size=9).pages()]
        assert [len(page.items) for page in pages[1:]] == [0] * (len(pages) - 1)
        return [one.execution_id for one in pages[0].items]

    # In one order, whether few fit or many: how many that are may change between two pages.
    both = ["as-good-as", "dead"]
    assert await first(error_group_id=group.error_group_id) == both
    assert await first(dead_after=datetime(2020, 1, 1, tzinfo=UTC)) == both
    assert await first(rule_id=rule.rule_id) == ["withheld"]
    assert await first(step_statuses=["SCHEDULED", "PAUSED"]) == ["withheld"]

    async def found(**conditions: Any) -> list[str]:
        wanted = ExecutionFilter(batch_id=created.batch_id, **conditions)
        return [one.execution_id async for one in rig.client.list_executions(wanted, page_size=9)]

    assert await found(statuses=["FAILED"]) == both
    assert await found(step_statuses=["PENDING", "PAUSED"]) == ["withheld"]
    for states in ("DEAD", "PAUSED"), ("DEAD", "PENDING", "PAUSED"):
        assert await found(step_statuses=states) == ["withheld", *both]
