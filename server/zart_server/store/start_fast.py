"""Starts executions with their answers in one statement, which is its own transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from zart_server.domain.rule_set import Judgement
from zart_server.store.arrays import column
from zart_server.store.begin_runs import beginning, insert_steps_of, roots
from zart_server.store.connection import Autocommit
from zart_server.store.enqueue import Leases, leases_of
from zart_server.store.executions import OF_KINDS, STORING, NewExecution, Started, kinds_of
from zart_server.store.lessees import Lessees
from zart_server.store.pausing.rules import EXPECT_EPOCH
from zart_server.store.requests import Answered
from zart_server.store.statement import Statement

# What waits for others comes in the order in which everybody waits: the ids, the pause lock, the
# requests. By then rows were inserted, so a statement that waited in vain is refused altogether.
# The roots are numbered as they were judged: with those of executions that are left out.
_START = Statement(
    f"""
    WITH asked AS MATERIALIZED (
        SELECT u.*, {OF_KINDS},
            nextval('zart.executions_execution_key_seq') AS execution_key,
            nextval('zart.runs_run_key_seq') AS run_key
        FROM unnest(:execution_ids::text[], :kinds::text::integer[], :payloads::text[],
                :traceparents::text[], :are_leased::boolean[], :callers::text[], :rpcs::text[],
                :answered_ids::text[], :fingerprints::bytea[], :responses::bytea[])
            WITH ORDINALITY u(execution_id, kind, payload, traceparent, is_leased, caller, rpc,
                answered_id, fingerprint, response, n)
    ), new AS MATERIALIZED (
        SELECT * FROM asked
        WHERE definition_key = (SELECT t.definition_key FROM zart.task_names t
                                WHERE t.task_name = asked.task_name)
            AND (EXISTS (SELECT FROM zart.requests q WHERE q.caller = asked.caller
                         AND q.rpc = asked.rpc AND q.request_id = asked.answered_id
                         OFFSET 0)) IS FALSE
    ), {STORING}, begun AS MATERIALIZED (
        SELECT * FROM started WHERE {EXPECT_EPOCH.format(epoch=":epoch")}
    ), steps AS ({insert_steps_of("begun")}),
    {beginning("asked", "run_key IN (SELECT run_key FROM begun)")}, answered AS (
        INSERT INTO zart.requests (caller, rpc, request_id, fingerprint, response, is_complete)
        SELECT caller, rpc, answered_id, fingerprint, response, false
        FROM begun
        WHERE answered_id IS NOT NULL
    )
    SELECT execution_id, execution_key, begun.run_key, statement_timestamp(), step_no, lease_token,
        lease_expires_at
    FROM begun LEFT JOIN leased ON leased.run_key = begun.run_key
    """,
    locks=("keys of executions", "pause lock, shared", "keys of requests"),
)


class StartedFast(NamedTuple):
    """The executions that were started, by id, and the leases of their first steps."""

    started: dict[str, Started]
    leases: Leases


async def start_fast(
    connection: Autocommit,
    new: Sequence[NewExecution],
    judgement: Judgement,
    lessees: Lessees,
    are_leased: Sequence[bool],
    answers: Sequence[Answered | None],
) -> StartedFast:
    """Insert executions, enqueue their roots and store the incomplete answers to their requests.

    They come in the order of their ids, none twice; ``judgement`` and ``lessees`` are as ``roots``
    takes them, and ``are_leased`` tells which executions have a root with a lessee. Left out, with
    nothing done, is one whose id is taken, whose task has another definition by now, or whose
    request was answered before. Raises StoreConflict, having done nothing at all, if one of these,
    or a change of the rules, happens meanwhile.
    """
    rows = await connection.fetch(
        _START.text,
        *_START.arguments(
            **kinds_of(new),
            are_leased=are_leased,
            callers=column(None if a is None else a.key.caller for a in answers),
            rpcs=column(None if a is None else a.key.rpc for a in answers),
            answered_ids=column(None if a is None else a.key.request_id for a in answers),
            fingerprints=[None if a is None else a.fingerprint for a in answers],
            responses=[None if a is None else a.response for a in answers],
            **roots(judgement, lessees),
        ),
    )
    started = {row[0]: Started(*row[:4]) for row in rows}
    return StartedFast(started, leases_of((row[2], *row[4:]) for row in rows))
