"""What an operator ends while others work on it: one outcome, and no lease commits after it."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from invariants import broken
from rig import CHAIN, DIAMOND, Rig, eventually
from waiting import GIVE_UP

import zart
from zart import errors
from zart.models import LeasedTask

BIG = "x" * (1024 * 1024 - 2)
FAN_IN = {"a": (), "b": (), "c": ("a", "b")}
# How the run came to be that a step is ended in, and what is in flight then.
SCENES = ["plain", "rerun", "pause", "fan-in", "alone"]


async def _in_flight(rig: Rig, scene: str) -> LeasedTask:
    """Bring about a scene; gives the lease of the step that everybody is about."""
    graphs: dict[str, dict[str, tuple[str, ...]]] = {"fan-in": FAN_IN, "alone": {"a": ()}}
    graph = graphs.get(scene, DIAMOND)
    await rig.start("x", graph)
    if scene == "rerun":
        await rig.work(fail=["d"])
        await rig.client.rerun("x", force_rerun=["a"])
    task = await rig.lease_one("a")
    if scene == "fan-in":
        await rig.complete(await rig.lease_one("b"))
    if scene == "pause":
        await rig.client.pause(task_name="t")
    return task


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("is_reported_first", [True, False])
@pytest.mark.parametrize("how", ["complete", "skip", "fail"])
async def test_a_report_and_an_operator_end_a_lease_once(
    rig: Rig, scene: str, how: str, *, is_reported_first: bool
) -> None:
    task = await _in_flight(rig, scene)

    def report() -> Any:
        return rig.complete(task, result=BIG)

    def operate() -> Any:
        if how == "fail":
            return rig.client.fail_step("x", "a", "no", fence=True)
        if how == "skip":
            return rig.client.complete_step("x", "a", skip=True, fence=True)
        return rig.client.complete_step("x", "a", "o" + BIG[1:], fence=True)

    async with rig.db.transaction():
        await rig.db.execute("SELECT FROM zart.runs ORDER BY run_key FOR NO KEY UPDATE")
        calls = [report, operate] if is_reported_first else [operate, report]
        first = asyncio.create_task(calls[0]())
        await rig.until_waiting()
        second = asyncio.create_task(calls[1]())
        await rig.until_waiting()
    answers = await asyncio.gather(first, second, return_exceptions=True)
    reported, operated = answers if is_reported_first else answers[::-1]

    is_recorded = reported == ["RECORDED"]
    if is_recorded:
        assert isinstance(operated, errors.StepFinished)
    else:
        assert reported == ["LEASE_LOST"]
        assert not isinstance(operated, BaseException)
    step = await rig.client.get_step("x", "a")
    assert (step.attempts[-1].dispatcher_id == "operator") is not is_recorded
    if is_recorded:
        assert step.result == BIG
    assert await broken(rig.db) == {}
    await rig.client.resume(everything=True)

    async def is_finished() -> bool:
        await rig.work()
        return (await rig.client.get_execution("x")).run.status.is_finished

    await eventually(is_finished)
    assert await broken(rig.db) == {}


async def _claim(rig: Rig, step_name: str) -> None:
    """Do what a claim does, in a transaction that stays open."""
    await rig.db.execute(
        """
        WITH gone AS (DELETE FROM zart.queue WHERE step_name = $1 RETURNING *)
        INSERT INTO zart.leases (run_key, step_no, lane, attempt, counted, backoff_base,
            max_attempts, timeout_seconds, queue_no, not_before, scheduled_at, lease_token,
            started_at, lease_expires_at, lease_seconds, step_name, dispatcher_id, principal)
        SELECT run_key, step_no, lane, attempt, counted, backoff_base, max_attempts,
            timeout_seconds, queue_no, not_before, scheduled_at, nextval('zart.lease_tokens'),
            statement_timestamp(), statement_timestamp() + interval '30 s', 30, step_name, 'd', ''
        FROM gone
        """,
        step_name,
    )


@pytest.mark.parametrize("fence", [False, True])
async def test_a_claim_that_is_under_way_is_waited_for_and_seen(rig: Rig, *, fence: bool) -> None:
    await rig.start("x", CHAIN)
    async with rig.db.transaction():
        await _claim(rig, "a")
        completing = asyncio.create_task(rig.client.complete_step("x", "a", 1, fence=fence))
        await rig.until_waiting(at_length=True)
    if fence:
        assert [f.attempt for f in (await completing).fenced_steps] == [1]
        assert await rig.statuses() == {"a": "COMPLETED", "b": "SCHEDULED", "c": "PENDING"}
    else:
        with pytest.raises(errors.StepRunning):
            await completing
        assert (await rig.client.get_step("x", "a")).status == "RUNNING"
    assert await broken(rig.db) == {}


async def test_a_claim_that_gives_its_task_back_is_waited_for_and_the_task_is_gone(
    rig: Rig,
) -> None:
    """What is given back is another row, which the statement that waited does not see."""
    await rig.start("x", CHAIN)
    async with rig.db.transaction():
        await rig.db.execute("CREATE TEMP TABLE back AS SELECT * FROM zart.queue")
        await rig.db.execute("DELETE FROM zart.queue")
        await rig.db.execute("INSERT INTO zart.queue SELECT * FROM back")
        completing = asyncio.create_task(rig.client.complete_step("x", "a", 1))
        await rig.until_waiting(at_length=True)
    assert (await completing).step.status == "COMPLETED"
    assert [t.step_name for t in await rig.lease()] == ["b"]
    assert await broken(rig.db) == {}


async def test_while_an_operator_ends_a_step_a_claim_passes_it_by(rig: Rig) -> None:
    """The queue row is locked before anything is decided, and a claim waits for no row."""
    await rig.start("x", CHAIN)
    await rig.start("y", CHAIN)
    async with rig.locked("SELECT FROM zart.steps WHERE run_key = 1 AND step_no = 0 FOR UPDATE"):
        completing = asyncio.create_task(rig.client.complete_step("x", "a", 1))
        await rig.until_waiting(at_length=True)  # between two attempts nothing is locked
        assert [t.execution_id for t in await asyncio.wait_for(rig.lease(), GIVE_UP)] == ["y"]
    await completing
    assert [t.step_name for t in await rig.lease()] == ["b"]


async def test_reports_of_other_steps_go_by_what_was_ended_meanwhile(rig: Rig) -> None:
    """A run that was marked between a report's look and its lock is recorded by its rows."""
    await rig.start("x", CHAIN)
    task = await rig.lease_one("a")
    async with rig.locked("SELECT FROM zart.executions FOR NO KEY UPDATE"):
        completing = asyncio.create_task(rig.client.complete_step("x", "b", "by hand"))
        await rig.until_waiting()
    await completing
    assert await rig.complete(task) == ["RECORDED"]
    assert await rig.statuses() == {"a": "COMPLETED", "b": "COMPLETED", "c": "SCHEDULED"}
    await rig.work()
    assert await rig.run_status() == "COMPLETED"


@pytest.mark.parametrize("seed", range(3))
async def test_in_a_storm_each_step_has_one_outcome_and_each_run_an_end(
    rig: Rig, seed: int
) -> None:
    chance = random.Random(seed)
    names = [f"x{n}" for n in range(12)]
    graph = {"a": (), "b": (), "c": ("a", "b"), "d": ("c",), "e": ("c",), "f": ("d", "e")}
    for name in names:
        await rig.start(name, graph)
    rule = await rig.client.pause(task_name="t", step_pattern="[de]") if seed == 1 else None
    recorded: list[tuple[str, str]] = []
    operated: list[tuple[str, str]] = []

    async def dispatch() -> None:
        for _ in range(40):
            found = await rig.client.lease_tasks("d", ["t"], max_tasks=7)
            outcomes = [
                zart.Outcome(t.task_id, t.lease_token, zart.Completed(t.step_name)) for t in found
            ]
            results = await rig.report(*outcomes)
            recorded.extend(
                (task.execution_id, task.step_name)
                for task, result in zip(found, results, strict=True)
                if result.status == "RECORDED"
            )

    async def operate() -> None:
        for _ in range(60):
            name, step = chance.choice(names), chance.choice(list(graph))
            skip = chance.random() < 0.3
            try:
                await rig.client.complete_step(
                    name, step, *(() if skip else ("by hand",)), skip=skip, fence=True
                )
            except errors.StepFinished:
                continue
            operated.append((name, step))

    await asyncio.gather(dispatch(), dispatch(), operate(), operate())
    if rule is not None:
        await rig.client.resume(rule_id=rule.rule_id)

    async def are_over() -> bool:
        await dispatch()
        return {await rig.run_status(name) for name in names} == {"COMPLETED"}

    await eventually(are_over)  # what the rule withheld is queued in its own time
    ended = recorded + operated
    assert operated
    assert len(ended) == len(set(ended))
    assert len(ended) == len(names) * len(graph)
    assert await broken(rig.db) == {}
