"""Whether too many items of a batch ended badly again is found out however many items there are."""

from __future__ import annotations

import asyncio
import math

import pytest
from batching import ByHand, by_hand, dead_steps, fail_all
from rig import Rig
from waiting import GIVE_UP

import zart
from zart.models import Batch
from zart.testing.server import ServerUnderTest
from zart_server.engine.background import batch_judging
from zart_server.engine.operations import resume_batch
from zart_server.store.batches.rows import UNCOUNTED


async def failures_before(rig: Rig) -> int:
    """Return how many failures of the batch do not count, since it was resumed."""
    found: int = await rig.db.fetchval("SELECT failures_before FROM zart.batches")
    return found


async def until_paused(rig: Rig, hand: ByHand, batch_id: str) -> Batch:
    """Take turns until the batch is paused, each of which is to judge."""
    async with asyncio.timeout(GIVE_UP):
        while (batch := await rig.client.get_batch(batch_id)).status != "PAUSED":
            await hand.turn()
            hand.here.judge_at = 0.0
    return batch


async def six_dead_again(rig: Rig, hand: ByHand) -> str:
    """Resume a batch that bears two failures, of whose items six are dead again; return its id."""
    created = await rig.client.create_batch(
        zart.RetryStep(), everything=True, canary=6, max_failures=2
    )
    await until_paused(rig, hand, created.batch_id)
    await rig.client.resume_batch(created.batch_id)
    assert await fail_all(rig.client) == 6
    return created.batch_id


async def test_failures_of_many_items_are_counted_in_ranges_before_anything_is_done(
    rig: Rig, zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resume_batch, "EXACT_OUTCOMES", 2)
    monkeypatch.setattr(batch_judging, "_AT_ONCE", 2)
    await dead_steps(rig.client, 8)
    async with by_hand(zart_server) as hand:
        created = await rig.client.create_batch(
            zart.RetryStep(), everything=True, canary=3, max_failures=2
        )
        await until_paused(rig, hand, created.batch_id)
        assert await fail_all(rig.client) == 3
        await rig.client.resume_batch(created.batch_id)
        assert await failures_before(rig) == UNCOUNTED
        hand.here.judge_at = math.inf  # as if it had just been judged
        async with asyncio.timeout(GIVE_UP):
            while (batch := await rig.client.get_batch(created.batch_id)).counts.done == 3:
                assert await failures_before(rig) == UNCOUNTED
                await hand.turn()
        # These three do not count: it bears two more.
        assert (batch.counts.done, await failures_before(rig)) == (5, 3)
        assert await fail_all(rig.client) == 2
        hand.here.judge_at = 0.0
        batch = await until_paused(rig, hand, created.batch_id)
    assert (batch.pause_cause, batch.counts.done) == ("MAX_FAILURES", 5)


async def test_no_more_is_counted_than_a_batch_bears(
    rig: Rig, zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_judging, "_AT_ONCE", 2)
    await dead_steps(rig.client, 8)
    async with by_hand(zart_server) as hand:
        batch_id = await six_dead_again(rig, hand)
        hand.here.judge_at = 0.0
        await hand.turn()
        assert hand.here.dead_again.dead == 2
    batch = await rig.client.get_batch(batch_id)
    assert (batch.pause_cause, batch.counts.done) == ("MAX_FAILURES", 6)


async def test_nothing_is_done_that_cannot_be_judged(
    rig: Rig, zart_server: ServerUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    await dead_steps(rig.client, 6)
    async with by_hand(zart_server, statement_timeout=3.0) as hand:
        created = await rig.client.create_batch(
            zart.RetryStep(), everything=True, canary=1, max_failures=1
        )
        await until_paused(rig, hand, created.batch_id)
        await rig.client.resume_batch(created.batch_id)
        assert await fail_all(rig.client) == 1
        hand.here.judge_at = 0.0
        async with rig.locked("LOCK TABLE zart.runs IN ACCESS EXCLUSIVE MODE"):
            await hand.turn()
        async with asyncio.timeout(GIVE_UP):
            while (batch := await rig.client.get_batch(created.batch_id)).status == "RUNNING":
                await hand.turn()
    assert (batch.pause_cause, batch.counts.done) == ("MAX_FAILURES", 1)
    assert "a batch waits until its failures can be counted" in caplog.text


async def until_refused(rig: Rig, hand: ByHand, batch_id: str) -> Batch:
    """Take turns until a batch is paused, none of which is to count once something was refused."""
    async with asyncio.timeout(GIVE_UP):
        await hand.turn()
        while (batch := await rig.client.get_batch(batch_id)).status == "RUNNING":
            if batch.counts.refused:
                hand.here.judge_at = math.inf
            await hand.turn()
    return batch


@pytest.mark.parametrize("is_another", [False, True])
async def test_what_died_before_it_was_resumed_makes_no_room_between_two_counts(
    rig: Rig,
    zart_server: ServerUnderTest,
    is_another: bool,  # noqa: FBT001 - whether another server goes on with it
) -> None:
    await dead_steps(rig.client, 40)
    async with by_hand(zart_server) as first, by_hand(zart_server) as second:
        created = await rig.client.create_batch(
            zart.RetryStep(), everything=True, canary=10, max_failures=3
        )
        await until_paused(rig, first, created.batch_id)
        assert await fail_all(rig.client) == 10
        # Those that are left are retried by somebody: it is not to do these again.
        for n in range(40):
            await rig.client.retry_step(f"x-{n}", "a")
        assert await fail_all(rig.client) == 40
        await rig.client.resume_batch(created.batch_id)
        assert await failures_before(rig) == 10
        hand = second if is_another else first
        if not is_another:
            hand.here.judge_at = math.inf  # it has counted before that
        batch = await until_refused(rig, hand, created.batch_id)
    assert (batch.pause_cause, batch.counts.refused) == ("MAX_FAILURES", 3)


async def test_another_number_of_failures_to_bear_is_judged_anew(
    rig: Rig, zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of more than it bore, no more was counted."""
    monkeypatch.setattr(batch_judging, "_AT_ONCE", 2)
    await dead_steps(rig.client, 12)
    async with by_hand(zart_server) as hand:
        batch_id = await six_dead_again(rig, hand)
        judged = batch_judging.Judged(2, 0, 2)  # but nothing was done by that yet
        hand.here.judged, hand.here.judge_at = judged, math.inf
        await rig.client.update_batch(batch_id, max_failures=7)
        async with asyncio.timeout(GIVE_UP):
            while (batch := await rig.client.get_batch(batch_id)).counts.done == 6:
                await hand.turn()
    assert batch.counts.done == 7


async def test_one_that_is_resumed_within_a_moment_is_judged_by_what_is_dead_by_then(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    await dead_steps(rig.client, 4)
    async with by_hand(zart_server) as hand:
        batch_id = (
            await rig.client.create_batch(zart.RetryStep(), everything=True, max_failures=2)
        ).batch_id
        await hand.turn()
        failed = [
            item.execution_id
            for item in await rig.client.list_batch_items(batch_id, statuses=["DONE"])
        ]
        assert len(failed) == 2
        await fail_all(rig.client)
        hand.here.judge_at = 0.0
        await hand.turn()
        assert (await rig.client.get_batch(batch_id)).status == "PAUSED"
        for name in failed:
            await rig.client.complete_step(name, "a", 1)
        await rig.client.resume_batch(batch_id)
        await hand.turn()
        batch = await rig.client.get_batch(batch_id)
    assert (batch.status, batch.counts.done) == ("COMPLETED", 4)
