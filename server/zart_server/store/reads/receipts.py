"""Judges the attempts of a pause rule's receipt, in pieces of so many steps."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import asyncpg

from zart_server.domain.receipts import (
    MAX_VIOLATIONS,
    ReceiptPiece,
    RuleAttempt,
    SeenLease,
    StepKey,
    Window,
)
from zart_server.store.connection import Tx
from zart_server.store.reads.receipt_windows import LIVED, times_about
from zart_server.store.statement import Statement

# With the thousands of rows of a piece on either side, a loop over both would take seconds.
HASHED = "SET LOCAL enable_hashjoin = on; SET LOCAL enable_nestloop = off;"
_READ = "(run_key, step_no) > (:after_run::bigint, :after_step::integer)"
_LAST_STEP = 2**31 - 1


def _attempts(columns: str, upto: str) -> str:
    """Return the query of all attempts of the steps up to one, as they are in this snapshot.

    The completed attempt is part of its step, which in a rerun may only refer to another run's.
    What an operator ended was not leased, and has no token.
    """
    where = f"{_READ} AND (run_key, step_no) <= ({upto})"
    return f"""
        SELECT run_key, step_no, lease_token, completed_at{columns} FROM zart.steps
        WHERE {where}
          AND status = 'completed' AND source_run_key IS NULL AND lease_token IS NOT NULL
        UNION ALL
        SELECT run_key, step_no, lease_token, completed_at{columns} FROM zart.attempts
        WHERE {where} AND lease_token IS NOT NULL
        UNION ALL
        SELECT run_key, step_no, lease_token, NULL{columns} FROM zart.leases WHERE {where}
    """


_ATTEMPT = "run_key, step_no, attempt"
_AT_LEASE = "x.token_from < a.lease_token AND COALESCE(x.token_until >= a.lease_token, true)"
# The next steps by key, whatever they are, so that a piece is no larger than it is meant to be; of
# these what the rule's scope matches in runs that lived about the window; of that, what was leased
# in it, and was exempt or released then. Each row is read once. Ids of executions are looked up
# only where the rule exempts anybody.
_JUDGE = Statement(
    f"""
    WITH next AS MATERIALIZED (
        SELECT run_key, step_no FROM zart.steps
        WHERE {_READ} AND run_key <= :last_run::bigint
        ORDER BY run_key, step_no OFFSET :steps::bigint - 1 LIMIT 1
    ), upto AS MATERIALIZED (
        SELECT COALESCE((SELECT run_key FROM next), :last_run) AS run_key,
            COALESCE((SELECT step_no FROM next), {_LAST_STEP}) AS step_no
    ), lived AS MATERIALIZED (
        SELECT run_key, execution_key, definition_key FROM zart.runs
        WHERE run_key >= :after_run AND run_key <= (SELECT run_key FROM upto) AND {LIVED}
          AND (:task_name::text IS NULL OR listed_task = :task_name)
    ), matching AS MATERIALIZED (
        SELECT definition_key, (n - 1)::integer AS step_no
        FROM (SELECT DISTINCT definition_key FROM lived) l
        CROSS JOIN LATERAL (
            SELECT step_names FROM zart.definitions d
            WHERE d.definition_key = l.definition_key OFFSET 0) d
        CROSS JOIN LATERAL unnest(step_names) WITH ORDINALITY s(step_name, n)
        WHERE :step_regex::text IS NULL OR step_name ~ :step_regex
    ), seen AS MATERIALIZED (
        SELECT {_ATTEMPT}, lease_token, completed_at, execution_key
        FROM ({_attempts(", attempt", "(SELECT run_key FROM upto), (SELECT step_no FROM upto)")}) a
        JOIN lived l USING (run_key)
        WHERE ((definition_key, step_no) IN (SELECT definition_key, step_no FROM matching)) IS TRUE
    ), inside AS MATERIALIZED (
        SELECT {_ATTEMPT}, lease_token, execution_key FROM seen
        WHERE lease_token > :token_from::bigint AND lease_token <= :token_until::bigint
    ), exemptions AS MATERIALIZED (
        SELECT execution_key, x.token_from, x.token_until
        FROM (SELECT DISTINCT execution_key FROM inside) i
        CROSS JOIN LATERAL (
            SELECT execution_id FROM zart.executions e
            WHERE e.execution_key = i.execution_key OFFSET 0) e
        CROSS JOIN LATERAL (
            SELECT token_from, token_until FROM zart.pause_exemptions p
            WHERE p.rule_key = :rule_key AND p.execution_id = e.execution_id OFFSET 0) x
        WHERE (SELECT EXISTS (
            SELECT FROM zart.pause_exemptions WHERE rule_key = :rule_key::bigint))
    ), judged AS MATERIALIZED (
        SELECT lease_token, e.run_key IS NOT NULL AS is_exempt, x.run_key IS NOT NULL AS is_released
        FROM inside a
        LEFT JOIN (
            SELECT DISTINCT {_ATTEMPT} FROM inside a JOIN exemptions x USING (execution_key)
            WHERE {_AT_LEASE}) e USING ({_ATTEMPT})
        LEFT JOIN zart.released_steps x
            ON (x.run_key, x.step_no, x.attempt) = (a.run_key, a.step_no, a.attempt)
            AND x.rule_key = :rule_key AND x.run_key >= :after_run
            AND x.run_key <= (SELECT run_key FROM upto) AND {_AT_LEASE}
    )
    SELECT (SELECT run_key FROM next) AS run_key, (SELECT step_no FROM next) AS step_no,
        checked, in_flight, exempt, released, others, before, after,
        (SELECT ARRAY[run_key, step_no] FROM seen
            WHERE lease_token = before LIMIT 1) AS before_step,
        (SELECT ARRAY[run_key, step_no] FROM seen
            WHERE lease_token = after LIMIT 1) AS after_step
    FROM (
        SELECT count(*) AS checked, count(*) FILTER (WHERE lease_token <= :token_from
                AND (completed_at IS NULL OR completed_at > :started_at::timestamptz)) AS in_flight,
            max(lease_token) FILTER (WHERE lease_token <= :token_from) AS before,
            min(lease_token) FILTER (WHERE lease_token > :token_until) AS after
        FROM seen) s
    CROSS JOIN (
        SELECT count(*) FILTER (WHERE is_exempt) AS exempt,
            count(*) FILTER (WHERE is_released AND NOT is_exempt) AS released,
            array_agg(lease_token) FILTER (WHERE NOT is_exempt AND NOT is_released) AS others
        FROM judged) j
    """
)
_UPTO = ":upto_run::bigint, :upto_step::integer"
_WANTED = "(lease_token IN (SELECT unnest(:tokens::bigint[]))) IS TRUE"
_NAME = Statement(
    f"""
    SELECT lease_token, attempt, dispatcher_id, started_at, completed_at, (
            SELECT execution_id FROM zart.executions WHERE execution_key = r.execution_key
        ) AS execution_id, r.run_number, (
            SELECT step_names[a.step_no + 1] FROM zart.definitions
            WHERE definition_key = r.definition_key) AS step_name
    FROM ({_attempts(", attempt, dispatcher_id, started_at", _UPTO)}) a
    CROSS JOIN LATERAL (
        SELECT execution_key, run_number, definition_key FROM zart.runs
        WHERE runs.run_key = a.run_key OFFSET 0) r
    WHERE {_WANTED} ORDER BY lease_token
    """
)


async def judge_steps(
    tx: Tx, window: Window, after: StepKey, last_run: int, steps: int
) -> ReceiptPiece:
    """Judge the attempts of the next steps by key, at most so many, up to a run.

    The transaction begins with ``HASHED``.
    """
    found = await tx.fetchrow(
        _JUDGE.text,
        *_JUDGE.arguments(
            **times_about(window),
            rule_key=window.rule_key,
            task_name=window.task_name,
            step_regex=window.step_regex,
            token_from=window.token_from,
            token_until=window.token_until,
            started_at=window.started_at,
            after_run=after[0],
            after_step=after[1],
            last_run=last_run,
            steps=steps,
        ),
    )
    if found is None:
        raise LookupError("an aggregate has a row")
    is_last = found["run_key"] is None
    upto = (last_run, _LAST_STEP) if is_last else (found["run_key"], found["step_no"])
    first = heapq.nsmallest(MAX_VIOLATIONS + 1, found["others"] or ())
    return ReceiptPiece(
        upto,
        is_last,
        found["checked"],
        found["in_flight"],
        found["exempt"],
        found["released"],
        tuple(await name_attempts(tx, after, upto, first)) if first else (),
        _seen(found["before"], found["before_step"]),
        None if window.ended_at is None else _seen(found["after"], found["after_step"]),
    )


async def name_seen(tx: Tx, seen: SeenLease | None) -> RuleAttempt | None:
    """Return the attempt that was seen; None if none was, or if it is gone."""
    if seen is None:
        return None
    run_key, step_no = seen.step
    before = run_key, step_no - 1
    return next(iter(await name_attempts(tx, before, seen.step, [seen.lease_token])), None)


async def name_attempts(
    tx: Tx, after: StepKey, upto: StepKey, tokens: Sequence[int]
) -> list[RuleAttempt]:
    """Return attempts by their tokens, in order, given the steps that they are of.

    The transaction begins with ``HASHED``.
    """
    rows = await tx.fetch(
        _NAME.text,
        *_NAME.arguments(
            after_run=after[0],
            after_step=after[1],
            upto_run=upto[0],
            upto_step=upto[1],
            tokens=tokens,
        ),
    )
    return [_attempt(row) for row in rows]


def _seen(token: int | None, step: Sequence[int] | None) -> SeenLease | None:
    if token is None or step is None:
        return None
    run_key, step_no = step
    return SeenLease(token, (run_key, step_no))


def _attempt(row: asyncpg.Record) -> RuleAttempt:
    return RuleAttempt(
        row["lease_token"],
        row["execution_id"],
        row["run_number"],
        row["step_name"],
        row["attempt"],
        row["dispatcher_id"],
        row["started_at"],
        row["completed_at"],
    )
