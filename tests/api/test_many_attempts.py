"""Of steps that were tried very often the last attempts are told: an answer has its room."""

from __future__ import annotations

import asyncio

import pytest
from rig import Rig
from terminal import zart_command

import zart
from zart.testing.server import ServerUnderTest

_ATTEMPTS = """
    INSERT INTO zart.attempts (run_key, step_no, attempt, status, swept, dispatcher_id, principal,
        lease_token, error, started_at, completed_at)
    SELECT run_key, s, n, 'failed', false, 'd', '', 0,
        json_build_object('type', repeat('T', $3), 'message', 'no ' || n, 'details', ''),
        now(), now()
    FROM zart.runs, generate_series(0, $1::integer - 1) s, generate_series(2, $2::integer + 1) n
"""


async def test_the_last_attempts_of_a_step_are_told(rig: Rig) -> None:
    await rig.dead("x", {"a": ()}, step="a")
    await rig.db.execute(_ATTEMPTS, 1, 1_500, 300)
    step = await rig.client.get_step("x", "a")
    [same] = (await rig.client.get_execution("x")).steps
    retried = (await rig.client.retry_step("x", "a")).step

    for found in (step, same, retried):
        assert [attempt.attempt for attempt in found.attempts] == list(range(502, 1_502))
        assert found.errors_omitted
        error = found.attempts[-1].error
        assert error is not None
        assert (error.type, error.message) == ("T" * 300, "no 1501")


async def test_what_is_told_of_a_step_whose_first_attempts_are_left_out(
    rig: Rig, zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When it waited before is not known, nor by whom it was held then; all attempts count."""
    rule = await rig.client.pause(task_name="t")
    await rig.start("x", {"a": ()}, retry=zart.Retry(max_attempts=1))
    await rig.client.resume(rule_id=rule.rule_id)
    await rig.work(fail=["a"])
    assert not (await rig.client.list_rule_holds("x")).is_partial
    await rig.db.execute(_ATTEMPTS, 1, 1_500, 3)
    found = await rig.client.list_rule_holds("x")

    assert found.is_partial
    assert found.holds == ()
    words = ["--address", zart_server.address, "status", "x"]
    printed = await asyncio.to_thread(zart_command, monkeypatch, words)
    assert "1501/" in printed.out


async def test_few_attempts_of_each_step_are_told_of_a_run_that_has_very_many(rig: Rig) -> None:
    await rig.start("x", {f"s{n}": () for n in range(12)})
    await rig.db.execute(_ATTEMPTS, 12, 1_000, 10)
    steps = (await rig.client.get_execution("x")).steps

    assert [len(step.attempts) for step in steps] == [1_000] * 10 + [1] * 2
    assert [step.errors_omitted for step in steps] == [False] * 10 + [True] * 2
    assert steps[-1].attempts[0].attempt == 1_001
    last = await rig.client.get_step("x", "s11")
    assert (len(last.attempts), last.errors_omitted) == (1_000, False)


async def test_types_of_errors_are_cut_as_their_messages_are(rig: Rig) -> None:
    await rig.dead("x", {"a": ()}, step="a")
    await rig.db.execute(_ATTEMPTS, 1, 1, 5_000_000)
    step = await rig.client.get_step("x", "a")

    assert step.errors_omitted
    error = step.attempts[-1].error
    assert error == zart.models.StepError("T" * 100, "no 2", "")


async def test_reasons_are_told_of_the_first_steps_that_rules_withhold(rig: Rig) -> None:
    rule = await rig.client.pause(task_name="t", reason="r" * 1_000)
    await rig.start("x", {f"s{n}": () for n in range(502)})
    steps = (await rig.client.get_execution("x")).steps

    assert {step.paused_by for step in steps} == {rule.rule_id}
    told = [step.waiting_on.endswith(f"(tester: {'r' * 1_000})") for step in steps]
    assert told == [True] * 500 + [False] * 2
    assert steps[-1].waiting_on == f"pause rule {rule.rule_id}"
