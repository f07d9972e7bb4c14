"""Pause, Resume, expiry: rules withhold steps, and nothing else changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from rig import CHAIN, Rig, eventually, maintain

import zart
from zart import errors
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
    assert [t.step_name for t in await rig.lease(wait=5)] == ["charge-card"]


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


async def test_executions_start_under_a_pause_and_their_steps_are_held(rig: Rig) -> None:
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
    await rig.start("x", {"a": ()}, retry=zart.Retry(initial_backoff=60, max_backoff=60))
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


async def test_resume_by_pattern_deletes_only_rules_with_that_very_pattern(rig: Rig) -> None:
    one = await rig.client.pause(step_pattern="send-*")
    await rig.client.pause(step_pattern="send-mail")
    await rig.client.pause(task_name="t", step_pattern="charge-*")
    answer = await rig.client.resume(step_pattern="send-*")

    assert [r.rule_id for r in answer.rules] == [one.rule_id]
    assert len(await rig.client.list_pause_rules()) == 2


async def test_resume_by_task_takes_its_narrower_rules_along(rig: Rig) -> None:
    await rig.client.pause(task_name="t")
    await rig.client.pause(task_name="t", step_pattern="a")
    await rig.client.pause(task_name="u")
    await rig.client.pause(step_pattern="a")
    answer = await rig.client.resume(task_name="t")

    assert answer.rules_deleted == 2
    left = await rig.client.list_pause_rules()
    assert [(r.task_name, r.step_pattern) for r in left] == [(None, "a"), ("u", None)]


async def test_steps_that_another_rule_matches_stay_paused_and_are_attributed_to_it(
    rig: Rig,
) -> None:
    await rig.start("x", {"a": (), "b": ()})
    first = await rig.client.pause(task_name="t")
    second = await rig.client.pause(step_pattern="a")
    answer = await rig.client.resume(rule_id=first.rule_id)

    assert (answer.released_steps, answer.still_paused_steps) == (1, 1)

    async def released() -> bool:
        return await rig.statuses() == {"a": "PAUSED", "b": "SCHEDULED"}

    await eventually(released)
    assert (await rig.client.get_step("x", "a")).paused_by == second.rule_id


async def test_resuming_everything_and_resuming_twice(rig: Rig) -> None:
    rule = await rig.client.pause(task_name="t")
    await rig.client.pause(everything=True)
    assert (await rig.client.resume(everything=True)).rules_deleted == 2

    again = await rig.client.resume(rule_id=rule.rule_id)
    assert again.rules_deleted == 0
    assert [r.status.value for r in again.rules] == ["RESUMED"]
    assert (await rig.client.resume(everything=True)).rules_deleted == 0
    with pytest.raises(errors.PauseRuleNotFound):
        await rig.client.resume(rule_id="pr-nobody00")


async def test_an_equal_pause_makes_a_second_rule(rig: Rig) -> None:
    await rig.start("x", {"a": ()})
    one = await rig.client.pause(task_name="t")
    two = await rig.client.pause(task_name="t")
    assert one.rule_id != two.rule_id
    await rig.client.resume(rule_id=one.rule_id)

    assert await rig.statuses() == {"a": "PAUSED"}
    assert await rig.lease() == []


async def test_a_rule_expires_by_itself_and_its_steps_go_on(rig: Rig) -> None:
    await rig.start("x", {"a": ()})
    paused = await rig.client.pause(task_name="t", expires_in=0.5)
    assert paused.rule.expires_at is not None
    (task,) = await rig.lease(wait=10)
    assert task.step_name == "a"

    assert await rig.client.list_pause_rules() == []
    (rule,) = await rig.client.list_pause_rules(include_deleted=True)
    assert (rule.status, rule.deleted_by) == ("EXPIRED", "expiry")
    assert rule.deleted_at is not None
    assert rule.deleted_at - paused.rule.expires_at < timedelta(seconds=1)
    kinds = [o.kind.value for o in await rig.client.list_operations()]
    assert kinds[0] == "EXPIRE"


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


async def test_many_withheld_steps_are_counted_to_a_bound_and_released(rig: Rig) -> None:
    names = {f"n{n}": () for n in range(6000)}
    await rig.start("x", names)
    await rig.start("y", names)
    paused = await rig.client.pause(task_name="t")
    assert (paused.paused_steps, paused.paused_steps_is_lower_bound) == (10_000, True)
    assert await rig.lease() == []

    resumed = await rig.client.resume(everything=True)
    assert (resumed.released_steps, resumed.released_steps_is_lower_bound) == (10_000, True)

    async def released() -> bool:
        return bool(await rig.db.fetchval("SELECT count(*) FROM zart.held") == 0)

    await eventually(released, within=30)
    assert await rig.db.fetchval("SELECT count(*) FROM zart.queue") == 12_000
