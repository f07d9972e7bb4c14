"""Two operations at once: one waits for the other's lock, seen in pg_stat_activity, no sleeps."""

from __future__ import annotations

import asyncio

import pytest
from invariants import broken
from rig import CHAIN, DIAMOND, LONG, Rig, deafen, eventually, until_polled
from waiting import GIVE_UP, until

import zart
from zart import errors
from zart.testing.server import serving


async def test_a_retry_and_a_restart_meet_on_the_execution_row(rig: Rig) -> None:
    await rig.dead(step="b")
    async with rig.locked("SELECT FROM zart.executions FOR NO KEY UPDATE"):
        retrying = asyncio.create_task(rig.client.retry_step("x", "b"))
        restarting = asyncio.create_task(rig.client.restart("x"))
        await rig.until_waiting()
    answers = await asyncio.gather(retrying, restarting, return_exceptions=True)

    assert not isinstance(answers[1], BaseException)
    assert await broken(rig.db) == {}
    assert len(await rig.lease()) == 1


async def test_a_report_waits_for_a_cancel_and_then_changes_nothing(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    task = await rig.lease_one("a")
    async with rig.db.transaction():
        await rig.db.execute("SELECT FROM zart.runs FOR NO KEY UPDATE")
        cancelling = asyncio.create_task(rig.client.cancel_execution("x"))
        await rig.until_waiting(1, at_length=True)  # before the report, to the end
        reporting = asyncio.create_task(rig.complete(task))
        await rig.until_waiting(2)
    await cancelling

    assert await reporting == ["LEASE_LOST"]
    assert await rig.run_status() == "CANCELLED"
    assert set((await rig.statuses()).values()) == {"CANCELLED"}
    assert await broken(rig.db) == {}


async def test_one_slow_restart_does_not_hold_up_reports_of_other_runs(rig: Rig) -> None:
    for name in ("x", "y"):
        await rig.start(name, CHAIN)
    tasks = {t.execution_id: t for t in await rig.lease()}
    async with rig.locked(
        "SELECT FROM zart.runs r JOIN zart.executions e USING (execution_key)"
        " WHERE e.execution_id = 'x' FOR NO KEY UPDATE OF r"
    ):
        slow = asyncio.create_task(rig.complete(tasks["x"]))
        assert await asyncio.wait_for(rig.complete(tasks["y"]), GIVE_UP) == ["RECORDED"]
        assert not slow.done()
    assert await slow == ["RECORDED"]


async def test_fan_in_from_concurrent_reports_opens_the_last_step_once(rig: Rig) -> None:
    members = {f"m{n}": () for n in range(20)}
    await rig.start("x", {**members, "z": tuple(members)})
    tasks = await rig.lease()
    await asyncio.gather(*(rig.complete(t) for t in tasks))

    assert [t.step_name for t in await rig.lease()] == ["z"]
    assert await broken(rig.db) == {}


async def test_batches_that_name_runs_in_opposite_order_do_not_deadlock(rig: Rig) -> None:
    names = [f"e{n}" for n in range(30)]
    for name in names:
        await rig.start(name, DIAMOND)
    before = await rig.db.fetchval(
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    )
    while tasks := await rig.lease(1000):
        half = sorted(tasks, key=lambda t: t.execution_id)
        answers = await asyncio.gather(
            rig.complete(*half[::2]), rig.complete(*reversed(half[1::2]))
        )
        assert {status for answer in answers for status in answer} == {"RECORDED"}
    after = await rig.db.fetchval(
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    )
    assert after == before
    assert {await rig.run_status(name) for name in names} == {"COMPLETED"}


async def test_operations_of_every_kind_on_one_execution_leave_it_whole(rig: Rig) -> None:
    await rig.start("x", DIAMOND)

    async def operate() -> None:
        for _ in range(5):
            for call in (
                rig.client.restart("x"),
                rig.client.rerun("x"),
                rig.client.pause(execution_id="x"),
                rig.client.retry_step("x", "a"),
                rig.client.resume(execution_id="x"),
                rig.client.complete_step("x", "b", 1, fence=True),
                rig.client.fail_step("x", "c", "no", fence=True),
                rig.client.create_batch(zart.RetryStep(), execution_ids=["x"]),
                rig.client.cancel_execution("x"),
            ):
                try:
                    await call
                except (
                    errors.StepFinished,
                    errors.NothingSelected,
                    errors.StepNotDead,
                    errors.RunFinished,
                    errors.NothingToRerun,
                ):
                    continue

    await asyncio.gather(operate(), operate(), operate(), rig.work(), rig.work(fail=["b"]))
    await rig.client.resume(everything=True)

    assert await broken(rig.db) == {}


async def test_claims_never_give_one_task_twice(rig: Rig) -> None:
    await rig.start("x", {f"n{n}": () for n in range(300)})
    answers = await asyncio.gather(
        *(rig.client.lease_tasks(f"d{n}", ["t"], max_tasks=60) for n in range(10))
    )
    found = [t.task_id for answer in answers for t in answer]

    async def all_are_leased() -> bool:
        """Lease what is left over: what one claim has locked another passes by."""
        found.extend([t.task_id for t in await rig.lease(300)])
        return len(found) >= 300

    await eventually(all_are_leased)
    assert len(found) == len(set(found)) == 300


async def test_a_claim_never_waits_for_a_row(rig: Rig) -> None:
    await rig.start("x", {"a": ()})
    await rig.start("y", {"a": ()})
    async with rig.locked(
        "SELECT FROM zart.queue q JOIN zart.runs r USING (run_key) JOIN zart.executions e"
        " USING (execution_key) WHERE e.execution_id = 'x' FOR UPDATE OF q"
    ):
        found = await asyncio.wait_for(rig.lease(), GIVE_UP)
    assert [t.execution_id for t in found] == ["y"]


async def test_a_run_that_is_locked_is_leased_all_the_same_and_set_running_later(
    rig: Rig,
) -> None:
    await rig.start("x", {"a": (), "b": ("a",)})
    async with rig.locked("SELECT FROM zart.runs FOR NO KEY UPDATE"):
        (task,) = await asyncio.wait_for(rig.lease(), GIVE_UP)
    await rig.complete(task)

    run = (await rig.client.get_execution("x")).run
    assert run.status == "RUNNING"
    assert run.started_at is not None


@pytest.mark.parametrize("count", [2, 8])
async def test_concurrent_starts_under_one_id_make_one_execution(rig: Rig, count: int) -> None:
    steps = [zart.StepSpec("a")]
    answers = await asyncio.gather(
        *(rig.client.start("t", n, execution_id="same", steps=steps) for n in range(count)),
        return_exceptions=True,
    )
    assert sum(isinstance(a, errors.ExecutionExists) for a in answers) == count - 1
    assert len(await rig.lease()) == 1


async def test_a_wake_up_that_was_lost_keeps_nobody_asleep(zart_database: str, rig: Rig) -> None:
    """NOTIFY is a hint: a server that hears nothing at all finds the work by looking."""
    with serving(zart_database) as deaf:
        async with zart.connect(deaf.address) as elsewhere:
            await deafen(deaf)
            polling = asyncio.create_task(elsewhere.lease_tasks("d", ["t"], wait=LONG))
            await rig.start("watched", CHAIN, task="other")
            watching = asyncio.create_task(elsewhere.handle("watched").run())
            await until_polled(deaf)
            await until(lambda: deaf.running.runtime.watches)
            await rig.start("x", {"a": ()})
            assert [t.step_name for t in await asyncio.wait_for(polling, GIVE_UP)] == ["a"]
            await rig.work(task="other")
            assert (await asyncio.wait_for(watching, GIVE_UP)).status == "COMPLETED"
