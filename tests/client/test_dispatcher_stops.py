"""The end of a dispatcher: what has begun is finished, and the rest is given back."""

from __future__ import annotations

import asyncio

from dispatching import dispatching, start
from rig import Rig, eventually
from waiting import block_until, for_ever, until

import zart
from zart.testing.server import ServerUnderTest


async def test_stopping_lets_handlers_finish_and_gives_back_what_has_not_begun(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    task = zart.Task("t")
    begun, is_stopping = asyncio.Event(), asyncio.Event()

    @task.step()
    async def slow(ctx: zart.StepContext) -> str:
        begun.set()
        await is_stopping.wait()
        return "done"

    @task.step(depends_on=[slow])
    async def after(ctx: zart.StepContext) -> None:
        await asyncio.sleep(0)

    async with dispatching(zart_server, task) as stop:
        await start(rig, task)
        await begun.wait()
        stop.set()
        await asyncio.sleep(0)
        is_stopping.set()
    assert await rig.statuses() == {"slow": "COMPLETED", "after": "SCHEDULED"}


async def test_what_does_not_finish_in_the_grace_period_is_lost_and_counts(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    task = zart.Task("t")
    begun = set[str]()

    @task.step()
    async def endless(ctx: zart.StepContext) -> None:
        begun.add(ctx.step_name)
        await for_ever()

    @task.step(once=True)
    def stubborn(ctx: zart.StepContext) -> None:
        begun.add(ctx.step_name)
        block_until(lambda: ctx.cancelled)

    @task.step(once=True, depends_on=[endless])
    async def after(ctx: zart.StepContext) -> None:
        await asyncio.sleep(0)

    async with dispatching(zart_server, task, grace=0.1, concurrency=2) as stop:
        await start(rig, task)
        await until(lambda: len(begun) == 2)
        stop.set()
    assert await rig.statuses() == {"endless": "SCHEDULED", "stubborn": "DEAD", "after": "PENDING"}
    for name in ("endless", "stubborn"):
        (attempt,) = (await rig.client.get_step("x", name)).attempts
        assert (attempt.status, attempt.in_doubt) == ("LOST", name == "stubborn")


async def test_what_waits_for_a_slot_is_given_back_and_is_not_in_doubt(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    task = zart.Task("t")
    begun = asyncio.Event()
    for n in range(20):

        @task.step(name=f"s{n}", once=True)
        async def endless(_: zart.StepContext) -> None:
            begun.set()
            await for_ever()

    async with dispatching(zart_server, task, grace=0.1, concurrency=4) as stop:
        await start(rig, task)
        await begun.wait()
        stop.set()
    state = await rig.client.get_execution("x")
    doubted = [step for step in state.steps if step.in_doubt]
    assert 1 <= len(doubted) <= 4
    assert {step.status for step in doubted} == {"DEAD"}
    assert {step.status for step in state.steps if not step.in_doubt} == {"SCHEDULED"}


async def test_what_a_step_tells_after_its_lease_was_lost_is_kept_where_it_is_in_doubt(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    task = zart.Task("t")

    @task.step(once=True)
    def pay(ctx: zart.StepContext) -> str:
        block_until(lambda: ctx.cancelled)
        return "receipt 7"

    async with dispatching(zart_server, task, lease=3.0) as stop:
        await start(rig, task)

        async def are_in_hand() -> bool:
            return set((await rig.statuses()).values()) == {"RUNNING"}

        await eventually(are_in_hand)

        async def is_in_doubt() -> bool:
            # Again and again: the dispatcher may extend it before it is swept.
            await rig.db.execute("UPDATE zart.leases SET lease_expires_at = now()")
            return (await rig.client.get_step("x", "pay")).in_doubt

        await eventually(is_in_doubt)

        async def is_told() -> bool:
            return (await rig.client.list_in_doubt())[0].late_outcome is not None

        await eventually(is_told)
        stop.set()
    (item,) = await rig.client.list_in_doubt()
    assert item.late_outcome is not None
    assert (item.late_outcome.status, item.late_outcome.result) == ("COMPLETED", "receipt 7")
    assert (await rig.statuses())["pay"] == "DEAD"


async def test_stopping_under_load_leaves_no_lease_behind(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    task = zart.Task("t")
    for n in range(400):
        task.step(name=f"s{n}")(lambda _: None)
    for round_ in range(5):
        async with dispatching(zart_server, task, concurrency=4) as stop:
            await start(rig, task, execution_id=f"x{round_}")

            async def are_some_done(least: int = 30 * round_) -> bool:
                done: int = await rig.db.fetchval(
                    "SELECT count(*) FROM zart.steps WHERE status = 'completed'"
                )
                return done >= least

            await eventually(are_some_done)
            stop.set()
        leased = await rig.db.fetchval("SELECT count(*) FROM zart.leases")
        assert leased == 0


async def test_stopping_while_next_steps_are_taken_on_leaves_no_lease_behind(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    task = zart.Task("t", sequential=True)
    for n in range(200):
        task.step(name=f"s{n}")(lambda _: None)
    for round_ in range(5):
        async with dispatching(zart_server, task, concurrency=4) as stop:
            for n in range(4):
                await start(rig, task, execution_id=f"x{round_}-{n}")

            async def is_under_way(n: int = round_) -> bool:
                done = await rig.db.fetchval(
                    "SELECT count(*) FROM zart.steps WHERE status = 'completed'"
                )
                return bool(done > 50 * (n + 1))

            await eventually(is_under_way)
            stop.set()
        assert await rig.db.fetchval("SELECT count(*) FROM zart.leases") == 0
