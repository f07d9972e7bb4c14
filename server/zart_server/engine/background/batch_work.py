"""One piece of work on a batch, in one transaction: items are written down, or they are done.

An item's status is written with what was done to it, and the totals of the batch with both: whoever
dies, each item is done once or not at all.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, TypeAlias

from zart_server.domain.batches import Batch, BatchKind, BatchPauseCause, BatchStatus
from zart_server.domain.errors import InvalidField, NotFound, TooManyItems
from zart_server.domain.operations import OperationKind, Refusal
from zart_server.domain.pacing import seconds_until_next, whole_steps
from zart_server.engine.background.batch_judging import Judged, failures_left, is_unjudged
from zart_server.engine.operations.do_items import do_items, one_of_each_execution
from zart_server.engine.operations.prepare_batch import RefusalOf, prepare_piece, refused_attempt
from zart_server.store.batches.items import PendingItem, pending_items, write_results
from zart_server.store.batches.rows import record_batch
from zart_server.store.batches.states import (
    Taken,
    advance,
    end_preparing,
    set_cancelled,
    set_paused,
    take_batch,
)
from zart_server.store.connection import Tx
from zart_server.store.db import Database
from zart_server.store.operation_attempts import record_attempts
from zart_server.store.patience import at_most

# Locked executions and runs are passed over; rows of their queue, leases and steps are waited for.
# All other batches wait meanwhile, and whoever wants what the piece has locked.
_BRIEFLY = at_most(0.3)  # seconds

Result: TypeAlias = "tuple[PendingItem, Refusal | None]"


class DoneItems(NamedTuple):
    """The items of a batch that a piece is over with, and the trace that the batch belongs to.

    ``begun_ns``: when the piece began, in nanoseconds since 1970.
    """

    batch_id: str
    kind: BatchKind
    traceparent: str
    begun_ns: int
    results: Sequence[Result]


OnDone: TypeAlias = Callable[[DoneItems], Awaitable[None]]


class Progress(NamedTuple):
    """What a piece came to. ``wait`` is for how long to leave the batch alone, in seconds.

    ``last_item`` is the one after which the next piece begins, 0: it was the end; ``left`` how many
    items are to be tried again, since others had locked their executions; ``is_over``: nothing is
    left to do before somebody acts; ``is_unjudged``: nothing is done before its failures are
    counted; ``judged``: what it was judged by, as that holds for the next piece; ``traced``: what
    is over, if the batch belongs to a trace.
    """

    passed: int = 0
    last_item: int = 0
    left: int = 0
    wait: float = 0.0
    is_over: bool = False
    is_preparing: bool = False
    is_unjudged: bool = False
    judged: Judged | None = None
    traced: DoneItems | None = None
    has_pace: bool = False


class Asked(NamedTuple):
    """What is wanted of a piece: items after one, at most so many; or so many executions prepared.

    ``judged`` says whether there are too many failures, by the last count. ``refusal``: the item
    ``refused_item`` is refused for that if it is alone, or a batch cancelled that is being
    prepared.
    """

    after: int
    limit: int
    executions: int
    judged: Judged | None
    refusal: Refusal | None = None
    refused_item: int | None = None


class ItemFailed(Exception):
    """An item failed, alone in its piece, for a ``why`` that is no refusal."""

    def __init__(self, item_no: int, why: Exception) -> None:
        super().__init__(f"item {item_no}")
        self.item_no = item_no
        self.why = why


async def work_on(
    db: Database, batch_key: int, asked: Asked, refusal_of: RefusalOf
) -> Progress | None:
    """Do one piece; None if another server is at work on the batch, or it is over.

    Raises ItemFailed where a piece of one item failed in any way, else what made it fail.
    """
    tried: list[PendingItem] = []
    try:
        async with db.transaction(first=_BRIEFLY) as tx:
            taken = await take_batch(tx, batch_key)
            if taken is None:
                return None
            if not taken.row.is_prepared and asked.refusal is not None:
                await _cancel(tx, taken, asked.refusal.message)
                return Progress(is_over=True)
            if not taken.row.is_prepared:
                is_last = await prepare_piece(tx, taken.row, asked.executions, refusal_of)
                if is_last:
                    await _begin(tx, batch_key)
                return Progress(is_preparing=True)
            return await _do(tx, taken, asked, tried, refusal_of)
    except (TooManyItems, InvalidField, NotFound) as error:  # it cannot be prepared
        await _give_up(db, batch_key, error.message)
        return Progress(is_over=True)
    except Exception as error:
        if len(tried) == 1:
            raise ItemFailed(tried[0].item_no, error) from error
        raise


async def _begin(tx: Tx, batch_key: int) -> None:
    """Have the items of a batch done that is prepared."""
    await end_preparing(tx, batch_key)
    tx.changes.batches = True


async def _give_up(db: Database, batch_key: int, why: str) -> None:
    async with db.transaction() as tx:
        taken = await take_batch(tx, batch_key)
        if taken is not None:
            await _cancel(tx, taken, why)


async def _cancel(tx: Tx, taken: Taken, why: str) -> None:
    batch = taken.row.batch
    await set_cancelled(tx, taken.row.batch_key, why)
    await _record(tx, OperationKind.CANCEL_BATCH, batch)


async def _do(
    tx: Tx, taken: Taken, asked: Asked, tried: list[PendingItem], refusal_of: RefusalOf
) -> Progress:
    """Do as many items as may be done now, unless too many ended badly again by what is known.

    They are ``tried`` from then on.
    """
    row, batch = taken.row, taken.row.batch
    if is_unjudged(row, asked.judged):
        return Progress(is_unjudged=True)
    bearable, judged = await failures_left(tx, row, asked.judged)
    if bearable is not None and bearable <= 0:
        await set_paused(tx, row.batch_key, BatchPauseCause.MAX_FAILURES)
        await _record(tx, OperationKind.PAUSE_BATCH, batch)
        return Progress(is_over=True)
    bounds = [asked.limit, row.canary_left, bearable]
    if taken.credit is not None:
        bounds.append(whole_steps(taken.credit))
    begun_ns = time.time_ns()
    limit = min(bound for bound in bounds if bound is not None)
    if limit <= 0:
        wait = seconds_until_next(taken.credit or 0.0, batch.pace.rate_per_second or 1.0)
        return Progress(last_item=asked.after, wait=wait, judged=judged, has_pace=True)
    pending = await pending_items(tx, row.batch_key, asked.after, limit)
    items, others = one_of_each_execution(pending)
    tried += items
    done = await _results(tx, taken, items, asked, refusal_of)
    status = BatchStatus.RUNNING
    if done:
        status = await _advance(tx, taken, done)
    last_item = pending[-1].item_no if len(pending) == limit else 0
    traced = None
    if row.traceparent is not None:
        kind = batch.operation.kind
        traced = DoneItems(batch.batch_id, kind, row.traceparent, begun_ns, done)
    return Progress(
        passed=len(done),
        last_item=others[0].item_no - 1 if others else last_item,
        left=len(items) - len(done),
        is_over=status is not BatchStatus.RUNNING,
        judged=judged,
        traced=traced,
        has_pace=taken.credit is not None,
    )


async def _results(
    tx: Tx, taken: Taken, items: Sequence[PendingItem], asked: Asked, refusal_of: RefusalOf
) -> list[Result]:
    """Do the operation to items, and return those with which that is over."""
    if asked.refusal is not None and [item.item_no for item in items] == [asked.refused_item]:
        return [(items[0], asked.refusal)]
    batch = taken.row.batch
    done = await do_items(tx, batch, items, wait=False)
    return [(item, None if error is None else refusal_of(error)) for item, error in done]


async def _advance(tx: Tx, taken: Taken, done: Sequence[Result]) -> BatchStatus:
    """Write what became of items, and what the batch is by that."""
    batch = taken.row.batch
    refused = [(item, why) for item, why in done if why is not None]
    await write_results(tx, taken.row.batch_key, done)
    if refused:
        await record_attempts(
            tx,
            [
                refused_attempt(batch, why, item.execution_id, item.run_number, item.step_name)
                for item, why in refused
            ],
        )
    status, cause = BatchStatus.RUNNING, None
    if len(done) == batch.counts.left:
        status = BatchStatus.COMPLETED
    elif len(done) == taken.row.canary_left:
        status, cause = BatchStatus.PAUSED, BatchPauseCause.CANARY
        await _record(tx, OperationKind.PAUSE_BATCH, batch)
    await advance(tx, taken, len(done) - len(refused), len(refused), status, cause)
    tx.changes.batches = True
    return status


async def _record(tx: Tx, kind: OperationKind, batch: Batch) -> None:
    """Record what a batch did to itself, as its creator's."""
    await record_batch(tx, kind, batch.batch_id, batch.caller)
    tx.changes.batches = True
