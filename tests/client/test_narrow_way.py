"""Over a narrow way less is asked for at a time, until it comes in time."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

import zart
from zart.dispatcher.in_hand import in_hand_of
from zart.dispatcher.leasing import Leasing
from zart.errors import OperationTimeout, Unreachable
from zart.v1 import dispatch_service_pb2 as pb


class Room:
    """Room for more than comes through."""

    asked = 0

    def to_lease(self, _now: float, **_given: bool) -> int:
        """Say how many tasks there is room for."""
        return 600


def told_by_the_server() -> status_pb2.Status:
    """Return what a server tells that gave up."""
    info, status = any_pb2.Any(), status_pb2.Status(code=grpc.StatusCode.UNAVAILABLE.value[0])
    info.Pack(error_details_pb2.ErrorInfo(reason="OPERATION_TIMEOUT", domain="zart"))
    status.details.append(info)
    return status


def of_a_call() -> grpc.aio.AioRpcError:
    """Return what a call of its own ends with then."""
    details = grpc.aio.Metadata(
        ("grpc-status-details-bin", told_by_the_server().SerializeToString())
    )
    return grpc.aio.AioRpcError(
        grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), details, "took too long"
    )


@pytest.mark.parametrize(
    "late",
    [Unreachable("in time"), OperationTimeout(told_by_the_server()), of_a_call()],
    ids=["no answer", "over a stream", "of a call"],
)
async def test_what_came_too_late_is_asked_for_by_halves_and_more_again(late: Exception) -> None:
    task, stop, asked = zart.Task("t"), asyncio.Event(), []

    @task.step(name="a")
    async def step(_ctx: zart.StepContext) -> None:
        """Do nothing."""

    async def lease(request: pb.LeaseTasksRequest, _timeout: float) -> list[Any]:
        asked.append(request.max_tasks)
        if len(asked) in {1, 2}:
            raise late
        if len(asked) == 6:
            stop.set()
        # What is empty says nothing of the way.
        return in_hand_of([pb.LeasedTask()], 0.0) if len(asked) > 3 else []

    room: Any = Room()
    leasing = Leasing(lease, "d", [task], 30.0, room, lambda _: None, 3.0, lambda _: None)
    await leasing.run(stop)
    assert asked == [600, 300, 150, 150, 300, 600]
