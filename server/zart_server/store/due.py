"""What is due in which lanes: looks that lock nothing and read each lane's first task alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple, TypeAlias

from zart_server.store.db import Tx
from zart_server.store.pausing.matching import LANE_MAY_MATCH
from zart_server.store.queue import LaneCursor
from zart_server.store.statement import Statement

_FEW = 256  # lanes that are looked up one by one, whether they have anything or not
_FILLED = 1000  # lanes that have something, up to which it pays to go from one to the next
_BEYOND = 2**31 - 1  # no lane has this number
# How lanes are found: by the tasks or the handlers that are asked for; or, of tasks that have many,
# by what is in the queue.
Way: TypeAlias = Literal["tasks", "handlers", "queue"]
WAYS: tuple[Way, ...] = ("tasks", "handlers", "queue")
_OF_TASKS: tuple[Way, ...] = ("tasks", "queue")


@dataclass(frozen=True, slots=True)
class Begin:
    """From where on to look: lanes by their place, the others that are asked for by the time.

    Without a time they are read from their heads. ``is_only``: no others are looked at.
    ``may_skip``: of many lanes, those are found by the queue that have something.
    """

    cursors: Mapping[int, LaneCursor] = field(default_factory=dict)
    since: datetime | None = None
    is_only: bool = False
    may_skip: bool = True

    def arguments(
        self, task_names: Sequence[str], handlers: Sequence[str] | None = None
    ) -> dict[str, object]:
        """Return the values that ``asked`` takes, or ``MARKED`` where no others are looked at."""
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
        """Return how lanes are found."""
        if handlers is not None:
            return "handlers"
        return "queue" if self.may_skip else "tasks"


# The lanes that have a place of their own.
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

    By the queue, those without a place of their own are left out where nothing is queued in them,
    if they are many: most are of inline graphs that have ended. The queue is gone through from its
    last lane to the first, and each is entered where its newest task stands: what died at the head
    of a lane that has something is not read.
    """
    since = "COALESCE(:since::timestamptz, '-infinity')"
    # Not a join: with some hundreds of lanes on either side that would compare each with each.
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
    """A lane with queued tasks, where the first stands, and the seconds until that is due."""

    lane: int
    task_name: str
    handler: str
    cursor: LaneCursor
    due_in: float


class DueLanes(NamedTuple):
    """The lanes that have queued tasks, as of ``now``.

    ``is_all``: none was left out, as one is that a settling rule matches as a whole. ``are_many``:
    so many lanes were asked for that they were found by the queue.
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
            WHERE work = 'settle' AND r.deleted_at IS NULL AND r.execution_id IS NULL
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
            WHERE NOT EXISTS (SELECT FROM settling r
                WHERE {LANE_MAY_MATCH} AND (r.step_regex IS NULL OR l.step_name IS NOT NULL))
        ) due ON true
    """


_DUE_LANES = {way: Statement(_due_lanes(way)) for way in _OF_TASKS}


async def due_lanes(tx: Tx, task_names: Sequence[str], begin: Begin) -> DueLanes:
    """Return the lanes of these tasks that have queued tasks, due or not.

    Lanes that a settling rule matches as a whole are left out.
    """
    statement = _DUE_LANES[begin.way()]
    rows = await tx.fetch(statement.text, *statement.arguments(**begin.arguments(task_names)))
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
    """Lanes that have something due before where looks begin, and the seconds that took to find."""

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
    tx: Tx, task_names: Sequence[str], begin: Begin, since: datetime | None, before: datetime
) -> DueBefore:
    """Return what is queued between these times in lanes that ``begin`` takes for empty."""
    statement = _DUE_BEFORE[begin.way()]
    values = begin.arguments(task_names) | {"earliest": since, "before": before}
    rows = await tx.fetch(statement.text, *statement.arguments(**values))
    return DueBefore(
        rows[0][0],
        [
            DueLane(row[1], row[2], row[3], (row[4], row[5]), 0.0)
            for row in rows
            if row[1] is not None
        ],
    )


class AnyDue(NamedTuple):
    """Whether anything is due, as of ``now``; ``are_many`` as with ``DueLanes``."""

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
    tx: Tx, task_names: Sequence[str], handlers: Sequence[str] | None, begin: Begin
) -> AnyDue:
    """Return whether anything is queued and due in these lanes. ``handlers`` None: any."""
    statement = _ARE_ANY_DUE[begin.way(handlers)]
    values = begin.arguments(task_names, handlers)
    (row,) = await tx.fetch(statement.text, *statement.arguments(**values))
    return AnyDue(*row)
