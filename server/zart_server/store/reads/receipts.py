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


# The next steps by key, whatever they are, so that a piece is no larger than it is meant to be;
# of these what the rule's scope matches in runs that lived about the window.
_COUNT = Statement(
    f"""
    WITH next AS MATERIALIZED (
        SELECT run_key, step_no FROM zart.steps
        WHERE {_READ} AND run_key <= :last_run::bigint
        ORDER BY run_key, step_no OFFSET :steps::bigint - 1 LIMIT 1
    ), upto AS MATERIALIZED (
        SELECT COALESCE((SELECT run_key FROM next), :last_run) AS run_key,
            COALESCE((SELECT step_no FROM next), {_LAST_STEP}) AS step_no
    ), lived AS MATERIALIZED (
        SELECT run_key, definition_key FROM zart.runs
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
    )
    SELECT (SELECT run_key FROM next) AS run_key, (SELECT step_no FROM next) AS step_no,
        count(*) AS checked, count(*) FILTER (WHERE lease_token <= :token_from::bigint
                AND (completed_at IS NULL OR completed_at > :started_at::timestamptz)) AS in_flight,
        array_agg(lease_token) FILTER (
            WHERE lease_token > :token_from AND lease_token <= :token_until::bigint) AS inside,
        max(lease_token) FILTER (WHERE lease_token <= :token_from) AS before,
        min(lease_token) FILTER (WHERE lease_token > :token_until) AS after
    FROM ({_attempts("", "(SELECT run_key FROM upto), (SELECT step_no FROM upto)")}) a
    JOIN lived l USING (run_key)
    WHERE ((definition_key, step_no) IN (SELECT definition_key, step_no FROM matching)) IS TRUE
    """
)
_AT_LEASE = "x.token_from < a.lease_token AND COALESCE(x.token_until >= a.lease_token, true)"
_WANTED = "(lease_token IN (SELECT unnest(:tokens::bigint[]))) IS TRUE"
_UPTO = ":upto_run::bigint, :upto_step::integer"
# What was so when they were leased.
_JUDGE = Statement(
    f"""
    SELECT count(*) FILTER (WHERE is_exempt) AS exempt,
        count(*) FILTER (WHERE is_released AND NOT is_exempt) AS released,
        array_agg(lease_token) FILTER (WHERE NOT is_exempt AND NOT is_released) AS others
    FROM (
        SELECT lease_token, EXISTS (
            SELECT FROM zart.pause_exemptions x
            WHERE x.rule_key = :rule_key::bigint AND x.execution_id = (
                SELECT execution_id FROM zart.executions WHERE execution_key = (
                    SELECT execution_key FROM zart.runs WHERE runs.run_key = a.run_key))
              AND {_AT_LEASE} OFFSET 0) AS is_exempt,
        EXISTS (
            SELECT FROM zart.released_steps x
            WHERE x.run_key = a.run_key AND x.step_no = a.step_no AND x.attempt = a.attempt
              AND x.rule_key = :rule_key AND {_AT_LEASE} OFFSET 0) AS is_released
        FROM ({_attempts(", attempt", _UPTO)}) a
        WHERE {_WANTED}) judged
    """
)
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
    count = await tx.fetchrow(
        _COUNT.text,
        *_COUNT.arguments(
            **times_about(window),
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
    if count is None:
        raise LookupError("an aggregate has a row")
    is_last = count["run_key"] is None
    upto = (last_run, _LAST_STEP) if is_last else (count["run_key"], count["step_no"])
    exempt, released, others = 0, 0, None
    if count["inside"]:
        exempt, released, others = await tx.fetchrow(
            _JUDGE.text,
            *_JUDGE.arguments(
                **_range(after, upto), rule_key=window.rule_key, tokens=count["inside"]
            ),
        ) or (0, 0, None)
    first = heapq.nsmallest(MAX_VIOLATIONS + 1, others or ())
    return ReceiptPiece(
        upto,
        is_last,
        count["checked"],
        count["in_flight"],
        exempt,
        released,
        tuple(await name_attempts(tx, after, upto, first)) if first else (),
        _seen(count["before"], after, upto),
        None if window.ended_at is None else _seen(count["after"], after, upto),
    )


async def name_attempts(
    tx: Tx, after: StepKey, upto: StepKey, tokens: Sequence[int]
) -> list[RuleAttempt]:
    """Return attempts by their tokens, in order, given the steps that they are of.

    The transaction begins with ``HASHED``.
    """
    rows = await tx.fetch(_NAME.text, *_NAME.arguments(**_range(after, upto), tokens=tokens))
    return [_attempt(row) for row in rows]


def _range(after: StepKey, upto: StepKey) -> dict[str, object]:
    return {
        "after_run": after[0],
        "after_step": after[1],
        "upto_run": upto[0],
        "upto_step": upto[1],
    }


def _seen(token: int | None, after: StepKey, upto: StepKey) -> SeenLease | None:
    return None if token is None else SeenLease(token, after, upto)


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
