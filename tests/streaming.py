"""Short words for a DispatchTasks stream: ask with a number, read the answer of that number."""

from __future__ import annotations

import itertools
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration

from zart.v1 import dispatch_service_pb2 as pb
from zart.v1.dispatch_service_pb2_grpc import DispatchServiceStub


def lease_request(task: str = "t", **fields: Any) -> pb.LeaseTasksRequest:
    """Ask for tasks of ``task``."""
    given: dict[str, Any] = {"dispatcher_id": "d", "task_names": [task], "max_tasks": 10, **fields}
    return pb.LeaseTasksRequest(**given)


def completed(task: pb.LeasedTask, **fields: Any) -> pb.TaskOutcome:
    """Complete a leased task."""
    done = pb.TaskCompleted(result_json='"done"')
    given: dict[str, Any] = {"task_id": task.task_id, "lease_token": task.lease_token, **fields}
    return pb.TaskOutcome(completed=done, **given)


def waiting(seconds: int) -> Duration:
    """Make a span."""
    return Duration(seconds=seconds)


class Stream:
    """One open stream."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.call: Any = DispatchServiceStub(channel).DispatchTasks()
        self._numbers = itertools.count(1)
        self.told: dict[int, pb.DispatchTasksResponse] = {}

    async def send(self, **request: Any) -> int:
        """Send a request; gives its number."""
        number = next(self._numbers)
        await self.call.write(pb.DispatchTasksRequest(number=number, **request))
        return number

    async def read(self, number: int) -> pb.DispatchTasksResponse:
        """Read on until this request is answered; 0: until the stream is to end."""
        while number not in self.told:
            message = await self.call.read()
            assert message is not grpc.aio.EOF, (await self.call.code(), self.told)
            self.told[message.number] = message
        return self.told.pop(number)

    async def ask(self, **request: Any) -> pb.DispatchTasksResponse:
        """Send a request and read its answer."""
        return await self.read(await self.send(**request))

    async def lease(self, task: str = "t", **fields: Any) -> list[pb.LeasedTask]:
        """Lease tasks."""
        return list((await self.ask(lease=lease_request(task, **fields))).leased.tasks)

    async def report(self, *outcomes: pb.TaskOutcome, **fields: Any) -> pb.ReportTasksResponse:
        """Report outcomes."""
        request = pb.ReportTasksRequest(dispatcher_id="d", outcomes=outcomes, **fields)
        return (await self.ask(report=request)).reported

    async def end(self) -> grpc.StatusCode:
        """Half-close, and read to the end; gives the status."""
        await self.call.done_writing()
        return await self.code()

    async def code(self) -> grpc.StatusCode:
        """Read to the end; gives the status."""
        try:
            while (message := await self.call.read()) is not grpc.aio.EOF:
                self.told[message.number] = message
        except grpc.aio.AioRpcError:
            pass  # the call has the code
        found: grpc.StatusCode = await self.call.code()
        return found
