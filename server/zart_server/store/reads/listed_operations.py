"""The statements that list operations: those of a table, by one of its indexes.

A page is read by one index, which has the order of the list, from the cursor on. Whatever else is
asked for is looked for among the first operations found there: so many are looked at, and no more,
so that a page costs the same however rare what it asks for is. It may be short, then.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import asyncpg

from zart_server.domain.operations import ListOperations, OperationKind, OperationStatus
from zart_server.store.connection import Connection
from zart_server.store.heavy_rows import first_of
from zart_server.store.statement import Statement

# What operations are found by, the rarest first; each has an index that begins with it.
_NAMES = ("batch_id", "breaker_id", "rule_id", "incident", "triggered_by", "principal")
DONE, ATTEMPTED = "operations", "operation_attempts"

# The kinds one by one: the index has the order of the list within each.
_OF_KINDS = """
    SELECT o.* FROM unnest(:kinds::text[]) k(kind) CROSS JOIN LATERAL (
        SELECT * FROM zart.{table}
        WHERE {condition}({columns}, operation_key) < ({values}, :before::bigint)
          AND ({columns}, operation_key) >= ({values}, :since::bigint)
        ORDER BY {order}, operation_key DESC LIMIT :looked::bigint
    ) o ORDER BY operation_key DESC LIMIT :looked
"""
_OF_NAME = """
    SELECT * FROM zart.{table}
    WHERE {condition}({name}, operation_key) < (:{name}::text, :before::bigint)
      AND ({name}, operation_key) >= (:{name}, :since::bigint)
    ORDER BY {name} DESC, operation_key DESC LIMIT :looked::bigint
"""
_ALL = """
    SELECT * FROM zart.{table}
    WHERE operation_key < :before::bigint AND operation_key >= :since::bigint
    ORDER BY operation_key DESC LIMIT :looked::bigint
"""
_FOUND = """
    WITH looked AS MATERIALIZED ({looked}), found AS (
        SELECT * FROM looked
        WHERE (:execution_id::text = '' OR execution_id = :execution_id)
          AND (:batch_id::text = '' OR batch_id = :batch_id)
          AND (:breaker_id::text = '' OR breaker_id = :breaker_id)
          AND (:rule_id::text = '' OR rule_id = :rule_id)
          AND (:incident::text = '' OR incident = :incident)
          AND (:triggered_by::text = '' OR triggered_by = :triggered_by)
          AND (:principal::text = '' OR principal = :principal)
          AND (:created_after::timestamptz IS NULL OR created_at >= :created_after)
          AND (:created_before::timestamptz IS NULL OR created_at < :created_before)
          AND (:with_items::boolean OR batch_id = '' OR kind LIKE '%\\_batch')
          AND kind = ANY(:kinds::text[]) AND {status} = ANY(:statuses::text[])
        ORDER BY operation_key DESC LIMIT :limit::bigint
    )
    -- One row at least. `until`: the last that was looked at, if others may follow.
    SELECT f.*, until FROM (
        SELECT CASE WHEN count(*) = :looked THEN min(operation_key) END AS until FROM looked
    ) l LEFT JOIN ({first}) f ON true
    ORDER BY operation_key DESC
"""
# What makes one heavy: each step of a run may be named in it, and who was at work on it.
_SIZE = {
    DONE: "COALESCE(octet_length(replaced::text), 0) + COALESCE(octet_length(made::text), 0)",
    ATTEMPTED: "COALESCE(octet_length(refusal::text), 0)",
}


def _lists(table: str) -> dict[str, Statement]:
    """Return the lists of a table by what the operations are found by."""
    is_done = table == DONE
    # Starts are most of what is done: the indexes are without them.
    condition = "kind <> 'start' AND " if is_done else ""
    by_execution = {
        "columns": "execution_id, kind",
        "values": ":execution_id::text, k.kind",
        "order": "execution_id DESC, kind DESC",
    }
    by_kind = {"columns": "kind", "values": "k.kind", "order": "kind DESC"}
    looked = {
        "execution_id": _OF_KINDS.format(table=table, condition="", **by_execution),
        **{
            name: _OF_NAME.format(table=table, name=name, condition=f"{name} <> '' AND {condition}")
            for name in _NAMES
        },
        "kind": _OF_KINDS.format(table=table, condition=condition, **by_kind),
        "key": _ALL.format(table=table),
    }
    status = "'done'" if is_done else "status"
    first = first_of("found", _SIZE[table], "operation_key DESC")
    return {
        f"{table} by {by}": Statement(_FOUND.format(looked=each, status=status, first=first))
        for by, each in looked.items()
    }


_LISTS = _lists(DONE) | _lists(ATTEMPTED)
# Each of its lookups is one of the primary key: it halves the keys that may be the first.
_FIRST_SINCE = {
    table: Statement(
        f"""
        WITH RECURSIVE narrowed(low, high) AS (
            SELECT (SELECT operation_key FROM zart.{table} WHERE operation_key >= 0
                    ORDER BY operation_key LIMIT 1),
                (SELECT operation_key + 1 FROM zart.{table} WHERE operation_key < {2**63 - 1}
                 ORDER BY operation_key DESC LIMIT 1)
            UNION ALL
            SELECT CASE WHEN is_earlier THEN o.operation_key + 1 ELSE low END,
                CASE WHEN is_earlier THEN high ELSE middle END
            FROM narrowed
            CROSS JOIN LATERAL (SELECT low + (high - low) / 2 AS middle OFFSET 0) m
            CROSS JOIN LATERAL (
                SELECT operation_key,
                    created_at < :time::timestamptz + :margin::interval AS is_earlier
                FROM zart.{table}
                WHERE operation_key >= m.middle ORDER BY operation_key LIMIT 1) o
            WHERE low < high
        )
        SELECT max(low) FROM narrowed
        """
    )
    for table in (DONE, ATTEMPTED)
}
# Keys are given out in the order of time, but for what was under way at one moment. Where the clock
# was set back some may be left out: a list without times has them all.
_UNDER_WAY = timedelta(minutes=1)
_LOOKED_AT = 5_000
_LOOKED_AT_OF_A_KIND = 1_000
_PASSED_OVER = 4
_OF_ONE_KIND_EACH = ("kind", "execution_id")  # what is found kind by kind


class Part(NamedTuple):
    """Operations of one table, newest first. Others may follow ``until``, if it is not None."""

    rows: Sequence[asyncpg.Record]
    until: int | None


async def read_part(
    connection: Connection,
    table: str,
    wanted: ListOperations,
    before: int,
    limit: int,
    page_bytes: int,
) -> Part:
    """Return the operations of one table before a key, newest first.

    Few where they have many bytes: those after the first that passes ``page_bytes`` are left out.
    """
    since = 0
    if wanted.created_after is not None:
        since = await first_since(connection, table, wanted.created_after, -_UNDER_WAY) or 0
    if wanted.created_before is not None:
        end = await first_since(connection, table, wanted.created_before, _UNDER_WAY)
        before = before if end is None else min(before, end)
    by, kinds = _found_by(table, wanted)
    statement = _LISTS[f"{table} by {by}"]
    names = {name: getattr(wanted, name) for name in _NAMES}
    rows = await connection.fetch(
        statement.text,
        *statement.arguments(
            **names,
            execution_id=wanted.execution_id,
            created_after=wanted.created_after,
            created_before=wanted.created_before,
            with_items=_has_items(wanted),
            kinds=kinds,
            statuses=wanted.statuses,
            before=before,
            since=since,
            looked=_most_looked_at(table, wanted, by, limit + 1),
            limit=limit + 1,
            page_bytes=page_bytes,
        ),
    )
    until = rows[0]["until"]
    found = [row for row in rows if row["operation_key"] is not None][:limit]
    if found and found[0]["n_rows"] > len(found):
        until = found[-1]["operation_key"]
    return Part(found, until)


def _found_by(table: str, wanted: ListOperations) -> tuple[str, Sequence[OperationKind]]:
    """Return by what the operations of a table are found, and of which kinds they are to be."""
    names = [name for name in _NAMES if getattr(wanted, name)]
    is_timed = wanted.created_after is not None or wanted.created_before is not None
    is_narrow = bool(names) or is_timed
    kinds = wanted.kinds or tuple(OperationKind)
    if table == DONE and is_narrow and not wanted.kinds:
        kinds = tuple(kind for kind in kinds if kind is not OperationKind.START)
    if wanted.execution_id:
        return "execution_id", kinds
    if table == DONE and OperationKind.START in kinds:  # which only the order of keys finds
        return "key", kinds
    if names:
        return names[0], kinds
    return "kind" if wanted.kinds or is_narrow else "key", kinds


def _has_items(wanted: ListOperations) -> bool:
    """Return whether what the items of batches are is listed, too."""
    return wanted.include_batch_items or bool(wanted.batch_id or wanted.execution_id)


def _most_looked_at(table: str, wanted: ListOperations, by: str, limit: int) -> int:
    """Return how many operations are looked at: what is asked for, if that is all there is."""
    others = [name for name in _NAMES if getattr(wanted, name) and name != by]
    is_timed = wanted.created_after is not None or wanted.created_before is not None
    has_kinds = bool(wanted.kinds) and by not in _OF_ONE_KIND_EACH
    has_statuses = table == ATTEMPTED and len(set(wanted.statuses) - {OperationStatus.DONE}) == 1
    if not (others or is_timed or has_kinds or has_statuses):
        # Among others there may be items of batches, which are passed over.
        return limit if _has_items(wanted) else max(limit, min(_PASSED_OVER * limit, 1_000))
    return _LOOKED_AT_OF_A_KIND if by in _OF_ONE_KIND_EACH else _LOOKED_AT


async def first_since(
    connection: Connection, table: str, time: datetime, margin: timedelta
) -> int | None:
    """Return the key that operations since a time begin with; None if there are none at all.

    The database adds the margin: it knows years before 1 and after 9999.
    """
    statement = _FIRST_SINCE[table]
    values = statement.arguments(time=time, margin=margin)
    found: int | None = await connection.fetchval(statement.text, *values)
    return found
