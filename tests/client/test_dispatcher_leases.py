"""A dispatcher's leases: extended while needed, given up when lost, leased ahead within bounds."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from acceptance.serve_process import serve_processes
from dispatching import dispatching, registered, start
from rig import Rig, eventually
from waiting import GIVE_UP, block_until, for_ever, until

import zart
from zart.calls.call import span
from zart.dispatcher.in_hand import in_hand_of
from zart.dispatcher.leases import LeaseKeeper
from zart.dispatcher.pulse import Pulse
from zart.testing.server import ServerUnderTest
from zart.v1 import dispatch_service_pb2 as pb

LEASE = 9.0  # seconds; extended after a third of it, so that a busy machine may stand still for six


async def is_extended(rig: Rig, step_name: str, beyond: float = 1.1 * LEASE) -> bool:
    """Return whether a running step's lease lasts until so many seconds after its start.

    By default: longer than it did at first.
    """
    found: bool = await rig.db.fetchval(
        "SELECT bool_or(lease_expires_at > started_at + $2 * interval '1 second')"
        " FROM zart.leases WHERE step_name = $1", step_name, beyond,
    )  # fmt: skip
    return found


async def test_a_wide_dispatcher_of_quick_handlers_goes_on_leasing(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    """It leases ahead; more than one call gives must never be what makes a call worth it."""
    task = zart.Task("t")

    @task.step()
    async def quick(_ctx: zart.StepContext) -> None:
        pass

    async with dispatching(zart_server, task, concurrency=256):
        await registered(rig, "t")
        for batch in range(3):
            ids = [f"x{batch}-{n}" for n in range(1000)]
            await rig.client.batch_start_executions([zart.Start("t", None, i) for i in ids])

            async def drained() -> bool:
                return not await rig.db.fetchval("SELECT EXISTS (SELECT FROM zart.tasks)")

            await eventually(drained)


async def test_leases_are_extended_while_a_handler_runs(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    task = zart.Task("t")

    @task.step()
    async def slow(ctx: zart.StepContext) -> int:
        await eventually(lambda: is_extended(rig, "slow"))
        return ctx.attempt

    async with dispatching(zart_server, task, lease=LEASE):
        assert await (await start(rig, task)).result(timeout=GIVE_UP) == 1


async def test_a_frozen_server_costs_no_short_lease(
    rig: Rig, zart_server: ServerUnderTest, zart_database: str, tmp_path: Path
) -> None:
    """Of two servers, by turns: the next call is answered by the other one."""
    # Pings are so seldom that none would notice it before the lease is over.
    task, lease, keepalive = zart.Task("t"), 12.0, 6.0
    begun = asyncio.Event()

    @task.step(retry=zart.Retry(max_attempts=1))
    async def slow(_ctx: zart.StepContext) -> None:
        begun.set()
        # By then each server was asked, in two calls or three.
        await eventually(lambda: is_extended(rig, "slow", 1.6 * lease))

    with serve_processes(2, zart_database, tmp_path) as (freezing, other):
        both = f"ipv4:{freezing.address},{other.address}"
        async with dispatching(zart_server, task, address=both, lease=lease, keepalive=keepalive):
            handle = await start(rig, task)
            await asyncio.wait_for(begun.wait(), GIVE_UP)
            with freezing.frozen():
                run = await handle.run(timeout=GIVE_UP)
    assert run.status == "COMPLETED"
    (attempt,) = (await rig.client.get_step("x", "slow")).attempts
    assert attempt.status == "COMPLETED"


async def test_what_is_over_is_given_up_before_the_next_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That could extend it after a call in vain, though its handler has been stopped."""
    monkeypatch.setattr("zart.dispatcher.leases._BATCH", 1)
    leased = [pb.LeasedTask(task_id=str(n), lease_ttl=span(1.5)) for n in range(2)]
    held = in_hand_of(leased, time.monotonic())
    for each in held:
        each.begun = True
    timeouts: list[float] = []

    def extend(_request: pb.ExtendLeasesRequest, timeout: float) -> pb.ExtendLeasesResponse:
        timeouts.append(timeout)
        block_until(lambda: all(each.expires_at <= time.monotonic() for each in held))
        return pb.ExtendLeasesResponse()  # which answers for none

    pulse = Pulse(30.0, in_threads=True)  # the loop has a second to hear of it before the next look
    keeper = LeaseKeeper(extend, "d", set(held), set(), 1.0, pulse, lambda _: None)
    keeping = asyncio.create_task(keeper.run())
    await until(lambda: all(each.lost for each in held))
    assert len(timeouts) == 1
    keeping.cancel()
    await asyncio.wait({keeping})


async def test_a_restart_under_it_cancels_the_handler_and_its_result_is_refused(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    task = zart.Task("t")
    cancelled = asyncio.Event()

    @task.step()
    async def first(ctx: zart.StepContext) -> int:
        if ctx.run_number == 0:
            try:
                await for_ever()
            except asyncio.CancelledError:
                cancelled.set()
                raise
        return ctx.run_number

    async with dispatching(zart_server, task, lease=LEASE):
        handle = await start(rig, task)

        async def running() -> bool:
            return (await rig.statuses())["first"] == "RUNNING"

        await eventually(running)
        answer = await rig.client.restart("x")
        assert len(answer.fenced_steps) == 1
        await asyncio.wait_for(cancelled.wait(), GIVE_UP)
        assert await handle.result(timeout=GIVE_UP) == 1


async def test_a_long_chain_does_not_keep_a_slot_from_what_waits(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    task = zart.Task("t", sequential=True)
    order: list[str] = []

    async def handler(ctx: zart.StepContext) -> None:
        if not order:
            await rig.client.start(task, execution_id="y", steps=[zart.StepSpec("s0")])
        order.append(ctx.execution_id)

    for n in range(40):
        task.step(name=f"s{n}")(handler)
    async with dispatching(zart_server, task, concurrency=1):
        await (await start(rig, task)).result(timeout=GIVE_UP)
    assert len(order) == 41
    assert 1 <= order.index("y") <= 17


async def test_waiting_for_a_slot_loses_no_lease(rig: Rig, zart_server: ServerUnderTest) -> None:
    task = zart.Task("t")
    for n in range(60):
        task.step(name=f"quick{n}")(lambda _: None)

    @task.step(depends_on=["quick0"])
    async def slow(ctx: zart.StepContext) -> None:
        await eventually(lambda: is_extended(rig, "slow"))

    async with dispatching(zart_server, task, lease=LEASE, concurrency=1):
        run = await (await start(rig, task)).run(timeout=GIVE_UP)
    assert run.status == "COMPLETED"
    state = await rig.client.get_execution("x")
    assert all(len([a for a in s.attempts if a.status != "RELEASED"]) == 1 for s in state.steps)


async def test_what_was_leased_ahead_goes_to_whoever_has_a_slot(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    """Quick steps let it lease far ahead; then slow ones take its slots."""
    task, let_go = zart.Task("t"), asyncio.Event()
    ran: list[str] = []

    @task.step()
    async def step(ctx: zart.StepContext) -> None:
        ran.append(ctx.execution_id)
        if ctx.payload == "slow":
            await let_go.wait()

    async with dispatching(zart_server, task, lease=LEASE, concurrency=2):
        await registered(rig, "t")
        kinds = ["quick"] * 400 + ["slow"] * 2 + ["quick"] * 100
        starts = [zart.Start("t", kind, f"x{n}") for n, kind in enumerate(kinds)]
        await rig.client.batch_start_executions(starts)
        async with dispatching(zart_server, task, lease=LEASE, concurrency=2):

            async def are_all_but_the_slow_done() -> bool:
                return len(set(ran)) == len(kinds) and await rig.db.fetchval(
                    "SELECT count(*) = 2 FROM zart_tasks"
                )

            await eventually(are_all_but_the_slow_done)
            let_go.set()
    assert len(ran) == len(kinds)


async def test_a_lease_that_was_won_back_in_a_loop_that_stood_still_is_kept() -> None:
    """The loop hears late that nobody answered for a whole lease: since then a server has."""
    (held,) = in_hand_of([pb.LeasedTask(lease_ttl=span(0.1))], time.monotonic())
    held.begun = True
    answers = iter([pb.ExtendLeasesResponse()])  # for none

    def extend(request: pb.ExtendLeasesRequest, _timeout: float) -> pb.ExtendLeasesResponse:
        block_until(lambda: held.expires_at <= time.monotonic())
        result = pb.ExtendResult(extended=True, lease_ttl=span(LEASE))
        return next(answers, pb.ExtendLeasesResponse(results=[result for _ in request.leases]))

    pulse = Pulse(1.0, in_threads=True)
    keeper = LeaseKeeper(extend, "d", {held}, set(), 1.0, pulse, lambda _: None)
    keeping = asyncio.create_task(keeper.run())
    await asyncio.sleep(0)
    block_until(lambda: held.expires_at > time.monotonic() + 1)  # the loop stands still
    for _ in range(3):
        await asyncio.sleep(0)  # it hears of all
    assert not held.lost
    keeping.cancel()
    await asyncio.wait({keeping})
