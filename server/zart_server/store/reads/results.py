"""Reads the result of a completed run: that of the steps that nothing depends on."""

from __future__ import annotations

import json
from collections.abc import Sequence

from zart_server.store.connection import Connection
from zart_server.store.reads.steps import RunIdentity

# A run's result goes into one message, so it has the bound of the messages' results.
RESULT_BYTES = 4 * 1024 * 1024


async def run_result(connection: Connection, identity: RunIdentity) -> str | None:
    """Return the exact JSON text of a completed run's result; None if it is too large to send."""
    graph = identity.definition.graph
    rows = await connection.fetch(
        """
        SELECT step_no, CASE WHEN bytes <= $3 THEN result END AS result FROM (
            SELECT s.step_no, o.result, sum(octet_length(o.result::text)) OVER () AS bytes
            FROM zart.steps s JOIN zart.steps o
                ON o.run_key = COALESCE(s.source_run_key, s.run_key) AND o.step_no = s.step_no
            WHERE s.run_key = $1 AND s.step_no = ANY($2::integer[])) r ORDER BY step_no
        """,
        identity.run_key,
        list(graph.sinks),
        RESULT_BYTES,
    )
    if any(row["result"] is None for row in rows):
        return None
    return result_of([(graph.steps[row["step_no"]].step_name, row["result"]) for row in rows])


def result_of(sinks: Sequence[tuple[str, str]]) -> str:
    """Make a run's result of the names and results of the steps that nothing depends on."""
    if len(sinks) == 1:
        return sinks[0][1]
    members = (f"{json.dumps(name, ensure_ascii=False)}:{text}" for name, text in sinks)
    return "{" + ",".join(members) + "}"
