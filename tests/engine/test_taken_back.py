"""What a rule had released and took back is withheld from then on, queued or not; nothing else is."""

from __future__ import annotations

from rig import Rig, eventually

STEPS = {f"s{n}": () for n in range(6)}

# As a release sweep does it: the first steps of the line, under the shared pause lock.
RELEASE = """
    WITH gone AS (
        DELETE FROM zart.held WHERE step_no < $1
        RETURNING run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
            timeout_seconds, step_name, queue_no, not_before, scheduled_at, rule_key
    ), released AS (
        INSERT INTO zart.released_steps (rule_key, run_key, step_no, attempt, token_from)
        SELECT rule_key, run_key, step_no, attempt, zart.last_token() FROM gone
    )
    INSERT INTO zart.queue (run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
        timeout_seconds, step_name, queue_no, not_before, scheduled_at)
    SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts, timeout_seconds,
        step_name, queue_no, not_before, scheduled_at FROM gone
"""
TAKE_BACK = """
    WITH taken AS (
        UPDATE zart.released_steps SET token_until = zart.last_token() WHERE step_no >= $1
        RETURNING rule_key
    )
    INSERT INTO zart.pause_work (rule_key, work, of_released)
    SELECT DISTINCT rule_key, 'settle', true FROM taken
"""


async def settled(rig: Rig) -> bool:
    return not await rig.db.fetchval("SELECT EXISTS (SELECT FROM zart.pause_work)")


async def test_what_was_taken_back_is_paused_at_once_and_what_was_not_runs(rig: Rig) -> None:
    rule = (await rig.client.pause(task_name="t")).rule
    await rig.start("x", STEPS)
    await rig.start("y", STEPS)
    await eventually(lambda: settled(rig))
    await rig.db.execute(RELEASE, 4)

    (leased,) = await rig.lease(1)
    assert (await rig.statuses("y"))["s3"] == "SCHEDULED"
    await rig.db.execute(TAKE_BACK, 2)
    state = await rig.client.get_execution("y")
    assert {s.step_name: s.paused_by for s in state.steps if s.status == "PAUSED"} == dict.fromkeys(
        ("s2", "s3", "s4", "s5"), rule.rule_id
    )
    # Taken back, not all that the rule matches: the others are let go as before.
    others = await rig.lease(10)
    assert {t.step_name for t in [leased, *others]} == {"s0", "s1"}
    assert len(others) == 3
    await eventually(lambda: settled(rig))
    assert await rig.db.fetchval("SELECT count(*) FROM zart.queue") == 0
    assert await rig.lease(10) == []


async def test_a_released_attempt_stays_let_go_by_its_rule_when_another_holds_and_ends(
    rig: Rig,
) -> None:
    await rig.client.pause(task_name="t")
    await rig.start("x", STEPS)
    await rig.db.execute(RELEASE, 2)
    other = (await rig.client.pause(execution_id="x", step_pattern="s[0-3]")).rule
    assert await rig.lease(10) == []
    await rig.client.resume(rule_id=other.rule_id)

    tasks = []

    async def leased() -> bool:
        tasks.extend(await rig.lease(10))
        return len(tasks) == 2

    await eventually(leased)
    assert {t.step_name for t in tasks} == {"s0", "s1"}
    # What does not complete it is a new attempt, which nobody has let go.
    await rig.fail(tasks[0], retryable=True)
    assert (await rig.statuses())[tasks[0].step_name] == "PAUSED"
