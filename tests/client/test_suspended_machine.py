"""Leases are as old as they are after a suspend, which the monotonic clock does not count."""

from __future__ import annotations

import asyncio
import time

import pytest
from between import Between
from client.test_attempts import leased, told_of
from dispatching import dispatching, start
from rig import Rig
from waiting import GIVE_UP, until

import zart
from zart.calls.call import span
from zart.dispatcher import lease_clock
from zart.dispatcher.in_hand import in_hand_of
from zart.dispatcher.leases import LeaseKeeper
from zart.dispatcher.pulse import Pulse
from zart.testing.server import ServerUnderTest
from zart.v1 import dispatch_service_pb2 as pb

LONG = 3600.0  # seconds, for a lease: nothing is extended within a test but for a suspend


def suspend(patch: pytest.MonkeyPatch, seconds: float = LONG) -> None:
    """Have the machine have slept for so long."""
    read = time.clock_gettime

    def later(clock: int) -> float:
        return read(clock) + (seconds if clock == time.CLOCK_BOOTTIME else 0.0)

    patch.setattr(time, "clock_gettime", later)


def test_its_clock_is_the_monotonic_one_until_a_suspend(monkeypatch: pytest.MonkeyPatch) -> None:
    before = lease_clock.now()
    assert before == pytest.approx(time.monotonic(), abs=60)
    suspend(monkeypatch, 1000)
    assert lease_clock.now() - before == pytest.approx(1000, abs=60)
    monkeypatch.setattr(lease_clock, "_BOOT", None)  # a system that has no such clock
    assert lease_clock.now() == pytest.approx(time.monotonic(), abs=60)


async def test_what_is_at_work_is_extended_as_soon_as_the_machine_goes_on(
    rig: Rig, zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, begun, may_end = zart.Task("t"), asyncio.Event(), asyncio.Event()

    @task.step()
    async def slow(_: zart.StepContext) -> str:
        begun.set()
        await may_end.wait()
        return "done"

    async with (
        Between(zart_server.address) as proxy,
        dispatching(zart_server, task, address=proxy.address, lease=LONG),
    ):
        handle = await start(rig, task)
        await asyncio.wait_for(begun.wait(), GIVE_UP)
        suspend(monkeypatch, LONG / 2)
        await until(lambda: proxy.passed["ExtendLeases"])
        may_end.set()
        assert await handle.result(timeout=GIVE_UP) == "done"


async def test_what_nobody_extends_after_it_is_lost_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (held,) = in_hand_of([pb.LeasedTask(lease_ttl=span(LONG))], lease_clock.now())
    held.begun = True

    def extend(_request: pb.ExtendLeasesRequest, _timeout: float) -> pb.ExtendLeasesResponse:
        return pb.ExtendLeasesResponse()  # which answers for none

    pulse = Pulse(1.0, in_threads=True)
    keeper = LeaseKeeper(extend, "d", {held}, set(), 1.0, pulse, lambda _: None)
    keeping = asyncio.create_task(keeper.run())
    suspend(monkeypatch)
    await until(lambda: held.lost)
    keeping.cancel()
    await asyncio.wait({keeping})


async def test_what_waited_for_a_slot_does_not_begin_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    in_hand = leased()
    suspend(monkeypatch)
    assert (await told_of(in_hand, [])).released.not_begun


def test_what_was_fetched_for_longer_than_a_lease_is_charged_for_that_though_there_was_a_suspend(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    suspend(monkeypatch)
    now, task = time.monotonic(), pb.LeasedTask(lease_ttl=span(30), timeout=span(3600))
    (in_hand,) = in_hand_of([task], lease_clock.now() - 70)
    in_hand.begin_time(now)
    assert in_hand.deadline - now == pytest.approx(3600 - 40, abs=20)
