"""What has committed is answered, also where the counts that its answer has cannot be had."""

from __future__ import annotations

import asyncio

import pytest
from rig import Rig

from zart.v1 import admin_service_pb2 as pb
from zart_server.api.mutations.admin import update_pause_rule_mutation
from zart_server.api.mutations.mutations import Mutations
from zart_server.engine.dispatch.waiting_room import WaitingRoom
from zart_server.store.db import Database

_LOCKED = "LOCK TABLE zart.held IN ACCESS EXCLUSIVE MODE"


async def test_what_committed_is_answered_without_its_counts_and_a_repeat_has_them(
    rig: Rig, zart_database: str, caplog: pytest.LogCaptureFixture
) -> None:
    rule_id = (await rig.client.pause(task_name="t")).rule_id
    await rig.start("x", {"a": ()})
    asked = pb.UpdatePauseRuleRequest(rule_id=rule_id, request_id="r")
    asked.expires_in.seconds = 3600
    db = await Database.open(zart_database, pool_size=2)
    try:
        mutation = update_pause_rule_mutation(1.0)
        async with rig.locked(_LOCKED):
            answer = await Mutations(db, 1.0, WaitingRoom(1)).run(mutation, asked)
        assert answer.rule.HasField("expires_at")
        assert not answer.replayed
        assert not answer.rule.paused_steps
        assert "a UpdatePauseRule is answered without its counts: OperationTimeout" in caplog.text

        again = await Mutations(db, 30.0, WaitingRoom(1)).run(mutation, asked)
        assert again.rule.expires_at == answer.rule.expires_at
        assert again.replayed
        assert again.rule.paused_steps == 1
    finally:
        await asyncio.wait_for(db.close(), 30)
