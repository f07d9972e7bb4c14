"""A watch of a pause rule tells what changes, and ends as it was asked to."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, aclosing

import pytest
from ports import free_port
from rig import Rig, eventually

import zart
from zart.errors import InvalidField, PauseRuleNotFound
from zart.models import WatchedPauseRule
from zart.testing.server import ServerUnderTest, serving
from zart.v1 import admin_service_pb2, admin_service_pb2_grpc


class Seen:
    """What a watch has told so far."""

    def __init__(self, client: zart.Client, rule_id: str, until: str) -> None:
        self.told: list[WatchedPauseRule] = []
        self.task = asyncio.create_task(self._follow(client, rule_id, until))

    async def _follow(self, client: zart.Client, rule_id: str, until: str) -> None:
        async for rule in client.watch_pause_rule(rule_id, until=until):
            self.told.append(rule)

    async def until_told(self, **expected: object) -> None:
        """Wait until the last message is like that."""

        async def is_told() -> bool:
            if not self.told:
                return False
            return all(getattr(self.told[-1], name) == value for name, value in expected.items())

        await eventually(is_told)


async def test_it_tells_the_whole_state_then_what_changes_until_it_ends(rig: Rig) -> None:
    paused = await rig.client.pause(task_name="t", reason="why")
    seen = Seen(rig.client, paused.rule_id, "ended")
    await seen.until_told(paused_steps=0, running_steps=0, reason="why")
    await rig.start("x", {"a": ()})
    await seen.until_told(paused_steps=1)
    await rig.client.resume(rule_id=paused.rule_id, triggered_by="me")
    await seen.task

    last = seen.told[-1]
    assert last.rule is last
    assert (last.status, last.deleted_by, last.paused_steps) == ("RESUMED", "me", 0)
    assert all(one != other for one, other in zip(seen.told, seen.told[1:], strict=False))


async def test_it_tells_each_execution_that_is_exempt(rig: Rig) -> None:
    paused = await rig.client.pause(task_name="t")
    ids = [f"x-{n:03}" for n in range(150)]
    await rig.client.update_pause_rule(paused.rule_id, exempt=ids)
    seen = Seen(rig.client, paused.rule_id, "ended")
    await seen.until_told(exempt_execution_ids=tuple(ids))
    await rig.client.update_pause_rule(paused.rule_id, unexempt=ids[120:])
    await seen.until_told(exempt_execution_ids=tuple(ids[:120]))
    await rig.client.resume(rule_id=paused.rule_id)
    await seen.task


@pytest.mark.parametrize("until", ["drained", "ended"])
async def test_it_ends_at_once_where_that_is_so(rig: Rig, until: str) -> None:
    paused = await rig.client.pause(task_name="t")
    await rig.client.wait_drained(paused.rule_id)
    if until == "ended":
        await rig.client.resume(rule_id=paused.rule_id)
    told = [rule async for rule in rig.client.watch_pause_rule(paused.rule_id, until=until)]

    assert len(told) == 1


async def test_what_another_server_does_is_told(zart_database: str, rig: Rig) -> None:
    paused = await rig.client.pause(task_name="t")
    with serving(zart_database) as other:
        async with zart.connect(other.address) as elsewhere:
            seen = Seen(elsewhere, paused.rule_id, "ended")
            await seen.until_told(rule_id=paused.rule_id)
            await rig.client.resume(rule_id=paused.rule_id)
            await seen.task
    assert seen.told[-1].status == "RESUMED"


async def test_unknown_rules_and_wishes_are_refused(rig: Rig) -> None:
    with pytest.raises(PauseRuleNotFound):
        await rig.client.wait_drained("pr-none")
    with pytest.raises(InvalidField):
        await anext(aiter(rig.client.watch_pause_rule("")))
    stub = admin_service_pb2_grpc.AdminServiceStub(rig.client.channel)
    request = admin_service_pb2.WatchPauseRuleRequest(rule_id="pr-none")
    request.until = 9  # type: ignore[assignment]  # a value that a newer caller may know
    with pytest.raises(Exception, match="WatchUntil"):
        await anext(aiter(stub.WatchPauseRule(request)))


async def test_a_wait_has_an_end(rig: Rig, zart_server: ServerUnderTest) -> None:
    await rig.start("x", {"a": ()})
    await rig.lease(1, lease_duration=3600)
    paused = await rig.client.pause(task_name="t")
    with pytest.raises(TimeoutError):
        await rig.client.wait_drained(paused.rule_id, timeout=0.01)
    with zart.connect_sync(zart_server.address) as client, pytest.raises(TimeoutError):
        await asyncio.to_thread(client.wait_drained, paused.rule_id, timeout=0.01)


async def test_a_watch_goes_on_where_its_server_stops(zart_database: str, rig: Rig) -> None:
    await rig.start("x", {"a": ()})
    [task] = await rig.lease(1, lease_duration=3600)
    async with AsyncExitStack() as stack:
        with serving(zart_database, listen=f"127.0.0.1:{free_port()}") as first:
            client = await stack.enter_async_context(zart.connect(first.address))
            paused = await client.pause(task_name="t")
            seen = Seen(client, paused.rule_id, "drained")
            await seen.until_told(running_steps=1)
        with serving(zart_database, listen=first.address):
            await rig.complete(task)
            await seen.task
    assert seen.told[-1].is_drained


async def test_watches_count_as_calls_that_wait(zart_database: str, rig: Rig) -> None:
    paused = await rig.client.pause(task_name="t")
    with serving(zart_database, max_waiting_calls=1) as server:
        async with (
            zart.connect(server.address) as client,
            aclosing(client.watch_pause_rule(paused.rule_id)) as rules,
        ):
            await anext(rules)
            stub = admin_service_pb2_grpc.AdminServiceStub(client.channel)
            request = admin_service_pb2.WatchPauseRuleRequest(rule_id=paused.rule_id)
            with pytest.raises(Exception, match="as many calls"):
                await anext(aiter(stub.WatchPauseRule(request)))
