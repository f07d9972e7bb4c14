"""What is due in which lanes: looks that lock nothing and read each lane's first task alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from zart_server.store.db import Tx
from zart_server.store.pausing.matching import LANE_MAY_MATCH
from zart_server.store.queue import LaneCursor


@dataclass(frozen=True, slots=True)
class Begin:
    """From where on to look: lanes by their place, the others that are asked for by the time.

    Without a time they are read from their heads. ``is_only``: no others are looked at.
    """

    cursors: Mapping[int, LaneCursor] = field(default_factory=dict)
    since: datetime | None = None
    is_only: bool = False

    def arguments(
        self, task_names: Sequence[str], handlers: Sequence[str] | None = None
    ) -> list[object]:
        """Return the values that ``asked`` takes, or ``marked`` where no others are looked at."""
        cursors = [
            list(self.cursors),
            [cursor[0] for cursor in self.cursors.values()],
            [cursor[1] for cursor in self.cursors.values()],
        ]
        if self.is_only:
            return [*cursors]
        return [*cursors, self.since, task_names, *([] if handlers is None else [handlers])]


def marked(first: int) -> str:
    """Return a query for the lanes that have a place of their own: (lane, since, since_no).

    Its arguments begin at $first.
    """
    return f"""
        SELECT lane, since, since_no FROM unnest(${first}::integer[], ${first + 1}::timestamptz[],
            ${first + 2}::bigint[]) m(lane, since, since_no)
    """


def asked(first: int, *, of_handlers: bool = False) -> str:
    """Return a query for all lanes that are asked for, each with where to begin."""
    handlers = f"AND handler = ANY(${first + 5}::text[])" if of_handlers else ""
    # Not a join: with some hundreds of lanes on either side that would compare each with each.
    return f"""
        {marked(first)} UNION ALL
        SELECT lane, COALESCE(${first + 3}::timestamptz, '-infinity'), 0 FROM zart.lanes
        WHERE task_name = ANY(${first + 4}::text[]) {handlers}
          AND (lane IN (SELECT unnest(${first}::integer[]))) IS NOT TRUE
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

    ``is_all``: none was left out, as one is that a settling rule matches as a whole.
    """

    now: datetime
    is_all: bool
    lanes: list[DueLane]


_DUE_LANES = f"""
    WITH settling AS MATERIALIZED (
        SELECT r.* FROM zart.pause_work w CROSS JOIN LATERAL (
            SELECT * FROM zart.pause_rules WHERE rule_key = w.rule_key OFFSET 0) r
        WHERE work = 'settle' AND r.deleted_at IS NULL AND r.execution_id IS NULL
    )
    SELECT statement_timestamp(), EXISTS (SELECT FROM settling), due.*
    FROM (SELECT) one LEFT JOIN LATERAL (
        SELECT l.lane, l.task_name, l.handler, h.not_before, h.queue_no,
            GREATEST(EXTRACT(epoch FROM h.not_before - statement_timestamp()), 0)::float8
        FROM ({asked(1)}) a CROSS JOIN LATERAL (
            SELECT not_before, queue_no FROM zart.queue
            WHERE lane = a.lane AND (not_before, queue_no) >= (a.since, a.since_no)
            ORDER BY not_before, queue_no LIMIT 1) h
        CROSS JOIN LATERAL (SELECT * FROM zart.lanes WHERE lane = a.lane OFFSET 0) l
        WHERE NOT EXISTS (SELECT FROM settling r
            WHERE {LANE_MAY_MATCH} AND (r.step_regex IS NULL OR l.step_name IS NOT NULL))
    ) due ON true
"""


async def due_lanes(tx: Tx, task_names: Sequence[str], begin: Begin) -> DueLanes:
    """Return the lanes of these tasks that have queued tasks, due or not.

    Lanes that a settling rule matches as a whole are left out.
    """
    rows = await tx.fetch(_DUE_LANES, *begin.arguments(task_names))
    return DueLanes(
        rows[0][0],
        not rows[0][1],
        [
            DueLane(row[2], row[3], row[4], (row[5], row[6]), row[7])
            for row in rows
            if row[2] is not None
        ],
    )


class DueBefore(NamedTuple):
    """Lanes that have something due before where looks begin, and the seconds that took to find."""

    seconds: float
    lanes: list[DueLane]


_DUE_BEFORE = f"""
    WITH found AS MATERIALIZED (
        SELECT a.lane, h.not_before, h.queue_no FROM ({asked(1)}) a CROSS JOIN LATERAL (
            SELECT not_before, queue_no FROM zart.queue
            WHERE lane = a.lane AND (not_before, queue_no) < (a.since, a.since_no)
                AND not_before >= COALESCE($6::timestamptz, '-infinity')
                AND not_before < $7::timestamptz
            ORDER BY not_before, queue_no LIMIT 1) h
    ), looked AS MATERIALIZED (
        SELECT EXTRACT(epoch FROM clock_timestamp() - statement_timestamp())::float8 AS seconds
        FROM (SELECT count(*) FROM found) f
    )
    SELECT seconds, f.lane, l.task_name, l.handler, f.not_before, f.queue_no
    FROM looked LEFT JOIN (found f CROSS JOIN LATERAL (
        SELECT task_name, handler FROM zart.lanes WHERE lane = f.lane OFFSET 0) l) ON true
"""


async def due_before(
    tx: Tx, task_names: Sequence[str], begin: Begin, since: datetime | None, before: datetime
) -> DueBefore:
    """Return what is queued between these times in lanes that ``begin`` takes for empty."""
    rows = await tx.fetch(_DUE_BEFORE, *begin.arguments(task_names), since, before)
    return DueBefore(
        rows[0][0],
        [
            DueLane(row[1], row[2], row[3], (row[4], row[5]), 0.0)
            for row in rows
            if row[1] is not None
        ],
    )


def _are_any_due(lanes: str) -> str:
    return f"""
        SELECT statement_timestamp(), EXISTS (SELECT FROM ({lanes}) a CROSS JOIN LATERAL (
            SELECT FROM zart.queue WHERE lane = a.lane AND not_before <= statement_timestamp()
                AND (not_before, queue_no) >= (a.since, a.since_no)
            ORDER BY not_before, queue_no LIMIT 1) h)
    """


_ARE_ANY_DUE = _are_any_due(asked(1))
_ARE_ANY_DUE_OF_HANDLERS = _are_any_due(asked(1, of_handlers=True))


async def are_any_due(
    tx: Tx, task_names: Sequence[str], handlers: Sequence[str] | None, begin: Begin
) -> tuple[datetime, bool]:
    """Return whether anything is queued and due in these lanes, and when that was so.

    ``handlers`` None: any.
    """
    statement = _ARE_ANY_DUE if handlers is None else _ARE_ANY_DUE_OF_HANDLERS
    (row,) = await tx.fetch(statement, *begin.arguments(task_names, handlers))
    return row[0], row[1]
