"""Writes down what a batch selects as its items, in pieces."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TypeAlias

from zart_server.domain.batches import MOST_ITEMS, Batch, BatchKind, Selection
from zart_server.domain.errors import ExecutionNotFound, FilterTooBroad, TooManyItems, ZartError
from zart_server.domain.operations import OperationStatus, Refusal
from zart_server.store.batches.everything import find_all
from zart_server.store.batches.rows import BatchRow, ids_of
from zart_server.store.batches.selecting import (
    Found,
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
        (id_, refusal_of(ExecutionNotFound(id_, found.began_later.get(id_))))
        for id_ in found.unknown
    ]
    selected = await insert_items(
        tx,
        row.batch_key,
        row.last_item,
        batch.operation.kind,
        SelectedPiece(found, refused, until),
        batch.as_of,
    )
    if refused:
        await record_attempts(tx, [refused_attempt(batch, why, id_) for id_, why in refused])
    if selected > MOST_ITEMS:
        raise TooManyItems("selection", selected, MOST_ITEMS)
    return until is None


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
