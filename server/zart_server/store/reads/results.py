"""Reads the result of a completed run: that of the steps that nothing depends on."""

from __future__ import annotations

import json
from collections.abc import Sequence

from zart_server.store.connection import Connection
from zart_server.store.handler_inputs import RESULTS
from zart_server.store.reads.steps import RunIdentity

# A run's result goes into one message, so it has the bound of the messages' results.
RESULT_BYTES = 4 * 1024 * 1024
_AFTER = """taken t CROSS JOIN LATERAL (
                SELECT $1::bigint, ($2::integer[])[t.n + 1])"""


async def run_result(connection: Connection, identity: RunIdentity) -> str | None:
    """Return the exact JSON text of a completed run's result; None if it is too large to send.

    Of one that is too large no more is unpacked than shows it: there may be thousands of sinks.
    """
    graph = identity.definition.graph
    rows = await connection.fetch(
        f"""
        WITH RECURSIVE taken AS (
            SELECT 0 AS n, NULL::integer AS step_no, NULL::text AS result, 0::bigint AS bytes
            UNION ALL
            SELECT t.n + 1, s.step_no, made.result, t.bytes + octet_length(made.result)
            FROM {RESULTS.format(keys=_AFTER)}
            CROSS JOIN LATERAL (SELECT o.result::text AS result OFFSET 0) made
            WHERE t.bytes <= $3 AND t.n < cardinality($2)
        )
        SELECT step_no, CASE WHEN bytes <= $3 THEN result END AS result
        FROM taken WHERE n > 0 ORDER BY n
        """,
        identity.run_key,
        list(graph.sinks),
        RESULT_BYTES,
    )
    if len(rows) < len(graph.sinks) or rows[-1]["result"] is None:
        return None
    return result_of([(graph.steps[row["step_no"]].step_name, row["result"]) for row in rows])


def result_of(sinks: Sequence[tuple[str, str]]) -> str:
    """Make a run's result of the names and results of the steps that nothing depends on."""
    if len(sinks) == 1:
        return sinks[0][1]
    members = (f"{json.dumps(name, ensure_ascii=False)}:{text}" for name, text in sinks)
    return "{" + ",".join(members) + "}"
