"""An attempt whose lease ended while it waited does not begin, and is given back."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc.aio
import pytest

import zart
from zart.calls.call import span
from zart.dispatcher.attempts import Attempts
from zart.dispatcher.in_hand import InHand, in_hand_of
from zart.dispatcher.threads import Threads
from zart.v1 import dispatch_service_pb2 as pb
from zart.v1.dispatch_service_pb2_grpc import DispatchServiceStub


@pytest.mark.parametrize(
    ("waited", "outcome"), [(0.0, "completed"), (31.0, "released")], ids=["in time", "too late"]
)
async def test_it_begins_only_within_its_lease(waited: float, outcome: str) -> None:
    task, told = zart.Task("t"), list[pb.TaskOutcome]()
    task.step(name="a")(lambda _: None)
    leased = pb.LeasedTask(
        task_name="t", step_name="a", handler="a", timeout=span(60), lease_ttl=span(30)
    )
    (in_hand,) = in_hand_of([leased], time.monotonic() - waited)

    def report(of: InHand, what: pb.TaskOutcome) -> None:
        of.ended_at = time.monotonic()
        told.append(what)

    begun: list[InHand] = []
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        stub: Any = DispatchServiceStub(channel)
        with ThreadPoolExecutor(1) as pool:
            attempts = Attempts(stub, [task], Threads(pool), report, lambda _: None)
            await attempts.run(in_hand, begun.append)
    (found,) = told
    assert found.WhichOneof("outcome") == outcome
    assert found.released.not_begun == (outcome == "released")
    assert bool(begun) == (outcome == "completed")
