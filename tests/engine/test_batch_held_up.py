"""An item of a batch that does not get through, even alone, keeps no other item and no batch."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from batching import by_hand, check_totals, dead_steps, start_many, until_batch
from rig import Rig, eventually

import zart
from zart.testing.server import ServerUnderTest, serving

_RUN = """SELECT run_key FROM zart.runs JOIN zart.executions USING (execution_key)
    WHERE execution_id = 'x-1'"""
_TRIES = 20  # turns in which one that is only locked is tried several times
_WITHIN = 60.0  # seconds


@pytest.fixture
def zart_server(zart_database: str) -> Iterator[ServerUnderTest]:
    """A server whose statements have a second."""
    with serving(zart_database, statement_timeout=1.0) as server:
        yield server


async def hinder(rig: Rig, how: str) -> None:
    """Have this done before the operation of x-1 goes on record."""
    await rig.db.execute(
        f"""
        CREATE FUNCTION hinder() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.execution_id = 'x-1' THEN
                {how};
            END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER hinder BEFORE INSERT ON zart.operations
            FOR EACH ROW EXECUTE FUNCTION hinder();
        """
    )


async def items(rig: Rig, batch_id: str) -> dict[str, str]:
    """Return the items' statuses by execution."""
    found = await rig.client.list_batch_items(batch_id)
    return {item.execution_id: item.status.value for item in found}


async def until_done(rig: Rig, batch_id: str, count: int) -> None:
    """Wait until so many items of a batch are done."""

    async def are_done() -> bool:
        return (await rig.client.get_batch(batch_id)).counts.done == count

    await eventually(are_done, _WITHIN)


@pytest.mark.parametrize("table", ["queue", "leases", "steps"])
@pytest.mark.parametrize(
    "operation", [zart.CancelExecution(), zart.Restart(if_running="SUPERSEDE")]
)
async def test_what_is_locked_keeps_no_other(
    rig: Rig, operation: zart.CancelExecution | zart.Restart, table: str
) -> None:
    await start_many(rig.client, 4)
    if table == "leases":
        assert len(await rig.lease()) == 4
    await start_many(rig.client, 1, "y")
    lock = f"SELECT FROM zart.{table} WHERE run_key = ({_RUN}) FOR UPDATE"
    names = [f"x-{n}" for n in range(4)]
    async with rig.locked(lock):
        first = await rig.client.create_batch(operation, execution_ids=names)
        other = await rig.client.create_batch(operation, execution_ids=["y-0"])
        await until_done(rig, first.batch_id, 3)
        await until_batch(rig.client, other.batch_id, "COMPLETED", _WITHIN)
        assert await items(rig, first.batch_id) == dict.fromkeys(names, "DONE") | {"x-1": "PENDING"}
    batch = await until_batch(rig.client, first.batch_id, "COMPLETED", _WITHIN)
    assert (batch.counts.done, batch.counts.refused) == (4, 0)
    await check_totals(rig.db, first.batch_id)


async def test_what_is_only_locked_is_never_refused(rig: Rig, zart_server: ServerUnderTest) -> None:
    await start_many(rig.client, 3)
    async with by_hand(zart_server) as hand:
        async with rig.locked(f"SELECT FROM zart.queue WHERE run_key = ({_RUN}) FOR UPDATE"):
            created = await rig.client.create_batch(zart.CancelExecution(), everything=True)
            for _ in range(_TRIES):
                await hand.turn()
            assert await items(rig, created.batch_id) == {
                "x-0": "DONE", "x-1": "PENDING", "x-2": "DONE",
            }  # fmt: skip
        await hand.turn()
        await hand.turn()
    assert set((await items(rig, created.batch_id)).values()) == {"DONE"}


async def test_what_takes_too_long_each_time_is_refused_in_the_end(rig: Rig) -> None:
    await dead_steps(rig.client, 4)
    await hinder(rig, "PERFORM pg_sleep(10)")
    created = await rig.client.create_batch(zart.RetryStep(), everything=True)
    await until_done(rig, created.batch_id, 3)
    batch = await until_batch(rig.client, created.batch_id, "COMPLETED", _WITHIN)
    assert (batch.counts.done, batch.counts.refused) == (3, 1)
    [refused] = await rig.client.list_batch_items(created.batch_id, statuses=["REFUSED"])
    assert refused.execution_id == "x-1"
    assert refused.refusal is not None
    assert (refused.refusal.reason, refused.refusal.code) == (
        "OPERATION_TIMEOUT", "DEADLINE_EXCEEDED",
    )  # fmt: skip
    assert "took too long each of 3 times, and nothing was done" in refused.refusal.message
    assert await rig.statuses("x-1") == {"a": "DEAD"}
    await check_totals(rig.db, created.batch_id)


async def test_what_takes_too_long_for_a_while_is_done(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    await dead_steps(rig.client, 3)
    await hinder(rig, "PERFORM pg_sleep(10)")
    async with by_hand(zart_server, statement_timeout=1.0) as hand:
        created = await rig.client.create_batch(zart.RetryStep(), everything=True)
        await hand.turn()
        while hand.here.slow[2] < 2:
            await hand.turn()
        await rig.db.execute("DROP TRIGGER hinder ON zart.operations")
        while "PENDING" in (await items(rig, created.batch_id)).values():
            await hand.turn()
    assert set((await items(rig, created.batch_id)).values()) == {"DONE"}


async def test_what_loses_its_connection_keeps_no_other(rig: Rig) -> None:
    """As when PostgreSQL has ended it, having heard nothing of it for too long."""
    await dead_steps(rig.client, 4)
    await hinder(rig, "RAISE EXCEPTION 'no' USING ERRCODE = '57P05'")
    created = await rig.client.create_batch(zart.RetryStep(), everything=True)
    await until_done(rig, created.batch_id, 3)
    assert (await items(rig, created.batch_id))["x-1"] == "PENDING"
    await rig.db.execute("DROP TRIGGER hinder ON zart.operations")
    batch = await until_batch(rig.client, created.batch_id, "COMPLETED", _WITHIN)
    assert (batch.counts.done, batch.counts.refused) == (4, 0)
