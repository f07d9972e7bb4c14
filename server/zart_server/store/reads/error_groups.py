"""Lists the kinds of errors that steps are dead of, those of the most steps first."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import asyncpg

from zart_server.domain.commands import Page
from zart_server.domain.errors import FilterTooBroad, InvalidField
from zart_server.domain.filters import ErrorGroup, ExecutionFilter
from zart_server.store.connection import Connection, Tx
from zart_server.store.reads.dead_groups import TooMany, expect_group, find_groups
from zart_server.store.reads.execution_pages import Cursor
from zart_server.store.reads.few_runs import batch_key_of
from zart_server.store.reads.group_counts import (
    DIED,
    IN_ORDER,
    SAMPLES,
    GroupTotal,
    by_group,
    count_groups,
    range_arguments,
)
from zart_server.store.reads.listed_runs import Range, range_of
from zart_server.store.statement import Statement

_GROUPS = 2_000


# Servers wrote down as the first time a moment after the death, once.
def _detailing(where: str, order: str) -> Statement:
    return Statement(f"""
        SELECT LEAST(e.first_seen, t.died_at), t.died_at, ARRAY(
            SELECT execution_key FROM zart.dead_steps WHERE {where}
            ORDER BY {order} LIMIT {4 * SAMPLES})
        FROM unnest(:group_keys::bigint[]) WITH ORDINALITY g(group_key, n) CROSS JOIN LATERAL (
            SELECT first_seen FROM zart.error_groups WHERE group_key = g.group_key OFFSET 0) e
        CROSS JOIN LATERAL (
            SELECT died_at FROM zart.dead_steps
            WHERE (group_key + 0, died_at) <= (g.group_key, 'infinity')
              AND (group_key + 0, died_at) >= (g.group_key, '-infinity')
            ORDER BY group_key + 0 DESC, died_at DESC LIMIT 1) t
        ORDER BY g.n
    """)


_DETAILS_IN_ORDER = _detailing(IN_ORDER, "group_key DESC, listed_at DESC, execution_key DESC")
_DETAILS_BY_TIME = _detailing(DIED, "group_key + 0 DESC, died_at DESC")


async def list_error_groups(
    tx: Tx, wanted: ExecutionFilter, cursor: Cursor, limit: int
) -> Page[ErrorGroup]:
    """List the groups that dead steps which a filter matches died of. ``tx`` is a snapshot.

    Raises FilterTooBroad, ErrorGroupNotFound or BatchNotFound.
    """
    batch_key = await batch_key_of(tx, wanted.batch_id) if wanted.batch_id else 0
    groups = await find_groups(tx, wanted, _GROUPS)
    if isinstance(groups, TooMany):
        raise _too_broad(wanted, groups)
    if not groups and wanted.error_group_id:
        await expect_group(tx, wanted.error_group_id)
    created = wanted.created_after, wanted.created_before
    part = await range_of(tx, wanted.task_name, wanted.statuses, created, None)
    if not groups or part is None:
        return Page((), (), None)
    after, most = _place_of(cursor)
    counts, most = await count_groups(tx, groups, wanted, part, batch_key=batch_key, most=most)
    # Of what cannot be told to have none, as only some were looked at, it is told that it may.
    told = by_group(one for one in counts if one.dead_steps or one.is_lower_bound)
    found = sorted(told, key=lambda one: one.place)
    rest = [one for one in found if after is None or one.place > after]
    page = rest[:limit]
    items = await _with_details(tx, page, wanted, part)
    cursors = tuple((f"{-one.place[0]}:{one.place[1]}:{most}",) for one in page)
    return Page(tuple(items), cursors, cursors[-1] if len(rest) > limit else None)


def _too_broad(wanted: ExecutionFilter, found: TooMany) -> FilterTooBroad:
    """Return the refusal: it asks for what the filter has not said yet, and what helps."""
    if found.looked_at is None:
        helpful = ["task_name", "step_pattern", "error_group_id"]
        why = f"more than {_GROUPS:,} groups match"
    else:  # a step's name has no fewer looked at
        helpful = ["task_name", "error_group_id"]
        why = f"more than {found.looked_at:,} kinds of errors would have to be looked at"
    for name in helpful:
        if not getattr(wanted, name):
            return FilterTooBroad(f"filter.{name}", f"is needed: {why}")
    if found.looked_at is None:
        return FilterTooBroad("filter.step_pattern", f"has to match fewer steps: {why}")
    return FilterTooBroad("filter.error_group_id", f"has to be one of fewer kinds: {why}")


def _place_of(cursor: Cursor) -> tuple[tuple[int, int] | None, int]:
    """Return the place of the last group before a page, and what groups were counted up to."""
    if cursor is None:
        return None, 0
    parts = str(cursor[0]).split(":")
    if len(parts) != 3 or not all(map(str.isdecimal, parts)):  # noqa: PLR2004 - its parts
        raise InvalidField("page_token", "is not one that this server made")
    count, key, most = map(int, parts)
    return (-count, key), most


async def _with_details(
    tx: Tx, page: Sequence[GroupTotal], wanted: ExecutionFilter, part: Range
) -> list[ErrorGroup]:
    """Add when errors of the groups were seen, and some executions."""
    if not page:
        return []
    kinds = [kind for one in page for kind in one.kinds]
    by_time = bool(wanted.dead_after or wanted.dead_before) and kinds[0].samples is None
    statement = _DETAILS_BY_TIME if by_time else _DETAILS_IN_ORDER
    arguments = range_arguments(wanted, part, by_time=by_time)
    keys = [kind.group.key for kind in kinds]
    rows = iter(await tx.fetch(statement.text, *statement.arguments(group_keys=keys, **arguments)))
    details = [list(itertools.islice(rows, len(one.kinds))) for one in page]
    samples = [_samples(one, found) for one, found in zip(page, details, strict=True)]
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
            min(row[0] for row in found),
            max(row[1] for row in found),
            tuple(names[key] for key in keys_of_one),
        )
        for one, found, keys_of_one in zip(page, details, samples, strict=True)
    ]


def _samples(total: GroupTotal, details: Sequence[asyncpg.Record]) -> list[int]:
    """Return the first executions of a group: of several kinds, those with the greatest keys."""
    of_kinds = [
        row[2] if kind.samples is None else kind.samples
        for kind, row in zip(total.kinds, details, strict=True)
    ]
    found = list(itertools.chain.from_iterable(of_kinds))
    if len(of_kinds) > 1:
        found.sort(reverse=True)
    return list(dict.fromkeys(found))[:SAMPLES]


async def _execution_ids(connection: Connection, keys: Sequence[int]) -> dict[int, str]:
    """Return the ids of executions by their keys."""
    rows = await connection.fetch(
        "SELECT e.execution_key, e.execution_id FROM unnest($1::bigint[]) u(execution_key)"
        " CROSS JOIN LATERAL (SELECT execution_key, execution_id FROM zart.executions"
        " WHERE execution_key = u.execution_key OFFSET 0) e",
        keys,
    )
    return {row[0]: row[1] for row in rows}
