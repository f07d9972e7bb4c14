"""Steps that are not moved back are told of by their rule's end, whatever else is resumed."""

from __future__ import annotations

from typing import cast

from rig import Rig
from waiting import eventually

from zart_server.store.connection import Connection
from zart_server.store.reads.standing import read_oldest_ended


async def test_other_rules_that_end_meanwhile_make_it_no_younger(rig: Rig) -> None:
    connection = cast("Connection", rig.db)
    stuck = await rig.client.pause(task_name="stuck")
    await rig.start("x", {"a": ()}, task="stuck")
    assert await read_oldest_ended(connection) == 0  # it stands
    async with rig.locked("SELECT FROM zart.runs FOR UPDATE"):  # of x
        await rig.client.resume(rule_id=stuck.rule_id)
        other = await rig.client.pause(task_name="other")
        await rig.start("y", {"a": ()}, task="other")
        first = await read_oldest_ended(connection)
        assert first > 0
        await rig.client.resume(rule_id=other.rule_id)

        async def is_moved() -> bool:
            return await rig.statuses("y") == {"a": "SCHEDULED"}

        await eventually(is_moved)
        assert await read_oldest_ended(connection) > first

    async def is_over() -> bool:
        return await read_oldest_ended(connection) == 0

    await eventually(is_over)
