"""The one way through finished executions, which a purge and the servers' own removal both take."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime

from zart_server.domain.ended_cursor import EndedCursor, Position
from zart_server.store.connection import Connection
from zart_server.store.retention.finding import (
    FINISHED,
    Looked,
    find_ended,
    next_positions,
    next_task,
)


class EndedWalk:
    """Goes through finished executions, from a cursor on: task by task, the oldest first.

    ``tasks``: only these, by name; None: all that have executions. A look costs what it finds,
    however many lie before that were looked at and stay: each goes on where the one before ended.
    """

    def __init__(self, cursor: EndedCursor, tasks: Sequence[str] | None) -> None:
        self.cursor = cursor
        self._tasks = tasks

    async def task(self, connection: Connection) -> str | None:
        """Return the task that the next look is at; None: all are gone through."""
        if not self.cursor.after:
            found = await self._next(connection)
            if found is None:
                return None
            self.cursor = EndedCursor(found, dict.fromkeys(FINISHED, Position()))
        return self.cursor.task_name

    async def look(
        self, connection: Connection, ended_before: datetime, limit: int
    ) -> Sequence[Looked]:
        """Go past the next executions of the task that may have ended before a time; return them.

        Of each status so many at most.
        """
        task_name, after = self.cursor.task_name, self.cursor.after
        looked = await find_ended(connection, task_name, after, ended_before, limit)
        self.cursor = EndedCursor(task_name, next_positions(after, looked, limit))
        return looked

    def leave_task(self) -> None:
        """Go past what the task has left."""
        self.cursor = EndedCursor(self.cursor.task_name)

    async def _next(self, connection: Connection) -> str | None:
        if self._tasks is None:
            return await next_task(connection, self.cursor.task_name)
        at = bisect_right(self._tasks, self.cursor.task_name)
        return self._tasks[at] if at < len(self._tasks) else None
