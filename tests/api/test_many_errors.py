"""Error groups and counts of more than an index counts at once, whatever the table's size."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from batching import batch_of
from rig import Rig

import zart
from zart import ExecutionFilter

DEAD = 16_000  # of each of two groups
LOAD = f"""
    WITH kinds AS (
        INSERT INTO zart.error_groups (group_key, error_group_id, task_name, step_name, type,
                                       template)
        SELECT n, 'eg-' || n, 'order', 'pay', 'Broken', 'no ' || n FROM generate_series(1, 2) n
    ), created AS (
        INSERT INTO zart.executions (execution_id, task_name)
        SELECT 'x-' || n, 'order' FROM generate_series(1, {2 * DEAD}) n
        RETURNING execution_key
    ), begun AS (
        INSERT INTO zart.runs (execution_key, run_number, definition_key, status, "trigger",
            triggered_by, reason, completed_at, dead_steps, dead_listed)
        SELECT execution_key, 0, (SELECT max(definition_key) FROM zart.definitions), 'failed',
            'initial', '', '', now(), 1, 1
        FROM created RETURNING run_key, execution_key, listed_at
    )
    INSERT INTO zart.dead_steps (run_key, step_no, execution_key, group_key, listed_at, died_at)
    SELECT run_key, 0, execution_key, 1 + run_key % 2, listed_at,
        now() - run_key % 4 / 2 * interval '1 day'
    FROM begun
"""


async def _dead(rig: Rig, wanted: ExecutionFilter) -> list[tuple[str, int, bool]]:
    groups = rig.client.list_error_groups(wanted)
    return [(g.error_group_id, g.dead_steps, g.dead_steps_is_lower_bound) async for g in groups]


@pytest.mark.parametrize("fillfactor", [100, 10], ids=["few pages", "many pages"])
async def test_groups_are_counted_whatever_the_size_of_the_table(rig: Rig, fillfactor: int) -> None:
    await rig.client.register_task("order", [zart.StepSpec("pay")])
    await rig.db.execute(f"ALTER TABLE zart.dead_steps SET (fillfactor = {fillfactor})")
    await rig.db.execute(LOAD)
    pages = await rig.db.fetchval(
        "SELECT pg_relation_size('zart.dead_steps') / current_setting('block_size')::int"
    )
    assert (pages > 3_000) == (fillfactor == 10)
    now = await rig.db.fetchval("SELECT now() - interval '1 hour'")

    assert await _dead(rig, ExecutionFilter()) == [("eg-1", DEAD, False), ("eg-2", DEAD, False)]
    recent = await _dead(rig, ExecutionFilter(dead_after=now))
    assert recent == [("eg-1", DEAD // 2, False), ("eg-2", DEAD // 2, False)]
    # Each has to be looked at: some are, and what is found is told as the least there is.
    for group_id, found, is_lower_bound in await _dead(rig, ExecutionFilter(statuses=["FAILED"])):
        assert group_id in {"eg-1", "eg-2"}
        assert is_lower_bound
        assert 0 < found < DEAD


_BATCH = batch_of("ba-few", "execution_id LIKE 'x-77_'")
_DIED_LONG_AGO = """
    UPDATE zart.dead_steps SET died_at = '2020-01-01Z' FROM zart.executions e
    WHERE e.execution_key = dead_steps.execution_key AND e.execution_id LIKE 'x-5_'
"""


async def test_no_group_is_left_out_whose_steps_are_not_among_the_newest(rig: Rig) -> None:
    await rig.client.register_task("order", [zart.StepSpec("pay")])
    for statement in (LOAD, _BATCH, _DIED_LONG_AGO):
        await rig.db.execute(statement)
    long_ago = ExecutionFilter(dead_before=datetime(2021, 1, 1, tzinfo=UTC), statuses=["FAILED"])
    for wanted, dead in (
        (ExecutionFilter(execution_id_prefix="x-77"), 111),
        (ExecutionFilter(batch_id="ba-few"), 10),
        (ExecutionFilter(batch_id="ba-few", execution_id_prefix="x-1"), 0),
        (long_ago, 10),
        (replace(long_ago, statuses=["RUNNING"]), 0),
    ):
        groups = await _dead(rig, wanted)
        assert sum(found for _, found, _ in groups) == dead
        assert not any(is_lower_bound for _, _, is_lower_bound in groups)
    # Of more than a thousand it is told that there may be some: nobody has found out.
    assert await _dead(rig, ExecutionFilter(execution_id_prefix="x-1")) == [
        ("eg-1", 0, True),
        ("eg-2", 0, True),
    ]
    pages = rig.client.list_error_groups(ExecutionFilter(execution_id_prefix="x-1"), page_size=1)
    assert [len(page.items) async for page in pages.pages()] == [1, 1]


async def test_counts_are_right_or_lower_bounds(rig: Rig) -> None:
    await rig.client.register_task("order", [zart.StepSpec("pay")])
    await rig.db.execute(LOAD)
    for wanted in (ExecutionFilter(), ExecutionFilter(step_statuses=["DEAD"])):
        found = await rig.client.count_executions(wanted)
        assert 5_000 <= found.total <= 2 * DEAD
        assert found.total_is_lower_bound == (found.total < 2 * DEAD)
        assert found.total == sum(one.executions for one in found.by_status)


# Each is of a step of its own, but for the oldest: that is of the step that is asked for.
_KINDS = """
    INSERT INTO zart.error_groups (group_key, error_group_id, task_name, step_name, type, template)
    SELECT 10 + n, 'eg-' || 10 + n, 'order', CASE n WHEN 1 THEN 'refund' ELSE 'step-' || n END,
        'Broken', 'no'
    FROM generate_series(1, 500) n
"""
_OF_KINDS = """
    UPDATE zart.dead_steps d SET group_key = 10 + n FROM (
        SELECT run_key, row_number() OVER (ORDER BY run_key) AS n FROM zart.runs) r
    WHERE r.run_key = d.run_key AND n <= 500
"""


async def test_a_few_kinds_of_very_many_are_a_way_to_what_died_of_them(rig: Rig) -> None:
    await rig.client.register_task("order", [zart.StepSpec("pay")])
    for statement in (LOAD, _KINDS, _OF_KINDS):
        await rig.db.execute(statement)
    refund = ExecutionFilter(step_pattern="refund")
    for wanted in (refund, replace(refund, task_name="order")):
        first = await anext(rig.client.list_executions(wanted).pages())
        assert [one.execution_id for one in first.items] == ["x-1"]
        # Few errors are searched for the text, so that it is not refused.
        assert await rig.client.list_executions(replace(wanted, error_contains="no card")) == []
