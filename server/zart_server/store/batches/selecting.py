"""What a batch selects, found in pieces, and written down as its items.

A piece has nothing that came to match only after ``as_of``: a run that was not there then, a step
that died since. What matches no more is not found, so that there may be fewer, never more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from zart_server.domain.batches import BatchKind
from zart_server.domain.filters import ExecutionFilter
from zart_server.domain.operations import Refusal
from zart_server.store.connection import Connection, Tx
from zart_server.store.operations import to_text
from zart_server.store.reads.selected import select_page
from zart_server.store.statement import Statement

BatchCursor: TypeAlias = "list[int | str]"  # where a piece begins, as JSON


class Found(NamedTuple):
    """A piece of what is selected: current runs, and ids that no execution has, or had by then.

    ``began_later`` tells of these ids that an execution has when it began, by the database's clock.
    ``step_nos``: which step of each run is meant; None: those that are dead. ``are_named``: a run
    that is current no more is to be refused at its turn, since somebody has named its execution.
    """

    run_keys: list[int]
    unknown: list[str]
    step_nos: list[int | None]
    are_named: bool = False
    began_later: Mapping[str, datetime] = MappingProxyType({})

    @classmethod
    def of_runs(cls, run_keys: Sequence[int]) -> Found:
        """Return a piece of whole runs."""
        return cls(list(run_keys), [], [None] * len(run_keys))


_BY_IDS = Statement(
    """
    SELECT w.execution_id, r.run_key, e.created_at
    FROM unnest(:execution_ids::text[]) WITH ORDINALITY w(execution_id, n)
    LEFT JOIN LATERAL (
        SELECT execution_key, created_at FROM zart.executions
        WHERE executions.execution_id = w.execution_id OFFSET 0) e ON true
    LEFT JOIN LATERAL (
        SELECT run_key FROM zart.runs WHERE runs.execution_key = e.execution_key
          AND created_at <= :as_of::timestamptz
        ORDER BY run_number DESC LIMIT 1) r ON true
    ORDER BY w.n
    """
)


async def find_by_ids(
    connection: Connection, execution_ids: Sequence[str], as_of: datetime
) -> Found:
    """Return the runs of executions that were current then, and which ids no execution had.

    A run that was followed since by another is an item all the same, which is refused at its turn:
    what somebody has named is never left out without a word.
    """
    values = _BY_IDS.arguments(execution_ids=execution_ids, as_of=as_of)
    rows = await connection.fetch(_BY_IDS.text, *values)
    run_keys = [row[1] for row in rows if row[1] is not None]
    return Found.of_runs(run_keys)._replace(
        unknown=[row[0] for row in rows if row[1] is None],
        are_named=True,
        began_later={row[0]: row[2] for row in rows if row[1] is None and row[2] is not None},
    )


async def find_by_filter(
    connection: Connection,
    wanted: ExecutionFilter,
    kind: BatchKind,
    begin: BatchCursor | None,
    limit: int,
    as_of: datetime,
) -> tuple[Found, BatchCursor | None]:
    """Return a piece of what a filter selects, and where the next begins; raises as it does."""
    after = None if begin is None else int(begin[0])
    page = await select_page(connection, wanted, after, limit, as_of=as_of)
    following: BatchCursor | None = None if page.next_key is None else [page.next_key]
    if kind.is_of_steps:
        found = Found(
            [item.run_key for item in page.items], [], [item.step_no for item in page.items]
        )
    else:
        found = Found.of_runs(list(dict.fromkeys(item.run_key for item in page.items)))
    return found, following


# Of a step its run's definition knows the name.
_OF_STEPS = """
    CROSS JOIN LATERAL (
        SELECT step_no, status, completed_at, CASE WHEN status <> 'open' THEN attempt ELSE COALESCE(
            (SELECT t.attempt - (t.lease_token IS NULL)::integer FROM zart.tasks t
                WHERE t.run_key = steps.run_key AND t.step_no = steps.step_no OFFSET 0),
            (SELECT h.attempt - 1 FROM zart.held h
                WHERE h.run_key = steps.run_key AND h.step_no = steps.step_no OFFSET 0),
            attempt) END AS attempt
        FROM zart.steps
        WHERE steps.run_key = r.run_key AND step_no
            BETWEEN COALESCE(u.only_step, 0) AND COALESCE(u.only_step, 2147483647)
        ORDER BY step_no) s
    CROSS JOIN LATERAL (
        SELECT step_names[s.step_no + 1] AS step_name FROM zart.definitions
        WHERE definition_key = r.definition_key OFFSET 0) d
    WHERE (u.only_step IS NOT NULL
        OR (s.status = 'dead' AND s.completed_at <= :as_of::timestamptz))"""
_OF_EXECUTIONS = """
    CROSS JOIN (SELECT -1 AS step_no, NULL::integer AS attempt, '' AS step_name) s
    WHERE true"""


def _selected(of: str) -> str:
    """Return what is selected of current runs: their items, with their definition and status."""
    return f"""
        SELECT u.n, e.execution_id, r.execution_key, r.run_key, r.run_number, r.definition_key,
            r.status AS run_status, step_no, step_name, s.attempt
        FROM unnest(:run_keys::bigint[], :step_nos::integer[])
            WITH ORDINALITY u(run_key, only_step, n)
        CROSS JOIN LATERAL (
            SELECT execution_key, run_key, run_number, definition_key, status, is_current,
                created_at
            FROM zart.runs WHERE runs.run_key = u.run_key OFFSET 0) r
        CROSS JOIN LATERAL (
            SELECT execution_id FROM zart.executions
            WHERE executions.execution_key = r.execution_key OFFSET 0) e {of}
          AND (r.is_current OR :are_named::boolean) AND r.created_at <= :as_of::timestamptz
    """


# The items of a piece, :run_keys with their :step_nos.
SELECTED = {"steps": _selected(_OF_STEPS), "executions": _selected(_OF_EXECUTIONS)}
_INSERT = {
    name: Statement(
        f"""
        WITH selected AS MATERIALIZED ({selected}), items AS (
            INSERT INTO zart.batch_items (batch_key, item_no, execution_id, execution_key, run_key,
                run_number, step_no, step_name, attempt)
            SELECT :batch_key::bigint,
                :last_item::integer + row_number() OVER (ORDER BY n, step_no), execution_id,
                execution_key, run_key, run_number, step_no, step_name, attempt
            FROM selected
            ON CONFLICT (batch_key, execution_key, step_no) DO NOTHING
            RETURNING 1
        ), refused_items AS (
            INSERT INTO zart.batch_items (batch_key, item_no, execution_id, run_key, run_number,
                status, refusal, done_at)
            SELECT :batch_key, :last_item + (SELECT count(*) FROM selected) + row_number() OVER (),
                execution_id, run_key, run_number, 'refused', refusal, statement_timestamp()
            FROM json_to_recordset(:refused_items::text::json)
                u(execution_id text, run_key bigint, run_number integer, refusal json)
            RETURNING run_key
        ), prepared AS (
            UPDATE zart.batches SET selected = selected + (SELECT count(*) FROM items)
                    + (SELECT count(*) FROM refused_items),
                refused = refused + (SELECT count(*) FROM refused_items),
                failures_before = failures_before + CASE WHEN failures_before >= 0
                    THEN (SELECT count(run_key) FROM refused_items) ELSE 0 END,
                last_item = last_item + (SELECT count(*) FROM selected)
                    + (SELECT count(*) FROM refused_items),
                prepared_until = :until::text::json, is_prepared = :is_last::boolean
            WHERE batch_key = :batch_key
            RETURNING selected, last_item
        )
        SELECT selected, last_item FROM prepared
        """,
        locks=("batches, which the caller has locked",),
    )
    for name, selected in SELECTED.items()
}


class RefusedItem(NamedTuple):
    """An item that is refused from the first: an execution, or a run of which nothing is selected.

    Such a run is no failure that the batch bears, and its execution none that the batch selected:
    it has no key in the items.
    """

    refusal: Refusal
    execution_id: str
    run_key: int | None = None
    run_number: int = 0


class SelectedPiece(NamedTuple):
    """Runs whose items are to be written, and items that are refused from the first.

    ``until`` is where the next piece begins; None: this was the last.
    """

    found: Found
    refused: Sequence[RefusedItem]
    until: BatchCursor | None


class Inserted(NamedTuple):
    """How many items a batch has by now, and the number of the last one."""

    selected: int
    last_item: int


async def insert_items(
    tx: Tx,
    batch_key: int,
    last_item: int,
    kind: BatchKind,
    piece: SelectedPiece,
    as_of: datetime,
) -> Inserted:
    """Write down a piece as items, after the ``last_item``. The caller has locked the batch."""
    statement = _INSERT["steps" if kind.is_of_steps else "executions"]
    [row] = await tx.fetch(
        statement.text,
        *statement.arguments(
            batch_key=batch_key,
            last_item=last_item,
            run_keys=piece.found.run_keys,
            step_nos=piece.found.step_nos,
            are_named=piece.found.are_named,
            refused_items=to_text(
                [item._asdict() | {"refusal": asdict(item.refusal)} for item in piece.refused]
            ),
            until=None if piece.until is None else json.dumps(piece.until),
            is_last=piece.until is None,
            as_of=as_of,
        ),
    )
    return Inserted(*row)
