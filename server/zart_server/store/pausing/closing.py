"""Released attempts that were leased: their rows need not stand any more.

Whoever takes back what a rule let go goes through all that stands of it, while nobody can lease.
"""

from __future__ import annotations

from collections.abc import Sequence

from zart_server.store.arrays import numbers
from zart_server.store.connection import Connection, Tx
from zart_server.store.pausing.released import standing
from zart_server.store.pausing.settling import ReleasedAt
from zart_server.store.statement import Statement

_LEASED = Statement(
    f"""
    SELECT run_key, step_no, attempt FROM zart.released_steps s
    WHERE rule_key = :rule_key AND {standing("s")} AND NOT EXISTS (
        SELECT FROM zart.queue q WHERE q.run_key = s.run_key AND q.step_no = s.step_no
          AND q.attempt = s.attempt OFFSET 0)
      AND NOT EXISTS (
        SELECT FROM zart.held h WHERE h.run_key = s.run_key AND h.step_no = s.step_no
          AND h.attempt = s.attempt OFFSET 0)
    LIMIT :limit
    """
)


async def find_leased(connection: Connection, rule_key: int, limit: int) -> list[ReleasedAt]:
    """Return up to ``limit`` released attempts of a rule that stand and were leased.

    Those that are neither queued nor paused were, and are never again. Locks nothing.
    """
    rows = await connection.fetch(_LEASED.text, *_LEASED.arguments(rule_key=rule_key, limit=limit))
    return [ReleasedAt(*row) for row in rows]


_CLOSE = Statement(
    """
    UPDATE zart.released_steps s SET token_until = t.token
    FROM (SELECT zart.last_token() AS token OFFSET 0) t
    WHERE s.token_until IS NULL AND s.ctid = ANY(ARRAY(
        SELECT m.tid FROM unnest(:run_keys::text::bigint[], :step_nos::text::integer[],
            :attempts::text::integer[]) u(run_key, step_no, attempt)
        CROSS JOIN LATERAL (
            SELECT ctid AS tid FROM zart.released_steps
            WHERE rule_key = :rule_key AND run_key = u.run_key AND step_no = u.step_no
              AND attempt = u.attempt FOR UPDATE SKIP LOCKED) m))
    """,
    locks=("released_steps, passing over locked rows",),
)


async def close_leased(tx: Tx, rule_key: int, leased: Sequence[ReleasedAt]) -> int:
    """Note of a rule's released attempts that they were leased, so that few stand.

    Return of how many: others may have a row locked. The caller holds the pause lock, shared:
    whoever takes back what stands waits for no row, nor does this, behind which a Pause may wait.
    """
    values = _CLOSE.arguments(
        rule_key=rule_key,
        run_keys=numbers(one.run_key for one in leased),
        step_nos=numbers(one.step_no for one in leased),
        attempts=numbers(one.attempt for one in leased),
    )
    return await tx.execute(_CLOSE.text, *values)
