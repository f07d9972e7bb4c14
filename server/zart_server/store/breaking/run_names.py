"""How runs are called, for many of them at once: by what a breaker tells whether it counts them."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from zart_server.store.connection import Connection


class RunNames(NamedTuple):
    """The execution of a run, and its definition, which has the names of the task and its steps."""

    execution_id: str
    definition_key: int


async def read_run_names(connection: Connection, run_keys: Collection[int]) -> dict[int, RunNames]:
    """Return the names by run key; of a run that is no more there are none.

    Unlike ``find_run_facts`` it reads no payloads, and leaves what is at hand as it is.
    """
    rows = await connection.fetch(
        """
        SELECT r.run_key, e.execution_id, r.definition_key
        FROM unnest($1::bigint[]) u(run_key) CROSS JOIN LATERAL (
            SELECT run_key, execution_key, definition_key FROM zart.runs
            WHERE run_key = u.run_key OFFSET 0) r
        CROSS JOIN LATERAL (SELECT execution_id FROM zart.executions
            WHERE execution_key = r.execution_key OFFSET 0) e
        """,
        list(run_keys),
    )
    return {row[0]: RunNames(row[1], row[2]) for row in rows}
