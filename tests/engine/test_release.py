"""Releases: from Resume with a rate to the end of the rule, and what may be done meanwhile."""

from __future__ import annotations

import grpc.aio
import pytest
from releasing import paused, release_of, settled, until_released, until_status
from rig import LONG, Rig, eventually

import zart
from zart import errors
from zart.models import ReleaseOnExpiry, StepError
from zart.v1 import admin_service_pb2 as pb
from zart.v1.admin_service_pb2_grpc import AdminServiceStub
from zart_server.store.pausing.rules import PAUSE_LOCK

STEPS = {f"s{n}": () for n in range(6)}
RELEASED = """SELECT step_no, EXTRACT(epoch FROM released_at)::float8 AS at FROM zart.released_steps
    ORDER BY released_at, step_no"""


async def test_a_rule_is_releasing_until_it_withholds_no_step_and_then_resumed(rig: Rig) -> None:
    rule_id = await paused(rig)
    await rig.start("x", STEPS)
    answer = await rig.client.resume(
        rule_id=rule_id, rate_per_second=50, triggered_by="ann", reason="fixed", incident="INC-7"
    )

    assert (answer.rules_deleted, answer.released_steps, answer.still_paused_steps) == (0, 6, 0)
    (rule,) = answer.rules
    assert (rule.status.value, release_of(rule).rate_per_second) == ("RELEASING", 50)
    assert release_of(rule).started_by == "ann"
    over = await until_status(rig, rule_id, "RESUMED")
    assert over.deleted_by == "ann"
    assert release_of(over).released_steps == 6
    assert [t.step_name for t in await rig.lease()] == sorted(STEPS)
    operations = [
        (o.kind.value, o.triggered_by, o.incident)
        for o in await rig.client.list_operations()
        if o.kind.value != "DRAIN"  # whenever nothing of it was in flight
    ]
    assert operations[:2] == [("RELEASE_END", "ann", "INC-7"), ("RESUME", "ann", "INC-7")]


async def test_another_rate_changes_it_and_none_lets_the_rest_go_at_once(rig: Rig) -> None:
    rule_id = await paused(rig)
    await rig.start("x", STEPS)
    await rig.client.resume(task_name="t", rate_per_second=0.01, triggered_by="ann")
    await until_released(rig, 1)
    answer = await rig.client.resume(task_name="t", rate_per_second=0.02, triggered_by="bob")
    release = release_of(answer.rules[0])
    assert (release.rate_per_second, release.started_by) == (0.02, "ann")
    assert release.released_steps == 1

    passed = await rig.client.resume(everything=True)
    assert (passed.rules_deleted, passed.still_releasing_rules) == (0, (rule_id,))
    passed = await rig.client.resume(task_name="t")
    assert (passed.rules_deleted, passed.still_releasing_rules) == (0, (rule_id,))
    ended = await rig.client.resume(rule_id=rule_id, triggered_by="bob")
    assert (ended.rules_deleted, ended.still_releasing_rules) == (1, ())
    assert (await until_status(rig, rule_id, "RESUMED")).deleted_by == "bob"
    await settled(rig)
    assert len(await rig.lease()) == 6


async def test_a_release_ends_the_expiry(rig: Rig) -> None:
    rule_id = (await rig.client.pause(task_name="t", expires_in=3600)).rule_id
    await rig.start("x", STEPS)
    answer = await rig.client.resume(rule_id=rule_id, rate_per_second=0.01)
    assert answer.rules[0].expires_at is None
    for expiry in ({"expires_in": 60}, {"never_expires": True}):
        with pytest.raises(errors.RuleReleasing):
            await rig.client.update_pause_rule(rule_id, **expiry)
    # Whom it exempts may be changed all the same.
    await rig.client.update_pause_rule(rule_id, exempt=["x"])
    assert (await until_status(rig, rule_id, "RESUMED")).deleted_by == answer.rules[0].created_by


async def test_whom_a_releasing_rule_exempts_may_be_changed(rig: Rig) -> None:
    rule_id = await paused(rig)
    for name in "xyz":
        await rig.start(name, {"a": (), "b": ()})
    await rig.client.resume(rule_id=rule_id, rate_per_second=0.01)
    await until_released(rig, 1)
    exempted = await rig.client.update_pause_rule(rule_id, exempt=["z"])
    assert (exempted.rule.status, exempted.released_steps) == ("RELEASING", 2)
    await settled(rig)
    assert set((await rig.statuses("z")).values()) == {"SCHEDULED"}

    withheld = await rig.client.update_pause_rule(rule_id, unexempt=["z"])
    assert (withheld.rule.status, withheld.withheld_again_steps) == ("RELEASING", 2)
    assert set((await rig.statuses("z")).values()) == {"PAUSED"}
    # What the release let go is let go still.
    assert [(t.execution_id, t.step_name) for t in await rig.lease(wait=LONG)] == [("x", "a")]
    await settled(rig)
    assert await rig.lease() == []


async def test_without_a_scope_neither_a_pace_nor_an_incident_means_all(rig: Rig) -> None:
    rule_id = await paused(rig)
    stub = AdminServiceStub(rig.client.channel)
    for request in (
        pb.ResumeRequest(canary=1),
        pb.ResumeRequest(rate_per_second=1),
        pb.ResumeRequest(incident="INC-7"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Resume(request)
        assert isinstance(errors.from_call(caught.value), errors.InvalidField)
    assert (await rig.client.get_pause_rule(rule_id)).status == "ACTIVE"


async def test_no_canary_of_a_releasing_rule(rig: Rig) -> None:
    rule_id = await paused(rig)
    await rig.start("x", STEPS)
    await rig.client.resume(rule_id=rule_id, rate_per_second=0.01)
    with pytest.raises(errors.RuleReleasing):
        await rig.client.resume(rule_id=rule_id, canary=1)


async def test_a_pace_on_a_settling_rule_begins_when_it_is_settled(rig: Rig) -> None:
    await rig.start("x", STEPS)
    async with rig.locked("SELECT FROM zart.queue WHERE step_name = 's5' FOR UPDATE"):
        rule_id = (await rig.client.pause(task_name="t")).rule_id
        await rig.client.resume(rule_id=rule_id, rate_per_second=100)
        assert await rig.lease() == []
        assert set((await rig.statuses()).values()) == {"PAUSED"}
    await until_status(rig, rule_id, "RESUMED")
    assert [t.step_name for t in await rig.lease()] == sorted(STEPS)


async def test_steps_in_backoff_wait_for_their_time_and_the_rule_for_them(rig: Rig) -> None:
    await rig.start("x", {"a": ()}, retry=zart.Retry(5, 0.0))
    task = await rig.lease_one("a")
    rule_id = await paused(rig)
    failed = zart.Failed(StepError("E", "no", ""), retry_after=1.5)
    await rig.report(zart.Outcome(task.task_id, task.lease_token, failed))
    await rig.client.resume(rule_id=rule_id, rate_per_second=100)
    await until_status(rig, rule_id, "RESUMED")
    assert await rig.db.fetchval(
        "SELECT released_at >= not_before FROM zart.released_steps, zart.queue"
    )


async def test_a_rate_has_bounds_and_is_of_exactly_one_rule(rig: Rig) -> None:
    for rate in (0, 0.009, 100_001, float("nan"), float("inf"), -1):
        with pytest.raises(errors.InvalidField) as caught:
            await rig.client.resume(rule_id="pr-x", rate_per_second=rate)
        assert "rate_per_second" in str(caught.value)
    with pytest.raises(errors.RulesAmbiguous):
        await rig.client.resume(everything=True, rate_per_second=1)
    rule_id = await paused(rig)
    await rig.client.resume(rule_id=rule_id)
    with pytest.raises(errors.RuleNotActive):
        await rig.client.resume(rule_id=rule_id, rate_per_second=1)


async def test_lists_and_the_view_show_what_is_releasing(rig: Rig) -> None:
    rule_id = await paused(rig)
    await rig.start("x", STEPS)
    await rig.client.resume(rule_id=rule_id, rate_per_second=0.01)
    (rule,) = await rig.client.list_pause_rules()
    assert rule.status.value == "RELEASING"
    await until_released(rig, 1)
    row = await rig.db.fetchrow("SELECT * FROM zart_pause_rules")
    assert row is not None
    assert (row["status"], row["rate_per_second"]) == ("releasing", 0.01)


async def test_a_rule_may_release_its_steps_when_its_time_is_up(rig: Rig) -> None:
    paused_ = await rig.client.pause(
        task_name="t", expires_in=3600, release_on_expiry=0.01, triggered_by="ann"
    )
    assert paused_.rule.release_on_expiry == ReleaseOnExpiry(0.01)
    await rig.start("x", STEPS)
    await rig.db.execute("UPDATE zart.pause_rules SET expires_at = now()")
    rule = await until_status(rig, paused_.rule_id, "RELEASING")
    assert rule.expires_at is None
    assert release_of(rule).started_by == "expiry"
    await until_released(rig, 1)
    assert len(await rig.lease()) == 1
    await rig.client.resume(rule_id=paused_.rule_id, rate_per_second=100)
    over = await until_status(rig, paused_.rule_id, "RESUMED")
    assert over.deleted_by == "expiry"
    kinds = [o.kind.value for o in await rig.client.list_operations(page_size=100)]
    assert kinds.count("EXPIRE") == kinds.count("RELEASE_END") == 1


async def test_a_release_on_expiry_needs_an_expiry_and_a_rate(rig: Rig) -> None:
    for rate, expires_in in ((1.0, None), (0.0, 60), (float("nan"), 60)):
        with pytest.raises(errors.InvalidField) as caught:
            await rig.client.pause(task_name="t", expires_in=expires_in, release_on_expiry=rate)
        assert "release_on_expiry" in str(caught.value)


async def test_what_happens_by_itself_belongs_to_the_incident_of_the_rule(rig: Rig) -> None:
    rule = await rig.client.pause(
        task_name="t", expires_in=3600, release_on_expiry=100, incident="INC-7"
    )
    await rig.start("x", STEPS)
    await rig.db.execute("UPDATE zart.pause_rules SET expires_at = now()")
    await until_status(rig, rule.rule_id, "RESUMED")
    operations = await rig.client.list_operations(incident="INC-7")
    kinds = [o.kind.value for o in operations if o.kind.value != "DRAIN"]
    assert kinds == ["RELEASE_END", "EXPIRE", "PAUSE"]
    assert [o.made.rate_per_second for o in operations if o.kind == "EXPIRE" and o.made] == [100]


async def test_a_rule_that_cannot_end_yet_holds_up_no_other_release(rig: Rig) -> None:
    """Its end waits for the pause lock, which somebody shares for long."""
    over, going = await paused(rig, "a*"), await paused(rig, "b*")
    await rig.start("x", {"a0": (), "a1": ()})
    await rig.start("y", {f"b{n}": () for n in range(100)})
    await rig.client.resume(rule_id=over, rate_per_second=0.01)
    await until_released(rig, 1)
    await rig.client.resume(rule_id=going, rate_per_second=2)
    await rig.db.execute(f"SELECT pg_advisory_lock_shared({PAUSE_LOCK})")
    await rig.client.cancel_execution("x")
    await rig.until_waiting()
    await rig.lease()
    leased: list[str] = []

    async def goes_on() -> bool:
        leased.extend(task.step_name for task in await rig.lease())
        return len(leased) >= 5

    await eventually(goes_on)
    assert (await rig.client.get_pause_rule(over)).status == "RELEASING"
    await rig.db.execute(f"SELECT pg_advisory_unlock_shared({PAUSE_LOCK})")
    await until_status(rig, over, "RESUMED")


async def test_the_record_tells_a_pace_a_change_of_it_and_what_went(rig: Rig) -> None:
    rule_id = await paused(rig)
    await rig.start("x", STEPS)
    await rig.client.resume(rule_id=rule_id, rate_per_second=0.01)
    await until_released(rig, 1)
    await rig.client.resume(rule_id=rule_id, rate_per_second=0.02)
    await rig.client.stop_release(rule_id)
    await settled(rig)
    await rig.client.resume(rule_id=rule_id, rate_per_second=100)
    await until_status(rig, rule_id, "RESUMED")
    told = [
        (o.kind.value, o.made.rate_per_second, o.replaced.rate_per_second, o.made.released_steps)
        for o in await rig.client.list_operations(rule_id=rule_id)
        if o.kind.value not in ("DRAIN", "PAUSE") and o.made and o.replaced
    ]
    assert told[::-1] == [
        ("RESUME", 0.01, 0, 0),
        ("RESUME", 0.02, 0.01, 0),
        ("STOP_RELEASE", 0, 0, 1),
        ("RESUME", 100, 0, 0),
        ("RELEASE_END", 0, 0, 6),
    ]
