"""States of PostgreSQL's statistics, and the burst of executions that comes afterwards.

Executions ``x-1`` … ``x-20000`` end: each fifth has a dead step. ``x-20001`` … ``x-40000`` are the
burst: each second is queued, the others are held by rule 1. Leases of others lie about. A rule that
stands no more, RELEASED, has let all of them go. A batch that has ended has all steps of both. Their
task, which is registered, has as many inline graphs besides.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator

import asyncpg
from patient import patient_database

from zart.testing.fixtures import database_url
from zart_server.domain.commands import Caller, RegisterTask
from zart_server.domain.graph import WrittenGraph
from zart_server.domain.if_in_doubt import IfInDoubt
from zart_server.domain.model import StepSpec
from zart_server.engine.operations.register_task import register_task

MANY = 20_000
OTHERS = 2_000  # leases
RELEASED = 1_000_000  # no rule has this key
GROUPS = 4  # of errors
_numbers = itertools.count()

# Autovacuum comes when it likes: here nothing comes by itself.
_NEVER_BY_ITSELF = """
    DO $$ DECLARE t regclass; BEGIN
        FOR t IN SELECT oid FROM pg_class WHERE relnamespace = 'zart'::regnamespace AND relkind = 'r'
        LOOP EXECUTE format('ALTER TABLE %s SET (autovacuum_enabled = off)', t); END LOOP;
    END $$
"""
_NAMES = """'ops-' || n % 2, '', '', 'INC-' || n % 2, 'pr-' || n % 2, 'b-' || n % 2, 'br-' || n % 2,
        'p-' || n % 2"""
_BEGIN = f"""
    INSERT INTO zart.definitions (task_name, version, content_hash, steps, step_names, dep_counts,
        max_attempts, lanes, timeout_seconds)
    SELECT 'many', 0, sha256(n::text::bytea), '[]', ARRAY['a'], '{{{{0}}}}', '{{{{3}}}}', '{{{{0}}}}',
        '{{{{600}}}}'
    FROM generate_series({{first}}, {{first}} + {MANY - 1}) n;
    INSERT INTO zart.executions (execution_id, task_name)
    SELECT 'x-' || n, 'many' FROM generate_series({{first}}, {{first}} + {MANY - 1}) n;
    INSERT INTO zart.runs (execution_key, run_number, definition_key, status, "trigger",
        triggered_by, reason)
    SELECT execution_key, 0, (SELECT definition_key FROM zart.task_names WHERE task_name = 'many'),
        'scheduled', 'initial', '', ''
    FROM zart.executions WHERE execution_key >= {{first}} ORDER BY execution_key;
    INSERT INTO zart.steps (run_key, step_no, status, pending_deps)
    SELECT run_key, s, 'open', s FROM zart.runs, generate_series(0, 1) s
    WHERE run_key >= {{first}};
    INSERT INTO zart.step_inputs (run_key, step_no, correction, input)
    SELECT run_key, 1, c, '1' FROM zart.runs, generate_series(1, 2) c WHERE run_key >= {{first}};
    INSERT INTO zart.queue (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, queue_no, not_before, scheduled_at, step_name)
    SELECT run_key, 0, (SELECT lane FROM zart.lanes WHERE handler = 'a'), 1, 0, 0, 3, 600, run_key,
        now(), now(), 'a'
    FROM zart.runs WHERE completed_at IS NULL AND run_key % 2 = 0;
    INSERT INTO zart.held (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, queue_no, not_before, scheduled_at, step_name, rule_key)
    SELECT run_key, 0, (SELECT lane FROM zart.lanes WHERE handler = 'a'), 1, 0, 0, 3, 600, run_key,
        now(), now(), 'a', 1
    FROM zart.runs WHERE completed_at IS NULL AND run_key % 2 = 1;
    INSERT INTO zart.released_steps (rule_key, run_key, step_no, attempt, token_from)
    SELECT {RELEASED}, run_key, 0, 1, 0 FROM zart.runs WHERE completed_at IS NULL;
    INSERT INTO zart.leases (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, queue_no, not_before, scheduled_at, lease_token, started_at,
        lease_expires_at, lease_seconds, step_name, dispatcher_id, principal)
    SELECT -n, 0, (SELECT lane FROM zart.lanes WHERE handler = 'b'), 1, 0, 0, 3, 600, n, now(),
        now(), n, now(), now(), 30, 'b', 'd', ''
    FROM generate_series(1, {OTHERS}) n;
    INSERT INTO zart.in_doubt (run_key, step_no, attempt, execution_id, task_name, run_number,
        step_name, ended_as, swept, dispatcher_id, principal, lease_token, started_at,
        resolved_at, resolved_by)
    SELECT -n, 0, 1, 'x-' || n, 'many', 0, 'a', 'lost', true, 'd', '', n, now(),
        CASE WHEN n % 2 = 0 THEN now() END, CASE WHEN n % 2 = 0 THEN n END
    FROM generate_series({{first}}, {{first}} + {MANY - 1}) n;
    INSERT INTO zart.operations (kind, execution_id, triggered_by, reason, request_id)
    SELECT 'start', 'x-' || n, '', '', ''
    FROM generate_series({{first}}, {{first}} + {MANY - 1}) n;
    INSERT INTO zart.operations (kind, execution_id, triggered_by, reason, request_id, incident,
        rule_id, batch_id, breaker_id, principal)
    SELECT 'resume', 'x-' || n, {_NAMES}
    FROM generate_series({{first}}, {{first}} + {MANY // 4}) n;
    INSERT INTO zart.operation_attempts (status, kind, execution_id, triggered_by, reason,
        request_id, incident, rule_id, batch_id, breaker_id, principal)
    SELECT 'refused', CASE WHEN n % 2 = 0 THEN 'resume' ELSE 'retry_step' END, 'x-' || n, {_NAMES}
    FROM generate_series({{first}}, {{first}} + {MANY // 4}) n;
    INSERT INTO zart.requests (caller, rpc, request_id, fingerprint)
    SELECT '', 'Restart', n::text, ''
    FROM generate_series({{first}}, {{first}} + {MANY - 1}) n
"""
# A batch that has ended, of each step of all executions.
_BATCH = """
    INSERT INTO zart.batches (batch_id, status, operation, selection, as_of, created_by, principal,
                              reason, incident, completed_at)
    VALUES ('ba-many', 'cancelled', '{"kind": "retry_step"}',
        '{"filter": null, "execution_ids": []}', now(), '', '', '', '', now());
    INSERT INTO zart.batch_items (batch_key, item_no, execution_id, execution_key, run_key,
                                  run_number, step_no, step_name)
    SELECT batch_key, 2 * execution_key + s, execution_id, execution_key, execution_key, 0, s, 'b'
    FROM zart.batches, zart.executions, generate_series(0, 1) s
"""
_END = f"""
    DELETE FROM zart.queue;
    DELETE FROM zart.held;
    DELETE FROM zart.leases;
    UPDATE zart.released_steps SET token_until = 0;
    UPDATE zart.runs SET completed_at = now(), dead_steps = (execution_key % 5 = 0)::int,
        dead_listed = (execution_key % 5 = 0)::int,
        status = CASE WHEN execution_key % 5 = 0 THEN 'failed' ELSE 'completed' END;
    UPDATE zart.steps SET completed_at = now(), attempt = 1,
        status = CASE WHEN step_no = 1 AND run_key IN (
            SELECT run_key FROM zart.runs WHERE dead_steps > 0) THEN 'dead' ELSE 'completed' END;
    INSERT INTO zart.attempts (run_key, step_no, attempt, status, swept, dispatcher_id,
                               principal, lease_token, error, started_at, completed_at)
    SELECT run_key, 1, 1, 'failed', false, 'd', '', run_key,
        '{{"type": "Broken", "message": "no", "details": "at length"}}', now(), now()
    FROM zart.runs WHERE dead_steps > 0;
    INSERT INTO zart.error_groups (group_key, error_group_id, task_name, step_name, type, template)
    SELECT n, 'eg-' || n, 'many', 'b', 'Broken', 'no ' || n FROM generate_series(1, {GROUPS}) n;
    INSERT INTO zart.dead_steps (run_key, step_no, execution_key, group_key, listed_at, died_at)
    SELECT run_key, 1, execution_key, 1 + execution_key % {GROUPS}, listed_at, completed_at
    FROM zart.runs WHERE dead_steps > 0
"""
FINISHED, BURST = _BEGIN.format(first=1), f"{_BEGIN.format(first=MANY + 1)}; {_BATCH}"
_VACUUM = "VACUUM ANALYZE"
_TO_NOTHING = "VACUUM zart.queue; VACUUM zart.leases; VACUUM zart.held"

# What happened before the burst and, where all is as it should be, after it.
STATES = {
    "never analyzed": (FINISHED, _END),
    "analyzed while empty": ("ANALYZE", FINISHED, _END),
    "vacuumed and analyzed after the end": (FINISHED, _END, _VACUUM),
    "vacuumed twice": (FINISHED, _VACUUM, _END, _VACUUM, _VACUUM),
    "queue vacuumed to nothing": (FINISHED, "ANALYZE", _END, _TO_NOTHING),
    "analyzed after the end": (FINISHED, _END, "ANALYZE"),
    "analyzed while full": (FINISHED, _VACUUM, _END),
    "analyzed after the burst": (FINISHED, _END),
}
AFTERWARDS = {"analyzed after the burst": (_VACUUM,)}


@contextlib.asynccontextmanager
async def made(zart_postgres: str, state: str) -> AsyncIterator[str]:
    """Return the URL of a database in a state, without the burst; it is dropped afterwards."""
    name = f"hot_{next(_numbers)}"
    other = database_url(zart_postgres, "zart")
    await run(other, f"CREATE DATABASE {name} TEMPLATE template STRATEGY wal_log")
    url = database_url(zart_postgres, name)
    try:
        await _register(url)
        await run(url, _NEVER_BY_ITSELF, *STATES[state])
        yield url
    finally:
        await run(other, f"DROP DATABASE {name} WITH (FORCE)")


async def _register(url: str) -> None:
    db = await patient_database(url, pool_size=1)
    steps = (StepSpec("a", (), "a"), StepSpec("b", ("a",), "b"))
    fan = (StepSpec("k", (), "k"), StepSpec("l", (), "l"), StepSpec("m", ("k", "l"), "m"))
    pay = (
        StepSpec("p", (), "p", if_in_doubt=IfInDoubt.STOP),
        StepSpec("q", ("p",), "q"),
    )
    try:
        async with db.transaction() as tx:
            await register_task(tx, RegisterTask("many", WrittenGraph.of(steps)), Caller())
            await register_task(tx, RegisterTask("fan", WrittenGraph.of(fan)), Caller())
            await register_task(tx, RegisterTask("pay", WrittenGraph.of(pay)), Caller())
    finally:
        await db.close()


async def run(url: str, *scripts: str) -> None:
    """Run statements, each by itself, as VACUUM must be."""
    connection = await asyncpg.connect(url)
    try:
        for script in scripts:
            for statement in [script] if "$$" in script else script.split(";"):
                await connection.execute(statement)
    finally:
        await connection.close()
