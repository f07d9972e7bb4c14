"""A breaker closes: by hand, and when its rule ends, whoever ends it."""

from __future__ import annotations

import pytest
from breaking import ONE, breaker, until
from releasing import settled
from rig import LONG, Rig

from zart import errors


async def test_reset_ends_its_rule(rig: Rig) -> None:
    breaker_id = await breaker(rig.client)
    opened = await rig.client.trip_breaker(breaker_id)
    await rig.start("x", ONE)

    closed = await rig.client.reset_breaker(breaker_id, triggered_by="bob", reason="it is back")

    assert (closed.status, closed.rule_id) == ("CLOSED", opened.rule_id)
    rule = await rig.client.get_pause_rule(opened.rule_id)
    assert (rule.status, rule.deleted_by) == ("RESUMED", "bob")
    assert await rig.lease(wait=LONG)


async def test_resetting_a_closed_one_does_nothing(rig: Rig) -> None:
    breaker_id = await breaker(rig.client)
    assert (await rig.client.reset_breaker(breaker_id)).status == "CLOSED"
    records = [o.kind async for o in rig.client.list_operations()]
    assert records == ["CREATE_BREAKER"]


@pytest.mark.parametrize("by", ["rule", "scope", "everything"])
async def test_whoever_resumes_its_rule_closes_it(rig: Rig, by: str) -> None:
    breaker_id = await breaker(rig.client)
    rule_id = (await rig.client.trip_breaker(breaker_id)).rule_id
    await rig.client.wait_drained(rule_id)  # which the server finds out, and records, by itself
    how = {"rule": {"rule_id": rule_id}, "scope": {"task_name": "t"}, "everything": {by: True}}

    resumed = await rig.client.resume(**how[by], reason="enough", incident="INC-1")  # type: ignore[arg-type]

    assert [rule.breaker_id for rule in resumed.rules] == [breaker_id]
    assert (await rig.client.get_breaker(breaker_id)).status == "CLOSED"
    first, second = [o async for o in rig.client.list_operations()][:2]
    assert {first.kind, second.kind} == {"RESUME", "BREAKER_CLOSED"}
    assert {o.reason for o in (first, second)} == {"enough"}
    assert {o.incident for o in (first, second)} == {"INC-1"}
    assert {o.rule_id for o in (first, second)} == {rule_id}


async def test_other_updates_of_its_rule_leave_it_as_it_is(rig: Rig) -> None:
    breaker_id = await breaker(rig.client)
    rule_id = (await rig.client.trip_breaker(breaker_id)).rule_id
    await rig.start("x", ONE)
    await rig.client.update_pause_rule(rule_id, expires_in=3600)
    await rig.client.update_pause_rule(rule_id, exempt=["y"])
    await settled(rig)
    await rig.client.resume(rule_id=rule_id, canary=1)
    found = await rig.client.get_breaker(breaker_id)
    assert (found.status, found.trip_count, found.rule_id) == ("OPEN", 1, rule_id)


async def test_the_expiry_of_its_rule_closes_it(rig: Rig) -> None:
    breaker_id = await breaker(rig.client)
    rule_id = (await rig.client.trip_breaker(breaker_id, incident="INC-7")).rule_id
    await rig.db.execute(
        "UPDATE zart.pause_rules SET expires_at = now() WHERE rule_id = $1", rule_id
    )

    await until(rig.client, breaker_id, "CLOSED")

    assert (await rig.client.get_pause_rule(rule_id)).status == "EXPIRED"
    of_incident = [o.kind async for o in rig.client.list_operations(incident="INC-7")]
    assert {"EXPIRE", "BREAKER_CLOSED"} <= set(of_incident)


async def test_there_has_to_be_one(rig: Rig) -> None:
    for call in (
        rig.client.trip_breaker("br-none"),
        rig.client.reset_breaker("br-none"),
        rig.client.delete_breaker("br-none"),
        rig.client.get_breaker("br-none"),
        rig.client.update_breaker("br-none", failure_threshold=1),
    ):
        with pytest.raises(errors.BreakerNotFound) as refused:
            await call
        assert refused.value.metadata == {"breaker_id": "br-none"}


async def test_reset_ends_its_rule_at_the_rate_that_is_set(rig: Rig) -> None:
    breaker_id = await breaker(rig.client, rate_per_second=0.01)
    opened = await rig.client.trip_breaker(breaker_id)
    for n in range(3):
        await rig.start(f"x-{n}", ONE)

    closed = await rig.client.reset_breaker(breaker_id, triggered_by="bob", reason="it is back")

    assert (closed.status, closed.rule_id) == ("CLOSED", opened.rule_id)
    rule = await rig.client.get_pause_rule(opened.rule_id)
    assert rule.release is not None
    assert (rule.status, rule.release.started_by) == ("RELEASING", "bob")
    (record,) = [o async for o in rig.client.list_operations() if o.kind == "BREAKER_CLOSED"]
    assert (record.rule_id, record.reason) == (opened.rule_id, "it is back")


@pytest.mark.parametrize("rate", [None, 100.0])
async def test_reset_leaves_the_pace_at_which_somebody_lets_its_rule_go(
    rig: Rig, rate: float | None
) -> None:
    breaker_id = await breaker(rig.client, rate_per_second=rate)
    opened = await rig.client.trip_breaker(breaker_id)
    for n in range(3):
        await rig.start(f"x-{n}", ONE)
    await rig.client.resume(rule_id=opened.rule_id, rate_per_second=0.01, triggered_by="ann")

    closed = await rig.client.reset_breaker(breaker_id, triggered_by="bob", reason="it is back")

    assert (closed.status, closed.rule_id) == ("CLOSED", opened.rule_id)
    rule = await rig.client.get_pause_rule(opened.rule_id)
    assert rule.release is not None
    assert (rule.status, rule.release.rate_per_second) == ("RELEASING", 0.01)
    assert rule.release.started_by == "ann"
    (record,) = [o async for o in rig.client.list_operations() if o.kind == "BREAKER_CLOSED"]
    assert (record.rule_id, record.reason) == (opened.rule_id, "it is back")


@pytest.mark.parametrize("is_stopped", [True, False])
async def test_a_rule_that_goes_on_at_a_pace_closes_nothing_any_more(
    rig: Rig, *, is_stopped: bool
) -> None:
    """It is an ordinary rule: who stops its release has paused by hand."""
    breaker_id = await breaker(rig.client, rate_per_second=0.01)
    first = (await rig.client.trip_breaker(breaker_id)).rule_id
    for n in range(3):
        await rig.start(f"x-{n}", ONE)
    await rig.client.reset_breaker(breaker_id)
    rule = await rig.client.get_pause_rule(first)
    assert (rule.breaker_id, rule.created_by) == ("", f"breaker {breaker_id}")
    if is_stopped:
        await rig.client.stop_release(first)
        assert (await rig.client.reset_breaker(breaker_id)).status == "CLOSED"
        assert (await rig.client.get_pause_rule(first)).status == "ACTIVE"

    opened = await rig.client.trip_breaker(breaker_id)
    resumed = await rig.client.resume(rule_id=first)

    assert [(rule.rule_id, rule.breaker_id) for rule in resumed.rules] == [(first, "")]
    found = await rig.client.get_breaker(breaker_id)
    assert (found.status, found.trip_count, found.rule_id) == ("OPEN", 2, opened.rule_id)
    assert first != opened.rule_id
    assert (await rig.client.get_pause_rule(opened.rule_id)).breaker_id == breaker_id
    kinds = [o.kind.value async for o in rig.client.list_operations(breaker_id=breaker_id)]
    assert kinds.count("BREAKER_CLOSED") == 1
