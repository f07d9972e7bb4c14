"""Ends leases: the runs are locked, the leases deleted, the attempts recorded, in one statement.

The statement's snapshot is older than the locks it takes. That does no harm: any other statement
that ends a lease locks its run and deletes it, and a lease that is gone by then is not ended here.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from zart_server.domain.model import AttemptStatus, StepError
from zart_server.store.arrays import column, numbers, words
from zart_server.store.connection import Autocommit, Tx
from zart_server.store.doubt.inserting import doubted
from zart_server.store.enqueue import Leases, ReadyRows, enqueue_parts, leases_of
from zart_server.store.leases import NAMED, LeaseKey, columns_of, error_to_json
from zart_server.store.lookups import IF_LOCKED, UNINDEXED_STATUS, if_locked, only
from zart_server.store.patience import MOMENT, at_most_from_here
from zart_server.store.pausing.rules import SHARED_EPOCH
from zart_server.store.runs import LOCKING, LockedRun
from zart_server.store.statement import Statement


class Verdict(NamedTuple):
    """How an attempt ended, as its dispatcher reports it or the sweep judges.

    ``in_doubt``: it may have had its effect, and its step is not to be run again. ``by_server``: no
    dispatcher reported it, so that none is told of it as of a report of its own.
    """

    lease: LeaseKey
    status: AttemptStatus
    result_json: str | None = None
    retryable: bool = True
    error: StepError | None = None
    in_doubt: bool = False
    by_server: bool = False


class EndedLease(NamedTuple):
    """A lease that ended. ``final`` is 'completed' or 'dead', None: the step is queued again.

    ``counted`` includes this attempt where it counts. ``verdict`` is the number of the verdict that
    ended it, from 1. ``not_before`` and ``queue_no`` are the place that it had in its lane, None
    unless it was released; the number is 0 where it was leased without having been queued.
    """

    run_key: int
    step_no: int
    lease_token: int
    principal: str
    attempt: int
    counted: int
    backoff_base: int
    max_attempts: int
    final: str | None
    correction: int
    seconds: float  # since it was leased
    verdict: int
    not_before: datetime | None
    queue_no: int | None


# {only_if} says whether anything is to be done. IS TRUE keeps what is before it from becoming
# a join: it is looked up in a hash table.
_ENDED = f"""
    verdicts AS MATERIALIZED (
        SELECT u.*, (:principals::text[])[of_principal] AS principal
        FROM unnest({NAMED},
            :statuses::text::text[], :retryable::text::boolean[], :results::text[], :errors::text[])
        WITH ORDINALITY
            u(run_key, step_no, lease_token, of_principal, status, retryable, result, error, n)
        WHERE (run_key IN (SELECT run_key FROM locked)) IS TRUE AND {{only_if}}
    ), ended AS (
        DELETE FROM zart.leases l USING verdicts t
        WHERE l.run_key = {only("t.run_key")} AND l.step_no = t.step_no
          AND l.lease_token = t.lease_token AND l.principal = t.principal
          AND (NOT :swept OR l.lease_expires_at <= statement_timestamp())
        RETURNING l.*, t.n, t.status, t.retryable, t.result::json AS result,
            t.error::json AS error,
            EXTRACT(epoch FROM statement_timestamp() - l.started_at)::float8 AS seconds,
            l.counted + CASE t.status WHEN 'released' THEN 0 ELSE 1 END AS now_counted,
            CASE WHEN t.status = 'completed' THEN 'completed'
                 WHEN t.status <> 'released'
                      AND (NOT t.retryable OR l.counted + 1 >= l.max_attempts)
                 THEN 'dead' END AS final
    ), attempts AS (
        INSERT INTO zart.attempts (run_key, step_no, attempt, status, swept, dispatcher_id,
                                   principal, lease_token, error, started_at, completed_at)
        SELECT run_key, step_no, attempt, status,
               :swept OR (n IN (SELECT unnest(:by_server::text::bigint[]))) IS TRUE,
               dispatcher_id, principal, lease_token, error, started_at, statement_timestamp()
        FROM ended WHERE status <> 'completed'
    ), steps AS (
        UPDATE zart.steps s SET status = e.final, attempt = e.attempt,
            counted = e.now_counted, max_attempts = e.max_attempts,
            retryable = e.retryable AND e.final = 'dead', result = e.result, error = e.error,
            scheduled_at = e.scheduled_at, started_at = e.started_at,
            completed_at = statement_timestamp(), lease_token = e.lease_token,
            dispatcher_id = e.dispatcher_id, principal = e.principal
        FROM ended e
        WHERE e.final IS NOT NULL AND s.run_key = {only("e.run_key")} AND s.step_no = e.step_no
          AND s.status = 'open'
    )
"""


def _arguments(verdicts: Sequence[Verdict], *, swept: bool) -> dict[str, object]:
    leases, statuses, results, retryable, errors, _, by_server = zip(*verdicts, strict=True)
    return {
        **columns_of(leases),
        "statuses": words(statuses),
        "retryable": words("t" if yes else "f" for yes in retryable),
        "results": results,
        "errors": column(map(error_to_json, errors)),
        "locked": numbers(sorted({lease.run_key for lease in leases})),
        "swept": swept,
        "by_server": numbers(n for n, yes in enumerate(by_server, 1) if yes),
    }


def _end(skip: str, more: str = "") -> str:
    return f"""
        WITH locked AS MATERIALIZED ({LOCKING} {skip}),
        {_ENDED.format(only_if="true")} {more}
        SELECT run_key, NULL::integer, NULL::bigint, status, dead_steps, by_hand::integer,
               NULL::integer, NULL::integer, NULL::text, NULL::integer, NULL::float8, NULL::bigint,
               NULL::timestamptz, NULL::bigint
        FROM locked
        UNION ALL
        SELECT run_key, step_no, lease_token, principal, attempt, now_counted, backoff_base,
               max_attempts, final, correction, seconds, n,
               CASE status WHEN 'released' THEN not_before END,
               CASE status WHEN 'released' THEN queue_no END FROM ended
    """


_DOUBTED = doubted("""
    SELECT *, status AS ended_as, :swept AS swept FROM ended
    WHERE (n IN (SELECT unnest(:doubts::text::bigint[]))) IS TRUE
""")
_END = {
    way: Statement(_end(skip), locks=(f"runs, {way}", "leases", "steps"))
    for way, skip in IF_LOCKED.items()
}
# The same for batches that have attempts in doubt: no other batch pays for these.
_END_IN_DOUBT = {
    way: Statement(
        _end(skip, f", in_doubt AS ({_DOUBTED})"), locks=(f"runs, {way}", "leases", "steps")
    )
    for way, skip in IF_LOCKED.items()
}


async def end_leases(
    tx: Tx, verdicts: Sequence[Verdict], *, wait: bool, swept: bool
) -> tuple[dict[int, LockedRun], list[EndedLease]]:
    """End the leases that are current: delete them, record the attempts, finish their steps.

    Locks their runs first; those that another transaction has locked are waited for with ``wait``,
    else left out. Return the runs that this transaction has locked now, and the ended leases. A
    completed attempt becomes part of its step's row; one in doubt gets a row of its own, too. With
    ``swept`` leases that were extended meanwhile stay. No two verdicts may name the same lease.
    """
    values = _arguments(verdicts, swept=swept)
    doubts = [n for n, verdict in enumerate(verdicts, 1) if verdict.in_doubt]
    if doubts:
        statement = _END_IN_DOUBT[if_locked(wait=wait)]
        values["doubts"] = numbers(doubts)
    else:
        statement = _END[if_locked(wait=wait)]
    rows = await tx.fetch(statement.text, *statement.arguments(**values))
    locked = {
        row[0]: LockedRun(row[0], row[4], row[3], bool(row[5])) for row in rows if row[1] is None
    }
    ended = [EndedLease(*row) for row in rows if row[1] is not None]
    tx.changes.changed(item.run_key for item in ended)
    return locked, ended


class EndedAndEnqueued(NamedTuple):
    """The leases that ended, by run key and step number, and the leases of the ready steps.

    Of those that ended, the seconds since they began.
    """

    ended: dict[tuple[int, int], float]
    leases: Leases


_END_AND_ENQUEUE = Statement(
    f"""
    WITH locked AS MATERIALIZED ({LOCKING} SKIP LOCKED), now AS MATERIALIZED (
        SELECT {SHARED_EPOCH} AS epoch, l.n, l.are_running FROM (
            SELECT count(*) AS n, bool_and(status = 'running' AND NOT by_hand) AS are_running
            FROM locked) l
    ), fine AS MATERIALIZED (
        SELECT are_running AND n = cardinality(:locked::text::bigint[]) AND epoch = :epoch
            -- From here on it holds the pause lock, and a Pause waits for it.
            AND {at_most_from_here(MOMENT)} IS NOT NULL AS yes
        FROM now
    ),
    {_ENDED.format(only_if="(SELECT yes FROM fine)")},
    finished AS (
        UPDATE zart.runs SET status = 'completed', completed_at = statement_timestamp()
        WHERE {UNINDEXED_STATUS} = 'running' AND run_key = ANY(ARRAY(
            SELECT run_key FROM ended
            WHERE (n IN (SELECT unnest(:lasts::text::bigint[]))) IS TRUE))
        RETURNING run_key
    ),
    {enqueue_parts("(after IN (SELECT n FROM ended)) IS TRUE")}
    SELECT yes, NULL::bigint, NULL::integer, NULL::bigint, NULL::timestamptz, NULL::float8 FROM fine
    UNION ALL
    SELECT true, run_key, step_no, NULL, NULL, seconds FROM ended
    UNION ALL
    SELECT true, run_key, NULL, NULL, NULL, NULL FROM finished
    UNION ALL
    SELECT true, *, NULL FROM leased
    """,
    locks=("runs, passing over locked rows", "pause lock, shared", "leases", "steps"),
)


async def end_and_enqueue(
    connection: Autocommit,
    verdicts: Sequence[Verdict],
    lasts: Sequence[int],
    ready: ReadyRows,
) -> EndedAndEnqueued | None:
    """End leases, complete runs and enqueue ready steps by one statement, without a transaction.

    ``lasts`` are the indexes, from 1, of the verdicts that complete their run; ``ready.after`` has
    the index of the verdict that made each step ready. A lease that is not current completes no
    run and makes no step ready. Return None, having done nothing, unless all the runs are running
    and no step of them was ended by hand, no other transaction has locked one, and the rules have
    not changed since the steps were judged.
    Locks the runs, then the pause lock, then the leases and the steps. Those it waits for but a
    moment: raises StoreConflict, having done nothing, where one is locked without its run.
    """
    rows = await connection.fetch(
        _END_AND_ENQUEUE.text,
        *_END_AND_ENQUEUE.arguments(
            **_arguments(verdicts, swept=False),
            **ready.arguments(),
            lasts=numbers(lasts),
            epoch=ready.judgement.epoch,
        ),
    )
    if not all(row[0] for row in rows):
        return None
    ended = {(row[1], row[2]): row[5] for row in rows if row[5] is not None}
    connection.changes.changed(run_key for run_key, _ in ended)
    connection.changes.changed(
        (row[1] for row in rows if row[1] is not None and row[2] is None), at_once=True
    )
    return EndedAndEnqueued(ended, leases_of(row[1:] for row in rows))
