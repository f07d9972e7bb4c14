"""The pieces in which batches are prepared and done: their size, their locks, their turns."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest
from batching import check_totals, dead_steps, load_runs, until_batch
from patient import patient_database
from rig import Rig, eventually

import zart
from zart.errors import FilterTooBroad
from zart.testing.server import ServerUnderTest
from zart_server.domain.batches import BatchKind
from zart_server.engine.background.batch_work import DoneItems
from zart_server.engine.background.batches import rest_after
from zart_server.store.batches.rows import batch_of_key, read_batch
from zart_server.store.batches.selecting import SelectedPiece, find_by_ids, insert_items


async def test_steps_of_one_execution_are_done_in_transactions_of_their_own(rig: Rig) -> None:
    for name in ("x", "y"):
        await rig.start(name, {"a": (), "b": (), "c": ()})
    await rig.work(fail=["a", "b", "c"])
    dead = zart.ExecutionFilter(step_statuses=["DEAD"])
    created = await rig.client.create_batch(zart.CompleteStep(1), filter=dead)
    await until_batch(rig.client, created.batch_id, "COMPLETED")
    done = await rig.db.fetch(
        "SELECT execution_id, count(*), count(DISTINCT xmin::text) FROM zart.batch_items GROUP BY 1"
    )
    assert sorted(map(tuple, done)) == [("x", 3, 3), ("y", 3, 3)]
    await check_totals(rig.db, created.batch_id)


# PostgreSQL has cancelled a statement; or it has ended a connection that was silent for too long.
@pytest.mark.parametrize("code", ["57014", "57P05"])
async def test_a_piece_that_takes_too_long_is_tried_as_a_smaller_one(rig: Rig, code: str) -> None:
    await load_runs(rig, 3_500, "completed")
    await rig.db.execute(
        f"""
        CREATE FUNCTION too_long() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF (SELECT count(*) FROM new_rows) > 1000 THEN
                RAISE EXCEPTION 'too long' USING ERRCODE = '{code}';
            END IF;
            RETURN NULL;
        END $$;
        CREATE TRIGGER too_long AFTER INSERT ON zart.batch_items
            REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION too_long();
        """
    )
    created = await rig.client.create_batch(zart.Restart(), everything=True, canary=1)
    batch = await until_batch(rig.client, created.batch_id, "PAUSED")
    assert batch.counts.selected == 3_500


async def test_counting_failures_keeps_nobody_waiting(rig: Rig) -> None:
    await dead_steps(rig.client, 3)
    created = await rig.client.create_batch(
        zart.RetryStep(), everything=True, rate_per_second=0.01, max_failures=2
    )

    async def is_one_done() -> bool:
        return (await rig.client.get_batch(created.batch_id)).counts.done == 1

    await eventually(is_one_done)
    async with rig.locked("LOCK TABLE zart.steps IN ACCESS EXCLUSIVE MODE"):
        await rig.until_waiting()
        paused = await rig.client.pause_batch(created.batch_id)
    assert paused.status == "PAUSED"


async def test_each_of_many_batches_has_its_turn(rig: Rig) -> None:
    await dead_steps(rig.client, 2)
    slow = await rig.client.create_batch(zart.RetryStep(), everything=True, rate_per_second=0.01)
    # As many beside it as are looked at in one turn, all of them older than the next.
    await rig.db.execute(
        """
        INSERT INTO zart.batches (batch_id, operation, selection, as_of, created_by, principal,
            reason, incident, status, is_prepared, selected)
        SELECT 'ba-' || n, operation, selection, as_of, '', '', '', '', 'running', true, 1
        FROM zart.batches, generate_series(1, 100) n WHERE batch_id = $1
        """,
        slow.batch_id,
    )
    await rig.start("y", {"a": ()})
    created = await rig.client.create_batch(zart.CancelExecution(), execution_ids=["y"])
    batch = await until_batch(rig.client, created.batch_id, "COMPLETED")
    assert batch.counts.done == 1


async def test_a_field_to_add_is_named_where_it_stands(rig: Rig) -> None:
    await load_runs(rig, 10_001, "running")
    running = zart.ExecutionFilter(step_statuses=["RUNNING"])
    with pytest.raises(FilterTooBroad) as listed:
        await rig.client.list_executions(running)
    assert listed.value.metadata["field"] == "filter.task_name"
    with pytest.raises(FilterTooBroad) as created:
        await rig.client.create_batch(zart.FailStep("no"), filter=running)
    assert created.value.metadata["field"] == "selection.filter.task_name"


async def test_an_id_gone_on_while_it_is_written_down_is_an_item(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    await dead_steps(rig.client, 1)
    await dead_steps(rig.client, 1, "y")
    created = await rig.client.create_batch(zart.RetryStep(), execution_ids=["y-0"], canary=1)
    db = await patient_database(zart_server.database_url, pool_size=1)
    try:
        async with db.transaction() as tx:
            row = await read_batch(tx, created.batch_id)
            assert row is not None
            found = await find_by_ids(tx, ["x-0"], row.batch.as_of)
            await rig.client.restart("x-0")
            piece = SelectedPiece(found, (), None)
            kind, as_of = BatchKind.RETRY_STEP, row.batch.as_of
            selected, _ = await insert_items(tx, row.batch_key, row.last_item, kind, piece, as_of)
            assert selected == row.batch.counts.selected + 1
            now = await batch_of_key(tx, row.batch_key)
            assert now is not None
            assert now.batch.counts.selected == selected
    finally:
        await db.close()


async def test_it_rests_after_its_pieces_as_long_as_others_work(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    batches = zart_server.running.runtime.batches

    async def turn() -> float:
        """Take a turn; return for how long it is to rest then, in seconds."""
        await batches.stop()  # what it does by itself would be in the way
        batches._rests_until = 0.0
        batches._here.clear()  # a batch with a pace has its turn later
        await batches.turn()
        return batches._rest

    async def rest() -> float:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(turn(), zart_server.loop))

    assert await rest() == 0
    await dead_steps(rig.client, 3)
    created = await rig.client.create_batch(zart.RetryStep(), everything=True, rate_per_second=0.01)
    assert await rest() == 0
    assert await rest() == 0
    assert [here.has_pace for here in batches._here.values()] == [True]
    await rig.client.update_batch(created.batch_id, rate_per_second=None)
    assert len(await rig.lease(1)) == 1
    assert await rest() > 0
    assert (await rig.client.get_batch(created.batch_id)).counts.done == 3


async def test_telling_what_is_done_is_no_work_on_the_batch(
    rig: Rig, zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = zart_server.running.runtime.batches
    told: list[tuple[float, int]] = []

    async def tell(done: DoneItems) -> None:
        """Take longer than a piece may."""
        begun = time.monotonic()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                await asyncio.Event().wait()
        [here] = batches._here.values()
        told.append((time.monotonic() - begun, here.limit))

    async def turns(until_told: int) -> float:
        """Take turns until so much was told, and return the seconds that the last one took."""
        await batches.stop()
        batches.on_done = tell
        while True:
            begun = time.monotonic()
            batches._rests_until = 0.0
            await batches.turn()
            if len(told) >= until_told:
                return time.monotonic() - begun

    async def taken(until_told: int) -> float:
        return await asyncio.wrap_future(
            asyncio.run_coroutine_threadsafe(turns(until_told), zart_server.loop)
        )

    await taken(0)
    await rig.start("x", {"a": (), "b": (), "c": ()})
    await rig.work(fail=["a", "b", "c"])
    await rig.start("alive", {"a": ()})
    monkeypatch.setenv("TRACEPARENT", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    # Of one execution, so that it takes three pieces.
    await rig.client.create_batch(zart.RetryStep(), execution_ids=["x"])
    await taken(1)
    assert len(await rig.lease(1)) == 1
    took = await taken(2)
    _, (seconds, limit) = told
    [here] = batches._here.values()
    assert 0 < batches._rest <= took - seconds
    assert limit == here.limit


def test_a_rest_is_as_long_as_the_work_and_bounded() -> None:
    assert rest_after(0.1) == 0.1
    assert rest_after(10) == 0.5


@pytest.mark.parametrize("worked", [0.01, 0.3, 0.45, 0.6, 0.89, 2.0])
def test_a_rest_costs_no_pace_its_credit(worked: float) -> None:
    """That is one second's worth at most: what is between two pieces is to be less than that."""
    rest = rest_after(worked, worked)
    assert 0 <= rest <= min(worked, 0.5)
    assert worked + rest <= max(worked, 0.9)
