"""CreateBatch: freezes what is selected; the servers then do the operation to each item."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import datetime

from zart_server.domain.batch_plans import refused_for
from zart_server.domain.batches import (
    MOST_ITEMS,
    BatchPlan,
    CreateBatch,
    CreatedBatch,
    PlanKind,
    Selection,
)
from zart_server.domain.commands import Caller
from zart_server.domain.errors import (
    BatchNotFound,
    ExecutionNotFound,
    FilterTooBroad,
    InvalidField,
    NothingSelected,
    TooManyItems,
)
from zart_server.domain.filters import NEEDS_SINCE
from zart_server.domain.operations import OperationKind
from zart_server.domain.plans import PlanToken, decided
from zart_server.domain.short_ids import short_id
from zart_server.engine.operations.plans import judge_plan
from zart_server.engine.operations.prepare_batch import RefusalOf, find_piece, prepare_piece
from zart_server.store.batches.counting import SelectedKind, count_items
from zart_server.store.batches.earlier import let_earlier_end
from zart_server.store.batches.left_out import find_without_dead
from zart_server.store.batches.rows import (
    BatchRow,
    insert_batch,
    is_being_prepared,
    read_batch,
    record_batch,
)
from zart_server.store.batches.selecting import Found
from zart_server.store.batches.states import end_preparing
from zart_server.store.clock import read_clock
from zart_server.store.connection import Tx
from zart_server.store.definitions import find_definitions

_FIRST = 1_000  # executions: most batches are prepared when they are created
_PIECE = 10_000
_SAMPLE = 5
# Seconds that a plan waits for what was on its way when it was made. What takes longer, as behind a
# Pause that waits, may be taken by the plan though it did not see it.
_EARLIER = 2.0


async def create_batch(
    tx: Tx, command: CreateBatch, caller: Caller, refusal_of: RefusalOf
) -> CreatedBatch:
    """Create a batch, prepared if it is small; or tell what it would do.

    With the token of a plan it takes only what matched at the moment of the plan. Raises
    PlanChanged, NothingSelected, FilterTooBroad or TooManyItems, and InvalidField if it selects by
    a batch that is still being prepared.
    """
    planning = command.planning
    token = await judge_plan(tx, planning, decided()) if planning else ""
    if planning.token is None:  # it was not too long ago for the plan
        await _refuse_long_ago(tx, command.selection)
    await _refuse_growing(tx, command.selection)
    if planning.validate_only:
        as_of = PlanToken.of_text(token).made_at
        await let_earlier_end(tx, as_of, _EARLIER)
        return CreatedBatch(None, await _plan(tx, command, as_of), token)
    batch_id = short_id("ba")
    planned_at = None if planning.token is None else planning.token.made_at
    await insert_batch(tx, batch_id, command, planned_at, caller)
    row = await read_batch(tx, batch_id)
    while row is not None and not row.is_prepared and not row.batch.counts.selected:
        # A batch of nothing is none. What is selected may begin after pieces in which nothing is.
        await prepare_piece(tx, row, _FIRST, refusal_of)
        row = await read_batch(tx, batch_id)
    if row is None:
        raise BatchNotFound(batch_id)
    counts = row.batch.counts
    if counts.selected == counts.refused and not await _is_any_left(tx, command, row):
        raise NothingSelected(_told(command.selection))
    if row.is_prepared:
        await end_preparing(tx, row.batch_key)
        row = await read_batch(tx, batch_id) or row
    await record_batch(tx, OperationKind.CREATE_BATCH, batch_id, caller)
    tx.changes.batches = True
    return CreatedBatch(row.batch)


async def _refuse_long_ago(tx: Tx, selection: Selection) -> None:
    """Refuse to select by who started executions longer ago than that is told.

    Here and not before: a repeat of what was done is answered, whenever it comes.
    """
    wanted = selection.filter
    if wanted is not None and wanted.triggered_by and wanted.needs_since(await read_clock(tx)):
        raise FilterTooBroad("selection.filter.created_after", NEEDS_SINCE)


async def _refuse_growing(tx: Tx, selection: Selection) -> None:
    """Refuse to select by a batch that may still get items, as nothing tells when they came.

    Once a batch is prepared it stays so: nobody has to look again.
    """
    batch_id = "" if selection.filter is None else selection.filter.batch_id
    if batch_id and await is_being_prepared(tx, batch_id):
        field = "selection.filter.batch_id"
        raise InvalidField(field, "is still being prepared: wait until it is")


async def _is_any_left(tx: Tx, command: CreateBatch, row: BatchRow) -> bool:
    """Return whether anything is selected by what of a batch is still to be prepared.

    Without writing it down: of many ids there may be none that is known.
    """
    if row.is_prepared:
        return False
    pieces = _pieces(tx, command, row.batch.as_of, row.prepared_until)
    async with aclosing(pieces):
        async for _, kinds in pieces:
            if kinds:
                return True
    return False


async def _pieces(
    tx: Tx, command: CreateBatch, as_of: datetime, begin: list[int | str] | None
) -> AsyncGenerator[tuple[Found, list[SelectedKind]]]:
    """Yield what is selected, from where a piece begins (None: the first), and count its items."""
    kind = command.operation.kind

    async def ids(first: int, count: int) -> Sequence[str]:
        return command.selection.execution_ids[first : first + count]

    while True:
        found, begin = await find_piece(tx, kind, command.selection, ids, begin, _PIECE, as_of)
        yield found, await count_items(tx, kind, found, as_of)
        if begin is None:
            return


async def _plan(tx: Tx, command: CreateBatch, as_of: datetime) -> BatchPlan:
    items: Counter[str] = Counter()
    samples: dict[str, list[str]] = {}
    executions = 0
    async for found, kinds in _pieces(tx, command, as_of, None):
        graphs = await find_definitions(tx, {one.definition_key for one in kinds})
        for one in kinds:
            graph = graphs[one.definition_key].graph
            why = refused_for(command.operation, one.state, graph)
            items[why] += one.items
            executions += one.executions
            samples.setdefault(why, []).extend(one.sample_execution_ids)
        refused = dict.fromkeys(found.unknown, ExecutionNotFound.reason)
        if found.are_named and command.operation.kind.is_of_steps:
            left_out = await find_without_dead(tx, found.run_keys, as_of)
            refused |= {run.execution_id: run.error.reason for run in left_out}
        items.update(refused.values())
        for id_, why in refused.items():
            if len(samples.setdefault(why, [])) < _SAMPLE:
                samples[why].append(id_)
        if items.total() > MOST_ITEMS:
            raise TooManyItems("selection", items.total(), MOST_ITEMS)
    return _told_plan(command.selection, executions, as_of, items, samples)


def _told_plan(
    selection: Selection,
    executions: int,
    as_of: datetime,
    items: Counter[str],
    samples: dict[str, list[str]],
) -> BatchPlan:
    if not executions:
        raise NothingSelected(_told(selection))
    kinds = tuple(
        PlanKind(why, count, tuple(samples[why][:_SAMPLE])) for why, count in items.most_common()
    )
    sample = [id_ for kind in kinds for id_ in kind.sample_execution_ids]
    return BatchPlan(executions, items.total(), as_of, kinds, tuple(sample[:_SAMPLE]))


def _told(selection: Selection) -> str:
    if selection.filter is not None:
        return "by filter"
    if selection.is_everything:
        return "of all executions"
    return f"of {len(selection.execution_ids)} execution_ids"
