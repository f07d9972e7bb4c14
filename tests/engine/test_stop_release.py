"""StopRelease: once it has answered, nothing that the rule withholds again is leased."""

from __future__ import annotations

import asyncio

import pytest
from patient import patient_database
from releasing import settled
from rig import Rig, eventually

import zart
from zart import errors
from zart.testing.server import ServerUnderTest, serving
from zart_server.engine.background.settle_pieces import ReleasedSweep

STEPS = {f"s{n}": () for n in range(6)}


async def queued(rig: Rig, count: int) -> None:
    async def are() -> bool:
        return bool(await rig.db.fetchval("SELECT count(*) FROM zart.queue") == count)

    await eventually(are)


async def releasing(rig: Rig, rate: float = 0.01) -> str:
    """Begin a release that has let one step go; gives the rule's id."""
    rule_id = (await rig.client.pause(task_name="t")).rule_id
    await settled(rig)
    await rig.start("x", STEPS)
    await rig.client.resume(rule_id=rule_id, rate_per_second=rate)
    await queued(rig, 1)
    return rule_id


async def test_what_was_released_and_waits_in_the_queue_is_paused_again(rig: Rig) -> None:
    rule_id = await releasing(rig)
    assert (await rig.statuses())["s0"] == "SCHEDULED"
    rule = await rig.client.stop_release(rule_id, triggered_by="ann", reason="worse", incident="I")

    assert (rule.status.value, rule.release, rule.replayed) == ("ACTIVE", None, False)
    assert await rig.lease() == []
    assert set((await rig.statuses()).values()) == {"PAUSED"}
    await settled(rig)
    assert set((await rig.statuses()).values()) == {"PAUSED"}
    operation = next(o for o in await rig.client.list_operations() if o.kind.value != "DRAIN")
    assert (operation.kind.value, operation.rule_id) == ("STOP_RELEASE", rule_id)
    assert (operation.triggered_by, operation.reason, operation.incident) == ("ann", "worse", "I")


async def test_what_was_leased_before_finishes_and_a_canary_is_taken_back_too(rig: Rig) -> None:
    rule_id = (await rig.client.pause(task_name="t")).rule_id
    await settled(rig)
    await rig.start("x", STEPS)
    await rig.client.resume(rule_id=rule_id, canary=2)
    (task,) = await rig.lease(1)
    await rig.client.resume(rule_id=rule_id, rate_per_second=0.01)
    await queued(rig, 2)
    await rig.client.stop_release(rule_id)

    assert await rig.lease() == []
    assert await rig.complete(task) == ["RECORDED"]
    statuses = await rig.statuses()
    assert statuses.pop(task.step_name) == "COMPLETED"
    assert set(statuses.values()) == {"PAUSED"}


async def test_it_may_be_released_again_after(rig: Rig) -> None:
    """The same attempts, from the beginning: their place in the line is what it was."""
    rule_id = await releasing(rig)
    for _ in range(2):
        await rig.client.stop_release(rule_id)
        await settled(rig)
        answer = await rig.client.resume(rule_id=rule_id, rate_per_second=0.01)
        assert answer.rules[0].release is not None
        assert answer.rules[0].release.released_steps == 0
        await queued(rig, 1)
    assert [t.step_name for t in await rig.lease()] == ["s0"]
    await rig.client.stop_release(rule_id)
    await settled(rig)
    await rig.client.resume(rule_id=rule_id)
    await queued(rig, 5)
    assert [t.step_name for t in await rig.lease()] == ["s1", "s2", "s3", "s4", "s5"]


async def test_what_another_rule_has_taken_over_is_withheld_again_by_this_one_too(
    rig: Rig,
) -> None:
    rule_id = await releasing(rig)
    other = (await rig.client.pause(execution_id="x", step_pattern="s0")).rule_id
    await queued(rig, 0)
    await rig.client.stop_release(rule_id)
    await rig.client.resume(rule_id=other)
    await settled(rig)
    assert await rig.lease() == []
    assert (await rig.client.get_step("x", "s0")).paused_by == rule_id


async def test_what_was_leased_long_ago_is_gone_through_in_large_pages(
    zart_database: str, rig: Rig
) -> None:
    rule_key = await rig.db.fetchval(
        "SELECT rule_key FROM zart.pause_rules WHERE rule_id = $1", await releasing(rig)
    )
    await rig.db.execute(
        "INSERT INTO zart.released_steps (rule_key, run_key, step_no, attempt, token_from,"
        " token_until) SELECT $1, 1000000 + n, 0, 1, 0, 0 FROM generate_series(1, 200000) n",
        rule_key,
    )
    await rig.db.execute("UPDATE zart.released_steps SET token_until = 0 WHERE run_key < 1000000")
    sweep, pieces = ReleasedSweep(), 0
    db = await patient_database(zart_database)
    while not sweep.is_at_end:
        async with db.transaction() as tx:
            await sweep.piece(tx, rule_key)
        sweep.committed()
        pieces += 1
    await db.close()
    assert pieces < 40
    assert not sweep.is_missed
    held = await rig.db.fetch("SELECT step_name FROM zart.held ORDER BY step_name")
    assert [row["step_name"] for row in held] == sorted(STEPS)


async def test_it_holds_on_another_server_at_once(
    zart_database: str, zart_server: ServerUnderTest, rig: Rig
) -> None:
    with serving(zart_database) as other:
        async with zart.connect(other.address) as elsewhere:
            rule_id = await releasing(rig)
            await elsewhere.stop_release(rule_id)
            assert await rig.lease() == []
            assert await elsewhere.lease_tasks("d", ["t"], max_tasks=10) == ()


async def test_only_a_releasing_rule_can_be_stopped(rig: Rig) -> None:
    with pytest.raises(errors.PauseRuleNotFound):
        await rig.client.stop_release("pr-none")
    rule_id = (await rig.client.pause(task_name="t")).rule_id
    with pytest.raises(errors.RuleNotReleasing) as caught:
        await rig.client.stop_release(rule_id)
    assert caught.value.metadata == {"rule_id": rule_id}
    await rig.client.resume(rule_id=rule_id)
    with pytest.raises(errors.RuleNotActive):
        await rig.client.stop_release(rule_id)


async def test_a_claim_that_is_under_way_is_waited_for(rig: Rig) -> None:
    rule_id = await releasing(rig)
    await rig.db.execute(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN PERFORM pg_advisory_xact_lock(4242); RETURN NULL; END$$;"
        "CREATE TRIGGER slow AFTER DELETE ON zart.queue EXECUTE FUNCTION slow();"
        "SELECT pg_advisory_lock(4242)"
    )
    leasing = asyncio.create_task(rig.lease())
    await rig.until_waiting(1)
    stopping = asyncio.create_task(rig.client.stop_release(rule_id))
    await rig.until_waiting(2)
    await rig.db.execute("SELECT pg_advisory_unlock(4242)")
    assert [t.step_name for t in await leasing] == ["s0"]
    assert (await stopping).status.value == "ACTIVE"
    # Its token lies before the end of what was let go: it was leased in time.
    assert await rig.db.fetchval(
        "SELECT token_from < lease_token AND lease_token <= token_until"
        " FROM zart.released_steps JOIN zart.leases USING (run_key, step_no, attempt)"
    )
