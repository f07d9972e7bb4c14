"""A handle of one execution, for the client of asyncio."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Generic, Protocol

from google.protobuf.message import Message

from zart.calls.call import Call
from zart.former import check_same
from zart.models import Execution, ExecutionState
from zart.models import Run as _Run
from zart.run_results import result_of
from zart.tasks import Result
from zart.waiting import last_of, within


class ReadsExecutions(Protocol):
    """What reads executions: a client."""

    async def get_execution(self, execution_id: str) -> ExecutionState:
        """Read the execution, its current run and the run's steps."""

    def watch_execution(self, execution_id: str) -> AsyncGenerator[ExecutionState, None]:
        """Watch the current run until it is finished."""

    async def send_raw(self, call: Call[Any]) -> Message:
        """Send a call and return its answer."""


class Handle(Generic[Result]):
    """A handle of an execution; ``Result`` is the type of its result.

    ``execution`` is what a start answered: that one is meant, and not another one to which its id
    was given since it was removed, of which each method raises ExecutionNotFound.
    """

    def __init__(
        self, client: ReadsExecutions, execution_id: str, execution: Execution | None = None
    ) -> None:
        self.client = client
        self.execution_id = execution_id
        self.execution = execution

    async def state(self) -> ExecutionState:
        """Read the execution, its current run and the run's steps."""
        return self._same(await self.client.get_execution(self.execution_id))

    async def run(self, *, timeout: float | None = None) -> _Run:
        """Wait until the current run has ended, in whatever status, and return it.

        Raises TimeoutError after ``timeout`` seconds; if the watch broke, and told nothing since,
        Unreachable or Unavailable in its place.
        """
        watch = self.client.watch_execution(self.execution_id)
        async with within(timeout), aclosing(watch):
            return (await last_of(self._same(state) async for state in watch)).run

    async def result(self, *, timeout: float | None = None) -> Result:
        """Wait until the current run is finished and return its result.

        One of more than 4 MiB, which ``run`` leaves out, is read of its steps. Raises RunFailed
        where it ended FAILED or CANCELLED, and what ``run`` does.
        """
        async with within(timeout):
            found: Result = await result_of(self.client.send_raw, await self.run())
        return found

    def _same(self, found: ExecutionState) -> ExecutionState:
        if self.execution is not None:
            check_same(self.execution, found.execution)
        return found
