"""A server of an earlier version goes on writing while a new one has already changed the schema."""

from __future__ import annotations

from invariants import broken
from rig import CHAIN, Rig

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
