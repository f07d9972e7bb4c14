"""All executions, or all that have dead steps, found in pieces for a batch."""

from __future__ import annotations

from zart_server.domain.batches import BatchKind
from zart_server.domain.model import RunStatus
from zart_server.store.batches.selecting import BatchCursor, Found
from zart_server.store.connection import Connection
from zart_server.store.reads.listed_runs import CURRENT, DEAD
from zart_server.store.statement import Statement

# A cursor in the order in which executions are listed. Former servers, beside this one during an
# upgrade, read it as the beginning of theirs: they find again what has its item already.
_LISTED = "0"
_BEGIN: BatchCursor = [_LISTED, "-infinity", 0]
# Former servers looked through one status after the other: their cursors have a number of these.
_FORMER = (
    RunStatus.SCHEDULED,
    RunStatus.RUNNING,
    RunStatus.COMPLETED,
    RunStatus.FAILED,
    RunStatus.CANCELLED,
)
# Those of some statuses, each by the index of them.
_AS_LISTED = {
    of: Statement(
        f"""
        SELECT run_key, listed_at::text AS place, execution_key
        FROM unnest(:statuses::text[]) s(status) CROSS JOIN LATERAL (
            SELECT run_key, listed_at, execution_key FROM zart.runs
            WHERE {condition} AND (status, listed_at, execution_key)
                > (s.status, :after::text::timestamptz, :after_key::bigint)
              AND (status, listed_at, execution_key) <= (s.status, 'infinity', 0)
            ORDER BY runs.status, listed_at, execution_key LIMIT :limit::bigint) r
        ORDER BY listed_at, execution_key LIMIT :limit
        """
    )
    for of, condition in {"all": CURRENT, "those with dead steps": DEAD}.items()
}


async def find_all(
    connection: Connection, kind: BatchKind, begin: BatchCursor | None, limit: int
) -> tuple[Found, BatchCursor | None]:
    """Return a piece of all executions, or of those with dead steps, and where the next begins.

    An execution keeps its place: what goes from one status to another meanwhile, by itself or by
    somebody, is found all the same.
    """
    which, after, after_key = begin or _BEGIN
    statuses = tuple(RunStatus) if which == _LISTED else (_FORMER[int(which)],)
    statement = _AS_LISTED["those with dead steps" if kind.is_of_steps else "all"]
    values = statement.arguments(
        statuses=[status.value for status in statuses],
        after=after,
        after_key=after_key,
        limit=limit,
    )
    rows = await connection.fetch(statement.text, *values)
    following: BatchCursor | None = None
    if len(rows) == limit:
        following = [which, rows[-1][1], rows[-1][2]]
    elif which != _LISTED:
        # What went back to a status before is found by going through all of them as above.
        following = _former_after(int(which))
    return Found.of_runs([row[0] for row in rows]), following


def _former_after(number: int) -> BatchCursor:
    return [number + 1, *_BEGIN[1:]] if number + 1 < len(_FORMER) else _BEGIN
