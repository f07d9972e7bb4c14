"""Reads, in one statement, whether any of many watched executions changed."""

from __future__ import annotations

from collections.abc import Sequence

from zart_server.store.db import Tx


async def run_digests(tx: Tx, execution_keys: Sequence[int]) -> dict[int, str]:
    """Give, by execution key, a digest that is another one once the current run has changed."""
    rows = await tx.fetch(
        """
        SELECT r.execution_key, concat_ws('/', r.run_number, r.status,
            (SELECT sum(hashtextextended(status, step_no)) FROM zart.steps s
             WHERE s.run_key = r.run_key),
            (SELECT sum(hashtextextended(concat(attempt, '/', lease_token), step_no))
             FROM zart.tasks q WHERE q.run_key = r.run_key),
            (SELECT sum(hashtextextended(rule_key::text, step_no)) FROM zart.held h
             WHERE h.run_key = r.run_key)) AS digest
        FROM zart.runs r WHERE r.is_current AND r.execution_key = ANY($1::bigint[])
        """,
        execution_keys,
    )
    return {row["execution_key"]: row["digest"] for row in rows}
