"""Lists the kinds of errors that steps are dead of, those of the most steps first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from zart_server.domain.commands import Page
from zart_server.domain.errors import ErrorGroupNotFound, FilterTooBroad, InvalidField
from zart_server.domain.filters import ErrorGroup, ExecutionFilter
from zart_server.store.connection import Connection, Tx
from zart_server.store.reads.dead_groups import Group, find_groups, is_known_group
from zart_server.store.reads.execution_pages import Cursor
from zart_server.store.reads.filtered import expect_batch
from zart_server.store.reads.fitting import DEAD_THAT_FIT, PLAIN, dead_arguments, plain_arguments
from zart_server.store.reads.listed_runs import Range, range_of
from zart_server.store.statement import Statement

_GROUPS = 2_000
_COUNTED = 1_000_000  # dead steps of all groups together
_MOST_OF_ONE = 200_000
_LOOKED_AT = 20_000  # where each has to be looked at
_SAMPLES = 5


class _Count(NamedTuple):
    """How many dead steps a group has; ``samples``: keys of executions, None: to be read."""

    group: Group
    dead_steps: int
    is_lower_bound: bool
    samples: Sequence[int] | None

    @property
    def place(self) -> tuple[int, int]:
        """Where the group stands in the list."""
        return -self.dead_steps, self.group.key


# The keys of an index are compared as one row, which no other index can answer.
_IN_ORDER = """
    (group_key, listed_at, execution_key)
        < (g.group_key, :before::timestamptz, :before_key::bigint)
    AND (group_key, listed_at, execution_key) >= (g.group_key, :created_from::timestamptz, 0)
"""
_DIED = """
    (group_key + 0, died_at) >= (g.group_key, :died_from::timestamptz)
    AND (group_key + 0, died_at) < (g.group_key, :died_before::timestamptz)
"""


def _counting(where: str) -> Statement:
    return Statement(f"""
        SELECT c.n FROM unnest(:group_keys::bigint[]) WITH ORDINALITY g(group_key, n)
        CROSS JOIN LATERAL (SELECT count(*) AS n FROM (
            SELECT FROM zart.dead_steps WHERE {where} LIMIT :most::bigint) d) c
        ORDER BY g.n
    """)


_COUNT_IN_ORDER = _counting(_IN_ORDER)
_COUNT_BY_TIME = _counting(_DIED)
_LOOK = Statement(f"""
    WITH candidates AS MATERIALIZED (
        SELECT g.n, d.*, r.listed_task, r.status = ANY(:statuses::text[]) AS is_wanted
        FROM unnest(:group_keys::bigint[]) WITH ORDINALITY g(group_key, n) CROSS JOIN LATERAL (
            SELECT listed_at, execution_key, run_key, step_no FROM zart.dead_steps
            WHERE {_IN_ORDER}
            ORDER BY group_key DESC, listed_at DESC, execution_key DESC LIMIT :most::bigint) d
        CROSS JOIN LATERAL (
            SELECT status, listed_task FROM zart.runs WHERE run_key = d.run_key OFFSET 0) r
    ), looked AS MATERIALIZED (
        SELECT c.*, is_wanted AND {PLAIN}
            AND EXISTS (SELECT FROM {DEAD_THAT_FIT} AND x.step_no = c.step_no) AS fits
        FROM candidates c
    )
    SELECT n, count(*), count(*) FILTER (WHERE fits),
        (array_agg(execution_key ORDER BY listed_at DESC, execution_key DESC)
            FILTER (WHERE fits))[1:{_SAMPLES}]
    FROM looked GROUP BY n
""")


def _detailing(where: str, order: str) -> Statement:
    return Statement(f"""
        SELECT e.first_seen, t.died_at, ARRAY(
            SELECT execution_key FROM zart.dead_steps WHERE {where}
            ORDER BY {order} LIMIT {4 * _SAMPLES})
        FROM unnest(:group_keys::bigint[]) WITH ORDINALITY g(group_key, n) CROSS JOIN LATERAL (
            SELECT first_seen FROM zart.error_groups WHERE group_key = g.group_key OFFSET 0) e
        CROSS JOIN LATERAL (
            SELECT died_at FROM zart.dead_steps
            WHERE (group_key + 0, died_at) <= (g.group_key, 'infinity')
              AND (group_key + 0, died_at) >= (g.group_key, '-infinity')
            ORDER BY group_key + 0 DESC, died_at DESC LIMIT 1) t
        ORDER BY g.n
    """)


_DETAILS_IN_ORDER = _detailing(_IN_ORDER, "group_key DESC, listed_at DESC, execution_key DESC")
_DETAILS_BY_TIME = _detailing(_DIED, "group_key + 0 DESC, died_at DESC")


async def list_error_groups(
    tx: Tx, wanted: ExecutionFilter, cursor: Cursor, limit: int
) -> Page[ErrorGroup]:
    """List the groups that dead steps which a filter matches died of. ``tx`` is a snapshot.

    Raises FilterTooBroad, ErrorGroupNotFound or BatchNotFound.
    """
    if wanted.batch_id:
        await expect_batch(tx, wanted.batch_id)
    groups = await find_groups(tx, wanted, _GROUPS)
    if groups is None:
        field = "filter.step_pattern" if wanted.task_name else "filter.task_name"
        raise FilterTooBroad(field, f"is needed: there are more than {_GROUPS:,} groups")
    if not groups and wanted.error_group_id and not await is_known_group(tx, wanted.error_group_id):
        raise ErrorGroupNotFound(wanted.error_group_id)
    created = wanted.created_after, wanted.created_before
    part = await range_of(tx, wanted.task_name, wanted.statuses, created, None)
    if not groups or part is None:
        return Page((), None)
    counts = await _count(tx, groups, wanted, part)
    after = _place_of(cursor)
    found = sorted((one for one in counts if one.dead_steps), key=lambda one: one.place)
    rest = [one for one in found if after is None or one.place > after]
    page = rest[:limit]
    items = await _with_details(tx, page, wanted, part)
    if len(rest) <= limit:
        return Page(tuple(items), None)
    return Page(tuple(items), (f"{page[-1].dead_steps}:{page[-1].group.key}",))


def _place_of(cursor: Cursor) -> tuple[int, int] | None:
    if cursor is None:
        return None
    count, _, key = str(cursor[0]).partition(":")
    if not (count.isdecimal() and key.isdecimal()):
        raise InvalidField("page_token", "is not one that this server made")
    return -int(count), int(key)


def _asks_more(wanted: ExecutionFilter) -> bool:
    """Return whether more is asked of a dead step than an index has."""
    times = wanted.dead_after or wanted.dead_before, wanted.created_after or wanted.created_before
    return bool(
        wanted.statuses or wanted.error_contains or wanted.has_other_conditions or all(times)
    )


def _range_arguments(wanted: ExecutionFilter, part: Range, *, by_time: bool) -> dict[str, object]:
    if by_time:
        asked = dead_arguments(wanted)
        return {name: asked[name] for name in ("died_from", "died_before")}
    return {
        "before": part.before.created_at,
        "before_key": part.before.execution_key,
        "created_from": part.created_from,
    }


async def _count(
    tx: Tx, groups: Sequence[Group], wanted: ExecutionFilter, part: Range
) -> list[_Count]:
    """Count the dead steps of groups that a filter matches, or look at some of each."""
    keys = [group.key for group in groups]
    if _asks_more(wanted):
        most = max(_LOOKED_AT // len(groups), 1)
        rows = await tx.fetch(
            _LOOK.text,
            *_LOOK.arguments(
                group_keys=keys,
                most=most,
                statuses=[status.value for status in part.statuses],
                **_range_arguments(wanted, part, by_time=False),
                **plain_arguments(wanted),
                **dead_arguments(wanted),
            ),
        )
        return [
            _Count(groups[n - 1], fitting, looked >= most, samples or ())
            for n, looked, fitting, samples in rows
        ]
    by_time = bool(wanted.dead_after or wanted.dead_before)
    statement = _COUNT_BY_TIME if by_time else _COUNT_IN_ORDER
    most = min(max(_COUNTED // len(groups), 1), _MOST_OF_ONE)
    arguments = _range_arguments(wanted, part, by_time=by_time)
    rows = await tx.fetch(
        statement.text, *statement.arguments(group_keys=keys, most=most + 1, **arguments)
    )
    return [
        _Count(group, min(row[0], most), row[0] > most, None)
        for group, row in zip(groups, rows, strict=True)
    ]


async def _with_details(
    tx: Tx, page: Sequence[_Count], wanted: ExecutionFilter, part: Range
) -> list[ErrorGroup]:
    """Add when errors of the groups were seen, and some executions."""
    if not page:
        return []
    by_time = bool(wanted.dead_after or wanted.dead_before) and page[0].samples is None
    statement = _DETAILS_BY_TIME if by_time else _DETAILS_IN_ORDER
    arguments = _range_arguments(wanted, part, by_time=by_time)
    keys = [one.group.key for one in page]
    rows = await tx.fetch(statement.text, *statement.arguments(group_keys=keys, **arguments))
    samples = [
        list(dict.fromkeys(row[2] if one.samples is None else one.samples))[:_SAMPLES]
        for one, row in zip(page, rows, strict=True)
    ]
    names = await _execution_ids(tx, [key for each in samples for key in each])
    return [
        ErrorGroup(
            one.group.error_group_id,
            one.group.task_name,
            one.group.step_name,
            one.group.type,
            one.group.template,
            one.dead_steps,
            one.is_lower_bound,
            row[0],
            row[1],
            tuple(names[key] for key in keys_of_one),
        )
        for one, row, keys_of_one in zip(page, rows, samples, strict=True)
    ]


async def _execution_ids(connection: Connection, keys: Sequence[int]) -> dict[int, str]:
    """Return the ids of executions by their keys."""
    rows = await connection.fetch(
        "SELECT e.execution_key, e.execution_id FROM unnest($1::bigint[]) u(execution_key)"
        " CROSS JOIN LATERAL (SELECT execution_key, execution_id FROM zart.executions"
        " WHERE execution_key = u.execution_key OFFSET 0) e",
        keys,
    )
    return {row[0]: row[1] for row in rows}
