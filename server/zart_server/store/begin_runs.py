"""Runs that begin from scratch: inserts all their steps and enqueues the roots."""

from __future__ import annotations

from collections.abc import Sequence

from zart_server.domain.rule_set import Judgement
from zart_server.store.arrays import numbers
from zart_server.store.connection import Tx
from zart_server.store.enqueue import Leases, enqueued, leases_of
from zart_server.store.lessees import Lessees, lessee_columns
from zart_server.store.pausing.rules import SHARED_EPOCH
from zart_server.store.statement import Statement


def insert_steps_of(new: str) -> str:
    """Return the statement that inserts all steps of new runs, which have a ``definition_key``."""
    return f"""
        INSERT INTO zart.steps (run_key, step_no, status, pending_deps)
        SELECT run_key, c.no - 1, 'open', c.deps
        FROM (SELECT * FROM {new}) new CROSS JOIN LATERAL (SELECT dep_counts FROM zart.definitions
            WHERE definition_key = new.definition_key OFFSET 0) d
        CROSS JOIN LATERAL unnest(dep_counts) WITH ORDINALITY c(deps, no)
    """


def beginning(new: str, only_if: str = "") -> str:
    """Return the parts of a WITH that enqueue the roots of new runs, the last of them ``leased``.

    ``new`` has the runs in their order ``n``. The parameters are those of ``roots``, of all
    the runs: with ``only_if`` only roots of which it is true are enqueued.
    """
    only = f" WHERE ({only_if}) IS TRUE" if only_if else ""
    return f"""
        roots AS MATERIALIZED (
            SELECT run_key, s.no - 1 AS step_no, s.lane, s.step_name, s.max_attempts,
                s.timeout_seconds, row_number() OVER (ORDER BY n, s.no) AS n
            FROM {new} new CROSS JOIN LATERAL (SELECT * FROM zart.definitions
                WHERE definition_key = new.definition_key OFFSET 0) d
            CROSS JOIN LATERAL unnest(
                d.dep_counts, d.lanes, d.step_names, d.max_attempts, d.timeout_seconds)
                WITH ORDINALITY s(deps, lane, step_name, max_attempts, timeout_seconds, no)
            WHERE s.deps = 0
        ), ready AS MATERIALIZED (
            SELECT *, 1 AS attempt, 0 AS counted, 0 AS backoff_base, 0 AS delay, 0 AS correction,
                COALESCE((:rule_keys::bigint[])[n], 0) AS rule_key,
                COALESCE((:lessees::text::integer[])[n], 0) AS lessee
            FROM roots{only}
        ), {enqueued()}
    """


def roots(judgement: Judgement, lessees: Lessees) -> dict[str, object]:
    """Return the parameters of ``beginning``, root for root of run after run.

    ``judgement`` has the rule that withholds each root, ``lessees`` the call that leases it. A root
    without a rule or lessee is queued.
    """
    return {
        "epoch": judgement.epoch,
        "rule_keys": judgement.rules,
        "lessees": numbers(lessees.indexes if any(lessees.indexes) else ()),
        **lessee_columns(lessees.values.values),
    }


async def insert_steps(tx: Tx, runs: Sequence[tuple[int, int]]) -> None:
    """Insert all steps of new runs, given as (run key, definition key), from their graphs."""
    await tx.execute(
        insert_steps_of(
            "unnest($1::text::bigint[], $2::text::bigint[]) new(run_key, definition_key)"
        ),
        numbers(run_key for run_key, _ in runs),
        numbers(definition_key for _, definition_key in runs),
    )


_INSERT, _INSERT_WITH_STEPS = (
    Statement(
        f"""
        WITH now AS MATERIALIZED (SELECT {SHARED_EPOCH} AS epoch), new AS MATERIALIZED (
            SELECT u.* FROM unnest(:run_keys::text::bigint[], :definition_keys::text::bigint[])
                WITH ORDINALITY u(run_key, definition_key, n)
            WHERE :epoch = (SELECT epoch FROM now)
        ){steps}, {beginning("new")}, started AS (
            UPDATE zart.runs SET status = 'running', started_at = statement_timestamp()
            WHERE run_key = ANY(ARRAY(SELECT run_key FROM leased))
        )
        SELECT :epoch = epoch, leased.* FROM now LEFT JOIN leased ON true
        """,
        locks=("pause lock, shared", "runs, new ones that no other transaction sees"),
    )
    for steps in ("", f", steps AS ({insert_steps_of('new')})")
)


async def insert_new_runs(
    tx: Tx,
    runs: Sequence[tuple[int, int]],
    judgement: Judgement,
    lessees: Lessees,
    *,
    with_steps: bool,
) -> Leases | None:
    """Enqueue the roots of new runs, (run key, definition key), and insert all their steps.

    ``judgement`` and ``lessees`` are as ``roots`` takes them. Return the leases; None,
    having done nothing, if the rules have changed since. Takes the pause lock, shared, before it
    reads the epoch.
    """
    statement = _INSERT_WITH_STEPS if with_steps else _INSERT
    rows = await tx.fetch(
        statement.text,
        *statement.arguments(
            run_keys=numbers(run_key for run_key, _ in runs),
            definition_keys=numbers(definition_key for _, definition_key in runs),
            **roots(judgement, lessees),
        ),
    )
    if not rows[0][0]:
        return None
    return leases_of(row[1:] for row in rows)
