"""Batches: what they select, their items, and what became of these."""

from __future__ import annotations

from hot.administering import CALLER
from hot.explained import Explained
from hot.scenario import scenario
from zart_server.api.attempted import refusal_of
from zart_server.domain.batches import (
    BatchItemStatus,
    BatchKind,
    BatchOperation,
    BatchPauseCause,
    BatchStatus,
    CreateBatch,
    Pace,
    Selection,
)
from zart_server.domain.model import StepStatus
from zart_server.domain.operations import Refusal
from zart_server.engine.operations.create_batch import create_batch
from zart_server.engine.operations.do_items import do_items
from zart_server.store.batches.counting import count_items
from zart_server.store.batches.everything import find_all
from zart_server.store.batches.items import list_items, pending_items, write_results
from zart_server.store.batches.left_out import find_without_dead
from zart_server.store.batches.made import count_dead_again, count_outcomes
from zart_server.store.batches.rows import (
    batch_of_key,
    is_being_prepared,
    list_batches,
    lock_batch,
    read_batch,
)
from zart_server.store.batches.states import (
    advance,
    batches_at_work,
    change_pace,
    end_preparing,
    set_cancelled,
    set_failures_before,
    set_going,
    set_paused,
    take_batch,
)
from zart_server.store.supersede import find_gone

_ITEMS = 20
_IDS = tuple(f"x-{n}" for n in range(5, 5 * _ITEMS + 5, 5))  # each has a dead step


async def created(tx: Explained, kind: BatchKind, *ids: str) -> str:
    """Create a batch, and return its id."""
    command = CreateBatch(BatchOperation(kind), Selection(ids), Pace(10, 5, 5))
    done = await create_batch(tx.tx, command, CALLER, refusal_of)
    assert done.batch is not None
    # A piece is of a few of its items: most of a large batch is still to be done.
    await tx.sql.execute(
        "INSERT INTO zart.batch_items (batch_key, item_no, execution_id, execution_key, step_no)"
        " SELECT batch_key, 1000 + n, 'later-' || n, -n, 0"
        " FROM zart.batches, generate_series(1, 5000) n WHERE batch_id = $1",
        done.batch.batch_id,
    )
    return done.batch.batch_id


@scenario(5 * _ITEMS)
async def working_on_a_batch_of_steps(tx: Explained) -> None:
    batch_id = await created(tx, BatchKind.RETRY_STEP, *_IDS, "nobody")
    [key] = (await batches_at_work(tx.tx, 0, 100)).keys
    assert await batch_of_key(tx.tx, key) is not None
    assert not await is_being_prepared(tx.tx, batch_id)
    taken = await take_batch(tx.tx, key)
    assert taken is not None
    items = await pending_items(tx.tx, key, 0, _ITEMS)
    done = await do_items(tx.tx, taken.row.batch, items, wait=False)
    assert len(done) == len(items) == _ITEMS
    assert [error for _, error in done if error is not None] == []
    await write_results(tx.tx, key, [(item, None) for item, _ in done])
    await advance(tx.tx, taken, len(done), 0, BatchStatus.PAUSED, BatchPauseCause.CANARY)
    row = await read_batch(tx.tx, batch_id)
    assert row is not None
    steps = StepStatus.SCHEDULED, StepStatus.PAUSED
    page = await list_items(tx.tx, row, (BatchItemStatus.DONE,), steps, None, 100)
    assert len(page.items) == _ITEMS
    outcomes = await count_outcomes(tx.tx, key, BatchKind.RETRY_STEP)
    assert outcomes.scheduled + outcomes.paused == _ITEMS
    assert await count_dead_again(tx.tx, key, BatchKind.RETRY_STEP, 0, 5 * _ITEMS) == (0, 0)


@scenario(5 * _ITEMS)
async def listing_what_was_refused(tx: Explained) -> None:
    batch_id = await created(tx, BatchKind.RETRY_STEP, *_IDS)
    [key] = (await batches_at_work(tx.tx, 0, 100)).keys
    items = await pending_items(tx.tx, key, 0, _ITEMS)
    refusal = Refusal("STEP_NOT_DEAD", "FAILED_PRECONDITION", "it is not DEAD", {})
    await write_results(tx.tx, key, [(item, refusal) for item in items])
    row = await read_batch(tx.tx, batch_id)
    assert row is not None
    page = await list_items(tx.tx, row, (BatchItemStatus.REFUSED,), (), None, 100)
    assert len(page.items) == _ITEMS


@scenario(5 * _ITEMS)
async def working_on_a_batch_of_executions(tx: Explained) -> None:
    await created(tx, BatchKind.RESTART, *_IDS)
    [key] = (await batches_at_work(tx.tx, 0, 100)).keys
    taken = await take_batch(tx.tx, key)
    assert taken is not None
    items = await pending_items(tx.tx, key, 0, _ITEMS)
    assert await find_gone(tx.tx, [0, *(item.execution_key for item in items)]) == {0}
    await write_results(tx.tx, key, [(item, None) for item in items])
    outcomes = await count_outcomes(tx.tx, key, BatchKind.CANCEL_EXECUTION)
    assert outcomes.dead == _ITEMS
    found = await count_dead_again(tx.tx, key, BatchKind.CANCEL_EXECUTION, 0, _ITEMS)
    assert found == (_ITEMS, items[-1].item_no)


@scenario(5 * _ITEMS)
async def counting_on_amid_a_large_batch(tx: Explained) -> None:
    await created(tx, BatchKind.RESTART, *_IDS)
    [key] = (await batches_at_work(tx.tx, 0, 100)).keys
    await tx.sql.execute(
        "UPDATE zart.batch_items SET status = 'done', done_at = now() WHERE batch_key = $1", key
    )
    after = 2000
    found = await count_dead_again(tx.tx, key, BatchKind.RESTART, after, 5 * _ITEMS)
    assert found == (0, after + 5 * _ITEMS)


@scenario(5 * _ITEMS)
async def selecting_for_a_batch(tx: Explained) -> None:
    for kind in (BatchKind.RETRY_STEP, BatchKind.RESTART):
        found, following = await find_all(tx.tx, kind, None, _ITEMS)
        assert following is not None
        now = await tx.sql.fetchval("SELECT clock_timestamp()")
        assert await count_items(tx.tx, kind, found, now) or kind is BatchKind.RETRY_STEP
        _, following = await find_all(tx.tx, kind, following, _ITEMS)  # amid all of them
        assert following is not None
        await find_all(tx.tx, kind, [3, *following[1:]], _ITEMS)  # as former servers began


@scenario(5 * _ITEMS)
async def naming_what_has_no_dead_step(tx: Explained) -> None:
    names = *_IDS[: _ITEMS // 2], *(f"x-{n}" for n in range(1, _ITEMS // 2))
    batch_id = await created(tx, BatchKind.RETRY_STEP, *names)
    row = await read_batch(tx.tx, batch_id)
    assert row is not None
    assert row.batch.counts.refused
    keys = await tx.sql.fetch(
        "SELECT run_key FROM zart.runs JOIN zart.executions USING (execution_key)"
        " WHERE execution_id = ANY($1)",
        names,
    )
    found = await find_without_dead(tx.tx, [key for (key,) in keys], row.batch.as_of)
    assert len(found) == row.batch.counts.refused


@scenario(20)
async def changing_a_batch(tx: Explained) -> None:
    batch_id = await created(tx, BatchKind.RESTART, "x-1", "x-2")
    row = await lock_batch(tx.tx, batch_id)
    assert row is not None
    await set_paused(tx.tx, row.batch_key, BatchPauseCause.OPERATOR)
    await change_pace(tx.tx, row.batch_key, 5.0, 3)
    await set_going(tx.tx, row.batch_key, 1)
    await set_failures_before(tx.tx, row.batch_key, 0)
    await end_preparing(tx.tx, row.batch_key)
    await set_cancelled(tx.tx, row.batch_key)
    batch, _ = (await list_batches(tx.tx, (), None, 10)).items
    assert batch.status is BatchStatus.CANCELLED
