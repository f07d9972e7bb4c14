"""A server of an earlier version goes on writing while a new one has already changed the schema."""

from __future__ import annotations

from invariants import broken
from rig import CHAIN, Rig, eventually

import zart

# As sent before runs said what lists go by: the first run in one statement with its execution.
_START = """
    WITH new AS MATERIALIZED (
        SELECT 'older-' || n AS execution_id,
            nextval('zart.executions_execution_key_seq') AS execution_key,
            nextval('zart.runs_run_key_seq') AS run_key
        FROM generate_series(1, 3) n
    ), e AS (
        INSERT INTO zart.executions (execution_key, execution_id, task_name)
            OVERRIDING SYSTEM VALUE
        SELECT execution_key, execution_id, 't' FROM new ON CONFLICT (execution_id) DO NOTHING
        RETURNING execution_key
    ), started AS MATERIALIZED (
        SELECT * FROM new WHERE (execution_key IN (SELECT execution_key FROM e)) IS TRUE
    )
    INSERT INTO zart.runs (run_key, execution_key, run_number, definition_key, "trigger",
                           triggered_by, principal, reason, status, completed_at)
        OVERRIDING SYSTEM VALUE
    SELECT run_key, execution_key, 0, $1::bigint, 'initial', '', '', '', 'cancelled', now()
    FROM started
"""
_RESTART = """
    WITH ended AS (
        UPDATE zart.runs SET is_current = false WHERE execution_key = (
            SELECT execution_key FROM zart.executions WHERE execution_id = 'x')
        RETURNING execution_key, run_number, definition_key
    )
    INSERT INTO zart.runs (execution_key, run_number, definition_key, "trigger", triggered_by,
                           principal, reason, status, completed_at)
    SELECT execution_key, run_number + 1, definition_key, 'restart', '', '', '', 'cancelled', now()
    FROM ended
"""


async def test_what_it_begins_is_in_the_lists(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    await rig.client.cancel_execution("x")
    definition = await rig.db.fetchval("SELECT definition_key FROM zart.runs")

    await rig.db.execute(_START, definition)
    await rig.db.execute(_RESTART)

    listed = rig.client.list_executions(task_name="t", statuses=["cancelled"])
    assert [e.execution_id async for e in listed] == ["older-3", "older-2", "older-1", "x"]
    assert "a run is listed by its execution's task and time" not in await broken(rig.db)


# As sent before dead steps were listed: the step, and the number of the run's, in two statements.
_DIE = """
    UPDATE zart.steps SET status = 'dead', completed_at = now(), attempt = 1, counted = 1,
        error = '{"type": "Broken", "message": "card 4711 was declined", "details": ""}'
    WHERE step_no = 0 AND status = 'open'
"""
_COUNT = "UPDATE zart.runs SET dead_steps = dead_steps + 1, status = 'failed', completed_at = now()"
_REVIVE = """
    WITH revived AS (
        UPDATE zart.steps SET status = 'open', error = NULL, completed_at = NULL
        WHERE status = 'dead' RETURNING run_key
    )
    UPDATE zart.runs SET dead_steps = dead_steps - 1, status = 'running', completed_at = NULL
    FROM revived WHERE runs.run_key = revived.run_key
"""
_SUPERSEDE = "UPDATE zart.runs SET is_current = false"
LISTED = (
    "dead steps of current runs are listed",
    "dead steps of current runs are counted as listed",
)


async def test_what_it_lets_die_is_listed(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    await rig.db.execute("DELETE FROM zart.queue")
    wanted = zart.ExecutionFilter(error_contains="4711", step_pattern="a")

    async def is_found() -> bool:
        return len(await rig.client.list_executions(wanted)) == 1

    async with rig.db.transaction():
        await rig.db.execute(_DIE)
        await rig.db.execute(_COUNT)
    assert not set(LISTED) & (await broken(rig.db)).keys()
    await eventually(is_found)  # once the kind of its error is told

    await rig.db.execute(_REVIVE)
    assert not set(LISTED) & (await broken(rig.db)).keys()
    assert not await is_found()


async def test_what_it_supersedes_is_listed_no_more(rig: Rig) -> None:
    await rig.dead("x")

    await rig.db.execute(_SUPERSEDE)

    assert await rig.db.fetchval("SELECT count(*) FROM zart.dead_steps") == 0


# As sent before a promise said up to which step it reaches.
_PROMISE = (
    "INSERT INTO zart.pause_canaries (rule_key, steps) SELECT rule_key, 5 FROM zart.pause_rules"
)


async def test_what_it_promises_is_of_the_steps_that_are_ready_then(rig: Rig) -> None:
    await rig.client.pause(task_name="t")
    await rig.start("x", CHAIN)
    await rig.db.execute(_PROMISE)
    await rig.start("y", CHAIN)

    async def is_nothing_promised() -> bool:
        return not await rig.db.fetchval("SELECT EXISTS (SELECT FROM zart.pause_canaries)")

    await eventually(is_nothing_promised)
    assert (await rig.statuses("x"))["a"] == "SCHEDULED"
    assert (await rig.statuses("y"))["a"] == "PAUSED"
