"""Writes down what a batch selects as its items, in pieces."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TypeAlias

from zart_server.domain.batches import MOST_ITEMS, Batch, BatchKind, Selection
from zart_server.domain.errors import ExecutionNotFound, FilterTooBroad, TooManyItems, ZartError
from zart_server.domain.operations import OperationStatus, Refusal
from zart_server.store.batches.everything import find_all
from zart_server.store.batches.left_out import find_without_item
from zart_server.store.batches.rows import BatchRow, ids_of
from zart_server.store.batches.selecting import (
    Found,
    RefusedItem,
    SelectedPiece,
    find_by_filter,
    find_by_ids,
    insert_items,
)
from zart_server.store.connection import Connection, Tx
from zart_server.store.operation_attempts import OperationAttempt, record_attempts
from zart_server.store.reads.few_runs import batch_key_of

RefusalOf: TypeAlias = Callable[[ZartError], Refusal]
# Returns some of the ids that were selected: so many, beginning with one.
IdsOf: TypeAlias = Callable[[int, int], Awaitable[Sequence[str]]]


async def prepare_piece(tx: Tx, row: BatchRow, limit: int, refusal_of: RefusalOf) -> bool:
    """Write down the items of so many executions more; return whether that was the last piece.

    The caller has locked the batch. Raises TooManyItems.
    """
    batch = row.batch

    async def ids(begin: int, count: int) -> Sequence[str]:
        return await ids_of(tx, row.batch_key, begin, count)

    found, until = await find_piece(
        tx, batch.operation.kind, batch.selection, ids, row.prepared_until, limit, batch.as_of
    )
    refused = [
        RefusedItem(refusal_of(ExecutionNotFound(id_, found.began_later.get(id_))), id_)
        for id_ in found.unknown
    ]
    piece = SelectedPiece(found, refused, until)
    inserted = await insert_items(
        tx, row.batch_key, row.last_item, batch.operation.kind, piece, batch.as_of
    )
    left_out = await _left_out(tx, row, found, refusal_of)
    if left_out:
        piece = SelectedPiece(Found.of_runs(()), left_out, until)
        inserted = await insert_items(
            tx, row.batch_key, inserted.last_item, batch.operation.kind, piece, batch.as_of
        )
        refused += left_out
    if refused:
        await record_attempts(
            tx,
            [
                refused_attempt(
                    batch,
                    item.refusal,
                    item.execution_id,
                    None if item.run_key is None else item.run_number,
                )
                for item in refused
            ],
        )
    if inserted.selected > MOST_ITEMS:
        raise TooManyItems("selection", inserted.selected, MOST_ITEMS)
    return until is None


async def _left_out(
    tx: Tx, row: BatchRow, found: Found, refusal_of: RefusalOf
) -> list[RefusedItem]:
    """Return the items of what is named, and of which no step was selected just now."""
    if not found.are_named or not row.batch.operation.kind.is_of_steps:
        return []
    return [
        RefusedItem(refusal_of(run.error), run.execution_id, run.run_key, run.run_number)
        for run in await find_without_item(tx, row.batch_key, found.run_keys)
    ]


def refused_attempt(
    batch: Batch,
    why: Refusal,
    execution_id: str,
    run_number: int | None = None,
    step_name: str = "",
) -> OperationAttempt:
    """Return what is on record of an item that is refused."""
    return OperationAttempt(
        OperationStatus.REFUSED,
        batch.operation.kind.recorded_as,
        batch.caller,
        execution_id=execution_id,
        run_number=run_number,
        step_name=step_name,
        batch_id=batch.batch_id,
        refusal=why,
    )


async def find_piece(
    connection: Connection,
    kind: BatchKind,
    selection: Selection,
    ids: IdsOf,
    begin: list[int | str] | None,
    limit: int,
    as_of: datetime,
) -> tuple[Found, list[int | str] | None]:
    """Return a piece of what is selected, and where the next one begins; None: nowhere.

    Raises FilterTooBroad, PauseRuleNotFound, ErrorGroupNotFound or BatchNotFound.
    """
    if selection.filter is not None:
        try:
            found = await find_by_filter(connection, selection.filter, kind, begin, limit, as_of)
        except FilterTooBroad as error:  # it stands in the selection here
            raise FilterTooBroad(f"selection.{error.field}", error.description) from None
        if selection.filter.batch_id:  # it was there before; if it still is, all of it was read
            await batch_key_of(connection, selection.filter.batch_id)
        return found
    if selection.is_everything:
        return await find_all(connection, kind, begin, limit)
    first = 0 if begin is None else int(begin[0])
    some = await ids(first, limit)
    following: list[int | str] | None = [first + limit] if len(some) == limit else None
    return await find_by_ids(connection, some, as_of), following
