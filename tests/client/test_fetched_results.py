"""Results that were left out of a lease are fetched, whatever becomes of the lease meanwhile."""

from __future__ import annotations

import grpc
import pytest
from between import Between, Refusal
from dispatching import dispatching, start
from rig import Rig
from waiting import GIVE_UP

import zart
from zart.dispatcher import attempts
from zart.testing.server import ServerUnderTest

LONG = "x" * 1_000_000
NAMES = [f"s{number}" for number in range(6)]  # more than 4 MiB together: some are left out
UNAVAILABLE = Refusal(grpc.StatusCode.UNAVAILABLE)


@pytest.mark.parametrize("before", [0, 1], ids=["before the first", "between two"])
async def test_a_step_is_given_all_of_them_though_its_lease_was_extended_meanwhile(
    rig: Rig, zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    monkeypatch.setattr(attempts, "_RESULTS_AT_ONCE", 1)
    task = zart.Task("t")
    for name in NAMES:
        task.step(name=name)(lambda _: LONG)

    @task.step(depends_on=NAMES, retry=zart.Retry(max_attempts=1))
    async def join(ctx: zart.StepContext) -> list[int]:
        return [len(ctx.result_of(name)) for name in NAMES]

    def refuse(method: str, _request: bytes) -> Refusal | None:
        if method != "GetStepResults" or proxy.passed[method] < before:
            return None
        return None if proxy.passed["ExtendLeases"] else UNAVAILABLE

    async with (
        Between(zart_server.address, refuse) as proxy,
        dispatching(zart_server, task, address=proxy.address, lease=9),
    ):
        result = await (await start(rig, task)).result(timeout=GIVE_UP)
    assert result == [len(LONG)] * len(NAMES)
    assert proxy.passed["GetStepResults"] > before
    assert proxy.refused["GetStepResults"]
