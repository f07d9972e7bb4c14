"""Finds the current runs that a list has, newest execution first, by the index of its order.

Whatever the statistics say: the keys of an index are compared as one row, which no other index
can answer, and the closed set of statuses is looked up one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from zart_server.domain.model import RunStatus
from zart_server.store.connection import Connection
from zart_server.store.statement import Statement

_EARLIEST = datetime.min.replace(tzinfo=UTC)
LATEST = datetime.max.replace(tzinfo=UTC)
MOST_KEY = 2**63 - 1


class ListPosition(NamedTuple):
    """Where an execution stands in a list: later ones come first."""

    created_at: datetime
    execution_key: int


class Listed(NamedTuple):
    """A current run by its key, and where it stands."""

    position: ListPosition
    run_key: int


class Range(NamedTuple):
    """The part of a list that is looked at: before a position, created not before a time.

    ``task_name`` empty: of all tasks.
    """

    task_name: str
    statuses: Sequence[RunStatus]
    before: ListPosition
    created_from: datetime

    def arguments(self, limit: int) -> dict[str, object]:
        """Return the parameters that ``by_status`` takes."""
        return {
            "statuses": [status.value for status in self.statuses],
            "before": self.before.created_at,
            "before_key": self.before.execution_key,
            "created_from": self.created_from,
            "limit": limit,
            "task_name": self.task_name,
        }

    def by_key(self, after_key: int | None, created_before: datetime | None) -> Range:
        """Return the same where executions are in the order of their keys alone."""
        key = MOST_KEY if after_key is None else after_key
        return self._replace(before=ListPosition(created_before or LATEST, key))

    def position_of(self, created_at: datetime, key: int, *, is_by_key: bool) -> ListPosition:
        """Return where an execution stands; by key, its time says nothing."""
        return ListPosition(self.before.created_at if is_by_key else created_at, key)


async def range_of(
    connection: Connection,
    task_name: str,
    statuses: Sequence[RunStatus],
    created: tuple[datetime | None, datetime | None],
    after_key: int | None,
) -> Range | None:
    """Return the range after an execution of the list (None: from its beginning) within times.

    None: nothing can be in it.
    """
    created_from, created_before = created
    before = ListPosition(created_before or LATEST, 0 if created_before else MOST_KEY)
    if after_key is not None:
        # Where that one is gone by now, the nearest after it, which is then part of the range.
        last = await connection.fetchrow(
            "SELECT created_at FROM zart.executions WHERE execution_key <= $1"
            " ORDER BY execution_key DESC LIMIT 1",
            after_key,
        )
        if last is None:
            return None
        before = min(before, ListPosition(last["created_at"], after_key))
    return Range(task_name, statuses or tuple(RunStatus), before, created_from or _EARLIEST)


def key_range(*, of_task: bool) -> str:
    """Return the condition that a run of a status s is in a range."""
    task, of = ("listed_task, ", ":task_name::text, ") if of_task else ("", "")
    key = f"({task}status, listed_at, execution_key)"
    return f"""{key} < ({of}s.status, :before::timestamptz, :before_key::bigint)
              AND {key} >= ({of}s.status, :created_from::timestamptz, 0)"""


def key_order(*, of_task: bool) -> str:
    """Return the order of a list, newest first, within one status."""
    return (
        f"{'listed_task DESC, ' if of_task else ''}status DESC, listed_at DESC, execution_key DESC"
    )


def by_status(where: str, *, of_task: bool) -> str:
    """Return the query for the first runs of a range.

    ``where`` is what the index is partial by. Its columns are those of ``Listed``, the status, the
    task's name and the number of dead steps.
    """
    no_task = "" if of_task else "WHERE :task_name::text IS NOT NULL"  # it has to be of a type
    return f"""
        SELECT r.* FROM unnest(:statuses::text[]) s(status) CROSS JOIN LATERAL (
            SELECT listed_at, execution_key, run_key, listed_task FROM zart.runs
            WHERE {where} AND {key_range(of_task=of_task)}
            ORDER BY {key_order(of_task=of_task)} LIMIT :limit::bigint) r
        {no_task}
        ORDER BY listed_at DESC, execution_key DESC LIMIT :limit
    """


CURRENT = "is_current"
DEAD = "CASE WHEN is_current THEN dead_steps ELSE 0 END > 0"


_FIND = {
    f"{which} {of}": Statement(by_status(where, of_task=of == "of a task"))
    for which, where in (("current", CURRENT), ("with dead steps", DEAD))
    for of in ("of all tasks", "of a task")
}


async def find_runs(
    connection: Connection, wanted: Range, limit: int, *, is_dead: bool = False
) -> list[Listed]:
    """Return the first runs of a range; ``is_dead``: those that have dead steps."""
    which = "with dead steps" if is_dead else "current"
    statement = _FIND[f"{which} {'of a task' if wanted.task_name else 'of all tasks'}"]
    rows = await connection.fetch(statement.text, *statement.arguments(**wanted.arguments(limit)))
    return [Listed(ListPosition(row[0], row[1]), row[2]) for row in rows]


_UNFINISHED = Statement("""
    SELECT count(*) FROM unnest(ARRAY['scheduled', 'running']) s(status) CROSS JOIN LATERAL (
        SELECT FROM zart.runs
        WHERE is_current AND (status, listed_at, execution_key) > (s.status, '-infinity', 0)
          AND (status, listed_at, execution_key) < (s.status, 'infinity', 0)
        ORDER BY status DESC, listed_at DESC, execution_key DESC LIMIT :most::bigint) r
""")


async def count_unfinished(connection: Connection, most: int) -> int:
    """Count unfinished executions, of each status ``most`` at most."""
    found: int = await connection.fetchval(_UNFINISHED.text, *_UNFINISHED.arguments(most=most))
    return found
