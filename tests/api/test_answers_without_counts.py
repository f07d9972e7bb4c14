"""What has committed is answered, also where the counts that its answer has cannot be had."""

from __future__ import annotations

import asyncio

import pytest
from patient import patient_database
from rig import Rig, eventually
from waiting import GIVE_UP, until

from zart.v1 import admin_service_pb2 as pb
from zart_server.api.mutations import runner
from zart_server.api.mutations.admin import update_pause_rule_mutation
from zart_server.api.mutations.mutations import Mutations
from zart_server.engine.dispatch.waiting_room import WaitingRoom

_LOCKED = "LOCK TABLE zart.held IN ACCESS EXCLUSIVE MODE"


async def test_what_committed_is_answered_without_its_counts_and_a_repeat_has_them(
    rig: Rig,
    zart_database: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rule_id = (await rig.client.pause(task_name="t")).rule_id
    await rig.start("x", {"a": ()})
    asked = pb.UpdatePauseRuleRequest(rule_id=rule_id, request_id="r")
    asked.expires_in.seconds = 3600
    db = await patient_database(zart_database, pool_size=2)
    try:
        mutation = update_pause_rule_mutation(GIVE_UP)
        monkeypatch.setattr(runner, "_COUNTING", 0.3)  # the deed has all the time that it takes
        async with rig.locked(_LOCKED):
            answer = await Mutations(db, GIVE_UP, WaitingRoom(1)).run(mutation, asked)
        assert answer.rule.HasField("expires_at")
        assert not answer.replayed
        assert not answer.rule.paused_steps
        assert "a UpdatePauseRule is answered without its counts: OperationTimeout" in caplog.text

        monkeypatch.setattr(runner, "_COUNTING", GIVE_UP)
        again = await Mutations(db, GIVE_UP, WaitingRoom(1)).run(mutation, asked)
        assert again.rule.expires_at == answer.rule.expires_at
        assert again.replayed
        assert again.rule.paused_steps == 1
    finally:
        await asyncio.wait_for(db.close(), 30)


async def test_counts_that_wait_hold_few_connections(
    rig: Rig, zart_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_COUNTING", GIVE_UP)  # none gives up meanwhile
    rule_ids = [(await rig.client.pause(task_name=f"t{n}")).rule_id for n in range(3)]
    db = await patient_database(zart_database, pool_size=4)
    mutations, mutation = Mutations(db, GIVE_UP, WaitingRoom(1)), update_pause_rule_mutation(30.0)

    async def set_expiry(rule_id: str) -> pb.UpdatePauseRuleResponse:
        asked = pb.UpdatePauseRuleRequest(rule_id=rule_id)
        asked.expires_in.seconds = 3600
        return await mutations.run(mutation, asked)

    async def are_committed() -> bool:
        changed: int = await rig.db.fetchval("SELECT count(expires_at) FROM zart.pause_rules")
        return changed == len(rule_ids)

    try:
        async with rig.locked(_LOCKED):
            calls = [asyncio.create_task(set_expiry(rule_id)) for rule_id in rule_ids]
            await eventually(are_committed)
            # A count waits for the lock for ten seconds, and the others for that one.
            await until(lambda: db.in_use == 1, within=5.0)
        assert all(answer.rule.HasField("expires_at") for answer in await asyncio.gather(*calls))
    finally:
        await asyncio.wait_for(db.close(), 30)
