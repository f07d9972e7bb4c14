"""Looks for due tasks: they lock nothing, and read only the first task of each lane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple, TypeAlias

from zart_server.store.connection import Connection
from zart_server.store.pausing.exempting import exempts_any
from zart_server.store.pausing.matching import any_matches_lane
from zart_server.store.queue import LaneCursor
from zart_server.store.statement import Statement

_FEW = 256  # up to so many lanes are looked up one by one, even if they are empty
_FILLED = 1000  # up to so many lanes with tasks, it pays to go through the queue by lane
_BEYOND = 2**31 - 1  # no lane has this number
# How lanes are found: by the tasks or handlers that are asked for, or, if a task has many lanes, by
# the rows of the queue.
Way: TypeAlias = Literal["tasks", "handlers", "queue"]
WAYS: tuple[Way, ...] = ("tasks", "handlers", "queue")
_OF_TASKS: tuple[Way, ...] = ("tasks", "queue")


@dataclass(frozen=True, slots=True)
class Begin:
    """Where a look begins in each lane: at the lane's cursor, or at the time ``since``.

    A lane without a cursor begins at ``since``; if that is None, at its first row. ``is_only``:
    only lanes with a cursor are looked at. ``may_skip``: if there are many lanes, those with tasks
    are found by the queue.
    """

    cursors: Mapping[int, LaneCursor] = field(default_factory=dict)
    since: datetime | None = None
    is_only: bool = False
    may_skip: bool = True

    def arguments(
        self, task_names: Sequence[str], handlers: Sequence[str] | None = None
    ) -> dict[str, object]:
        """Return the values that ``asked`` takes, or that ``MARKED`` takes if ``is_only``."""
        found: dict[str, object] = {
            "marked": list(self.cursors),
            "marked_times": [cursor[0] for cursor in self.cursors.values()],
            "marked_numbers": [cursor[1] for cursor in self.cursors.values()],
        }
        if not self.is_only:
            found |= {"since": self.since, "task_names": task_names}
            if handlers is not None:
                found["handlers"] = handlers
        return found

    def way(self, handlers: Sequence[str] | None = None) -> Way:
        """Return by which way lanes are found."""
        if handlers is not None:
            return "handlers"
        return "queue" if self.may_skip else "tasks"


# The lanes that have a cursor, each with where to begin.
MARKED = """
    SELECT lane, since, since_no FROM unnest(
        :marked::integer[], :marked_times::timestamptz[], :marked_numbers::bigint[])
        m(lane, since, since_no)
"""


def are_many(way: Way) -> str:
    """Return a query for whether so many lanes are asked for that the queue is asked instead."""
    if way != "queue":
        return "SELECT false AS yes"
    return f"""
        SELECT count(*) > {_FEW} AS yes FROM (
            SELECT FROM zart.lanes WHERE task_name = ANY(:task_names::text[]) LIMIT {_FEW} + 1) l
    """


def asked(way: Way) -> str:
    """Return a query for all lanes that are asked for, each with where to begin.

    With the way "queue", if there are many lanes, those without a cursor are left out if they are
    empty: most belong to inline graphs that have ended. The query goes through the queue from the
    last lane to the first, and enters each at its newest task: so it does not read the dead rows at
    the head of a lane.
    """
    since = "COALESCE(:since::timestamptz, '-infinity')"
    # Not a join: with hundreds of lanes on either side a join would compare each pair.
    are_asked = """task_name = ANY(:task_names::text[])
        AND (lane IN (SELECT unnest(:marked::integer[]))) IS NOT TRUE"""
    if way != "queue":
        handlers = "AND handler = ANY(:handlers::text[])" if way == "handlers" else ""
        return f"""
            {MARKED}
            UNION ALL
            SELECT lane, {since}, 0 FROM zart.lanes WHERE {are_asked} {handlers}
        """
    return f"""
        WITH RECURSIVE many AS MATERIALIZED ({are_many(way)}
        ), filled(lane, n) AS (
            SELECT {_BEYOND}, 0 WHERE (SELECT yes FROM many)
            UNION ALL
            SELECT q.lane, n + 1 FROM filled f CROSS JOIN LATERAL (
                SELECT lane FROM zart.queue WHERE lane < f.lane
                ORDER BY lane DESC, not_before DESC, queue_no DESC LIMIT 1) q
            WHERE n <= {_FILLED}
        ), skipped AS MATERIALIZED (
            SELECT yes AND (SELECT max(n) FROM filled) <= {_FILLED} AS yes FROM many
        )
        {MARKED}
            UNION ALL
        SELECT lane, {since}, 0 FROM zart.lanes
        WHERE NOT (SELECT yes FROM skipped) AND {are_asked}
        UNION ALL
        SELECT lane, {since}, 0 FROM (
            SELECT l.* FROM filled f CROSS JOIN LATERAL (
                SELECT lane, task_name FROM zart.lanes WHERE lane = f.lane OFFSET 0) l) l
        WHERE (SELECT yes FROM skipped) AND {are_asked}
    """


class DueLane(NamedTuple):
    """A lane with queued tasks, the cursor of its first, and the seconds until that is due."""

    lane: int
    task_name: str
    handler: str
    cursor: LaneCursor
    due_in: float


class DueLanes(NamedTuple):
    """The lanes that have queued tasks, as of ``now``.

    ``is_all``: no lane was left out. One is left out if a settling rule matches all of it.
    ``are_many``: so many lanes were asked for that they were found by the queue.
    """

    now: datetime
    is_all: bool
    are_many: bool
    lanes: list[DueLane]


def _due_lanes(way: Way) -> str:
    return f"""
        WITH settling AS MATERIALIZED (
            SELECT r.* FROM zart.pause_work w CROSS JOIN LATERAL (
                SELECT * FROM zart.pause_rules WHERE rule_key = w.rule_key OFFSET 0) r
            WHERE work = 'settle' AND w.execution_id = '' AND NOT w.of_released
              AND r.deleted_at IS NULL AND r.execution_id IS NULL
              AND NOT {exempts_any("r.rule_key")}
        )
        SELECT statement_timestamp(), EXISTS (SELECT FROM settling), ({are_many(way)}), due.*
        FROM (SELECT) one LEFT JOIN LATERAL (
            SELECT l.lane, l.task_name, l.handler, h.not_before, h.queue_no,
                GREATEST(EXTRACT(epoch FROM h.not_before - statement_timestamp()), 0)::float8
            FROM ({asked(way)}) a CROSS JOIN LATERAL (
                SELECT not_before, queue_no FROM zart.queue
                WHERE lane = a.lane AND (not_before, queue_no) >= (a.since, a.since_no)
                ORDER BY not_before, queue_no LIMIT 1) h
            CROSS JOIN LATERAL (SELECT * FROM zart.lanes WHERE lane = a.lane OFFSET 0) l
            WHERE NOT {any_matches_lane("settling", "true", unknown="false")}
        ) due ON true
    """


_DUE_LANES = {way: Statement(_due_lanes(way)) for way in _OF_TASKS}


async def due_lanes(connection: Connection, task_names: Sequence[str], begin: Begin) -> DueLanes:
    """Return the lanes of these tasks that have queued tasks, due or not.

    A lane of which a settling rule matches all is left out.
    """
    statement = _DUE_LANES[begin.way()]
    rows = await connection.fetch(
        statement.text, *statement.arguments(**begin.arguments(task_names))
    )
    return DueLanes(
        rows[0][0],
        not rows[0][1],
        rows[0][2],
        [
            DueLane(row[3], row[4], row[5], (row[6], row[7]), row[8])
            for row in rows
            if row[3] is not None
        ],
    )


class DueBefore(NamedTuple):
    """Lanes with a due task before the begin of looks, and the seconds that the search took."""

    seconds: float
    lanes: list[DueLane]


def _due_before(way: Way) -> str:
    return f"""
        WITH found AS MATERIALIZED (
            SELECT a.lane, h.not_before, h.queue_no FROM ({asked(way)}) a CROSS JOIN LATERAL (
                SELECT not_before, queue_no FROM zart.queue
                WHERE lane = a.lane AND (not_before, queue_no) < (a.since, a.since_no)
                    AND not_before >= COALESCE(:earliest::timestamptz, '-infinity')
                    AND not_before < :before::timestamptz
                ORDER BY not_before, queue_no LIMIT 1) h
        ), looked AS MATERIALIZED (
            SELECT EXTRACT(epoch FROM clock_timestamp() - statement_timestamp())::float8 AS seconds
            FROM (SELECT count(*) FROM found) f
        )
        SELECT seconds, f.lane, l.task_name, l.handler, f.not_before, f.queue_no
        FROM looked LEFT JOIN (found f CROSS JOIN LATERAL (
            SELECT task_name, handler FROM zart.lanes WHERE lane = f.lane OFFSET 0) l) ON true
    """


_DUE_BEFORE = {way: Statement(_due_before(way)) for way in _OF_TASKS}


async def due_before(
    connection: Connection,
    task_names: Sequence[str],
    begin: Begin,
    since: datetime | None,
    before: datetime,
) -> DueBefore:
    """Return the lanes that have, between these times, a task that looks from ``begin`` miss."""
    statement = _DUE_BEFORE[begin.way()]
    values = begin.arguments(task_names) | {"earliest": since, "before": before}
    rows = await connection.fetch(statement.text, *statement.arguments(**values))
    return DueBefore(
        rows[0][0],
        [
            DueLane(row[1], row[2], row[3], (row[4], row[5]), 0.0)
            for row in rows
            if row[1] is not None
        ],
    )


class AnyDue(NamedTuple):
    """Whether any task is due, as of ``now``; ``are_many`` is that of ``DueLanes``."""

    now: datetime
    is_any: bool
    are_many: bool


def _are_any_due(way: Way) -> str:
    return f"""
        SELECT statement_timestamp(), EXISTS (SELECT FROM ({asked(way)}) a CROSS JOIN LATERAL (
            SELECT FROM zart.queue WHERE lane = a.lane AND not_before <= statement_timestamp()
                AND (not_before, queue_no) >= (a.since, a.since_no)
            ORDER BY not_before, queue_no LIMIT 1) h), ({are_many(way)})
    """


_ARE_ANY_DUE = {way: Statement(_are_any_due(way)) for way in WAYS}


async def are_any_due(
    connection: Connection, task_names: Sequence[str], handlers: Sequence[str] | None, begin: Begin
) -> AnyDue:
    """Return whether any task of these lanes is due. ``handlers`` None: of any handler."""
    statement = _ARE_ANY_DUE[begin.way(handlers)]
    values = begin.arguments(task_names, handlers)
    (row,) = await connection.fetch(statement.text, *statement.arguments(**values))
    return AnyDue(*row)
