"""An item of a batch that fails as nothing should is refused once it has failed alone; no other is."""

from __future__ import annotations

import asyncio

from batching import by_hand, check_totals, dead_steps
from rig import Rig
from waiting import GIVE_UP

import zart
from zart.testing.server import ServerUnderTest

FAIL_ONE = """
    CREATE FUNCTION fail_one() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.execution_id = 'x-1' THEN
            RAISE EXCEPTION 'no' USING ERRCODE = '22012';
        END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER fail_one BEFORE INSERT ON zart.operations
        FOR EACH ROW EXECUTE FUNCTION fail_one();
"""


async def test_what_another_server_has_refused_meanwhile_costs_no_other_item(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    await dead_steps(rig.client, 4)
    await rig.db.execute(FAIL_ONE)
    async with by_hand(zart_server) as first, by_hand(zart_server) as second:
        batch_id = (await rig.client.create_batch(zart.RetryStep(), everything=True)).batch_id
        await second.until_failed(2)
        async with asyncio.timeout(GIVE_UP):
            while (await rig.client.get_batch(batch_id)).counts.refused == 0:
                await first.turn()
        await second.turn()
    items = await rig.client.list_batch_items(batch_id)
    assert {item.execution_id: item.status.value for item in items} == {
        "x-0": "DONE",
        "x-1": "REFUSED",
        "x-2": "DONE",
        "x-3": "PENDING",
    }
    await check_totals(rig.db, batch_id)


async def test_failures_of_several_items_do_not_add_up(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    await dead_steps(rig.client, 3)
    await rig.db.execute(FAIL_ONE)
    async with by_hand(zart_server) as hand:
        batch_id = (await rig.client.create_batch(zart.RetryStep(), everything=True)).batch_id
        await hand.until_failed(1)
        hand.here.failed_item = 1  # as if it had been the one before
        await hand.turn()
        assert (hand.here.failed, hand.here.failed_item) == (1, 2)
    assert (await rig.client.get_batch(batch_id)).counts.refused == 0
