"""Pause: rules withhold steps, and nothing else changes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from rig import CHAIN, LONG, Rig, eventually, maintain

import zart
from zart.testing.server import ServerUnderTest


async def test_no_matching_step_is_leased_until_resume(rig: Rig) -> None:
    await rig.start("x", {"charge-card": (), "lookup": ()})
    paused = await rig.client.pause(task_name="t", step_pattern="charge-*", reason="maintenance")

    assert (paused.paused_steps, paused.running_steps) == (1, 0)
    assert [t.step_name for t in await rig.lease()] == ["lookup"]
    step = await rig.client.get_step("x", "charge-card")
    assert (step.status, step.paused_by) == ("PAUSED", paused.rule_id)
    assert step.task_id == ""
    assert step.waiting_on == f"pause rule {paused.rule_id} (tester: maintenance)"

    resumed = await rig.client.resume(rule_id=paused.rule_id)
    assert (resumed.rules_deleted, resumed.released_steps) == (1, 1)
    assert [t.step_name for t in await rig.lease(wait=LONG)] == ["charge-card"]


async def test_steps_in_flight_finish_and_are_counted(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    task = await rig.lease_one("a")
    paused = await rig.client.pause(execution_id="x")

    assert (paused.paused_steps, paused.running_steps) == (0, 1)
    assert await rig.complete(task) == ["RECORDED"]
    assert await rig.statuses() == {"a": "COMPLETED", "b": "PAUSED", "c": "PENDING"}


async def test_a_repeated_attempt_is_withheld_too(rig: Rig) -> None:
    await rig.start("x", {"a": ()})
    task = await rig.lease_one("a")
    await rig.client.pause(execution_id="x")
    await rig.fail(task, retryable=True)

    assert await rig.statuses() == {"a": "PAUSED"}
    assert await rig.lease() == []


async def test_a_lost_lease_is_withheld_too(rig: Rig) -> None:
    await rig.start("x", {"a": ()})
    await rig.lease(lease_duration=1)
    await rig.client.pause(execution_id="x")

    async def paused() -> bool:
        return await rig.statuses() == {"a": "PAUSED"}

    await eventually(paused)


async def test_executions_start_under_a_pause_and_their_steps_are_paused(rig: Rig) -> None:
    await rig.client.pause(execution_id="later")
    await rig.start("later", CHAIN)
    await rig.start("other", {"a": ()})

    assert [t.execution_id for t in await rig.lease()] == ["other"]
    assert (await rig.statuses("later"))["a"] == "PAUSED"


async def test_a_paused_job_never_times_out(rig: Rig, zart_server: ServerUnderTest) -> None:
    await rig.client.pause(task_name="t")
    await rig.start("x", {"a": ()}, timeout=0.1)

    async def is_past_its_time() -> bool:
        late: bool = await rig.db.fetchval(
            "SELECT scheduled_at + interval '0.2 s' < now() FROM zart.held"
        )
        return late

    await eventually(is_past_its_time)
    await maintain(zart_server)

    assert await rig.statuses() == {"a": "PAUSED"}


async def test_backoff_survives_a_pause(rig: Rig) -> None:
    await rig.start("x", {"a": ()}, retry=zart.Retry(initial_backoff=3600, max_backoff=3600))
    await rig.fail(await rig.lease_one("a"), retryable=True)
    before = (await rig.client.get_step("x", "a")).not_before
    rule = await rig.client.pause(task_name="t")
    assert (await rig.client.get_step("x", "a")).not_before == before
    await rig.client.resume(rule_id=rule.rule_id)

    async def released() -> bool:
        return await rig.statuses() == {"a": "SCHEDULED"}

    await eventually(released)
    assert (await rig.client.get_step("x", "a")).not_before == before
    assert await rig.lease() == []


@pytest.mark.parametrize(
    ("scope", "matched"),
    [
        ({"execution_id": "x"}, {"x/send-mail", "x/charge"}),
        ({"step_pattern": "send-*"}, {"x/send-mail", "y/send-mail", "z/send-mail"}),
        ({"task_name": "u"}, {"z/send-mail", "z/charge"}),
        ({"execution_id": "x", "step_pattern": "send-*"}, {"x/send-mail"}),
        ({"execution_id": "x", "task_name": "u"}, set()),
        ({"task_name": "t", "step_pattern": "{send,other}-*"}, {"x/send-mail", "y/send-mail"}),
        ({"step_pattern": "[!s]harge"}, {"x/charge", "y/charge", "z/charge"}),
        (
            {"everything": True},
            {f"{e}/{s}" for e in "xyz" for s in ("send-mail", "charge")},
        ),
        ({"execution_id": "%"}, set()),
        ({"step_pattern": "send_mail"}, set()),
    ],
)
async def test_a_rule_matches_when_every_field_it_sets_does(
    rig: Rig, scope: dict[str, str], matched: set[str]
) -> None:
    for execution_id, task in (("x", "t"), ("y", "t"), ("z", "u")):
        await rig.start(execution_id, {"send-mail": (), "charge": ()}, task=task)
    answer = await rig.client.pause(**scope)  # type: ignore[arg-type]

    assert answer.paused_steps == len(matched)
    found = {
        f"{e}/{step}"
        for e in "xyz"
        for step, status in (await rig.statuses(e)).items()
        if status == "PAUSED"
    }
    assert found == matched
    leased = {f"{t.execution_id}/{t.step_name}" for n in "tu" for t in await rig.lease(task=n)}
    assert leased == {f"{e}/{s}" for e in "xyz" for s in ("send-mail", "charge")} - matched


async def test_an_equal_pause_makes_a_second_rule(rig: Rig) -> None:
    await rig.start("x", {"a": ()})
    one = await rig.client.pause(task_name="t")
    two = await rig.client.pause(task_name="t")
    assert one.rule_id != two.rule_id
    await rig.client.resume(rule_id=one.rule_id)

    assert await rig.statuses() == {"a": "PAUSED"}
    assert await rig.lease() == []


async def test_expires_at_is_kept_to_the_microsecond(rig: Rig) -> None:
    at = datetime(2040, 2, 3, 4, 5, 6, 789, tzinfo=UTC)
    rule = (await rig.client.pause(task_name="t", expires_at=at)).rule
    assert rule.expires_at == at


async def test_rules_are_listed_newest_first_and_by_their_own_fields(rig: Rig) -> None:
    made = [(await rig.client.pause(task_name="t", step_pattern=f"s{n}")).rule_id for n in range(5)]
    await rig.client.pause(everything=True, reason="all", triggered_by="bob")
    await rig.client.resume(rule_id=made[0])

    listed = await rig.client.list_pause_rules(task_name="t", page_size=2)
    assert [r.rule_id for r in listed] == made[:0:-1]
    deleted = await rig.client.list_pause_rules(step_pattern="s0", include_deleted=True)
    assert [(r.rule_id, r.status.value, r.deleted_by) for r in deleted] == [
        (made[0], "RESUMED", "tester")
    ]
    (everything,) = (await rig.client.list_pause_rules())[:1]
    assert (everything.everything, everything.reason, everything.created_by) == (True, "all", "bob")
    assert everything.rule_id.startswith("pr-")
    assert len(everything.rule_id) == len("pr-") + 8
