"""Looks at runs of a list in their order, whether each fits, until there are enough for a page."""

from __future__ import annotations

from zart_server.store.connection import Connection
from zart_server.store.reads.dead_groups import OF_GROUPS
from zart_server.store.reads.fitting import FITS, WORK
from zart_server.store.reads.listed_by_steps import OF_KEYS, FoundRuns
from zart_server.store.reads.listed_runs import (
    CURRENT,
    DEAD,
    Listed,
    ListPosition,
    Range,
    by_status,
)
from zart_server.store.reads.of_batches import BY_KEY, HAS_RUN, SOURCES
from zart_server.store.statement import Statement

MOST_RUNS = 1_000  # that are looked at for a page


def _looking(
    source: str, condition: str = FITS, order: str = "listed_at DESC, execution_key DESC"
) -> Statement:
    """Return the query for the first runs of a source, and whether each fits."""
    return Statement(f"""
        WITH candidates AS MATERIALIZED ({source}), settling AS MATERIALIZED (
            SELECT {WORK.format("settle")} AS yes
        )
        SELECT listed_at, execution_key, run_key, {condition}
        FROM candidates c ORDER BY {order}
    """)


_LOOK = (
    {
        f"{which} {of}": _looking(by_status(where, of_task=of == "of a task"))
        for which, where in (("current", CURRENT), ("with dead steps", DEAD))
        for of in ("of all tasks", "of a task")
    }
    | {
        "of keys": _looking(OF_KEYS),
        "of groups": _looking(OF_GROUPS, f"is_wanted AND {FITS}"),
    }
    | {name: _looking(source, f"{HAS_RUN} AND {FITS}", BY_KEY) for name, source in SOURCES.items()}
)


async def look_at(
    connection: Connection,
    part: Range,
    limit: int,
    source: str,
    sought: dict[str, object],
    most: int,
) -> FoundRuns:
    """Look at the runs of a range until there are enough, at few ones first.

    Those of a batch are in the order of their executions' keys; of where the range begins only the
    key counts then.
    """
    statement = _LOOK[source]
    runs: dict[int, Listed] = {}
    until: ListPosition | None = None
    for count in (2 * limit, max(most, 2 * limit)):
        rest = part if until is None else part._replace(before=until)
        values = rest.arguments(count) | sought
        rows = await connection.fetch(statement.text, *statement.arguments(**values))
        found = [(part.position_of(*row[:2], is_by_key=source in SOURCES), row) for row in rows]
        runs |= {row[2]: Listed(at, row[2]) for at, row in found if row[3]}
        if len(rows) < count:
            return FoundRuns(list(runs.values())[:limit])
        until = found[-1][0]
        if len(runs) >= limit:
            break
    return FoundRuns(list(runs.values())[:limit], until)
