"""A handle of one execution, for the client without asyncio."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing
from typing import Any, Generic, Protocol

from google.protobuf.message import Message

from zart.calls.call import Call
from zart.former import check_same
from zart.models import Execution, ExecutionState, Run
from zart.run_results import result_of_sync
from zart.tasks import Result
from zart.waiting import last_in


class ReadsExecutionsSync(Protocol):
    """What reads executions: a client."""

    def get_execution(self, execution_id: str) -> ExecutionState:
        """Read the execution, its current run and the run's steps."""

    def watch_execution(
        self, execution_id: str, *, timeout: float | None = None
    ) -> Generator[ExecutionState, None, None]:
        """Watch the current run until it is finished."""

    def send_raw(self, call: Call[Any]) -> Message:
        """Send a call and return its answer."""


class SyncHandle(Generic[Result]):
    """A handle of an execution; ``Result`` is the type of its result.

    ``execution`` is what a start answered: that one is meant, and not another one to which its id
    was given since it was removed, of which each method raises ExecutionNotFound.
    """

    def __init__(
        self, client: ReadsExecutionsSync, execution_id: str, execution: Execution | None = None
    ) -> None:
        self.client = client
        self.execution_id = execution_id
        self.execution = execution

    def state(self) -> ExecutionState:
        """Read the execution, its current run and the run's steps."""
        return self._same(self.client.get_execution(self.execution_id))

    def run(self, *, timeout: float | None = None) -> Run:
        """Wait until the current run has ended, in whatever status, and return it.

        Raises TimeoutError after ``timeout`` seconds; if the watch broke, and told nothing since,
        Unreachable or Unavailable in its place.
        """
        with closing(self.client.watch_execution(self.execution_id, timeout=timeout)) as watch:
            return last_in(self._same(state) for state in watch).run

    def result(self, *, timeout: float | None = None) -> Result:
        """Wait until the current run is finished and return its result.

        One of more than 4 MiB, which ``run`` leaves out, is read of its steps. Raises RunFailed
        where it ended FAILED or CANCELLED, and what ``run`` does.
        """
        until = None if timeout is None else time.monotonic() + timeout
        found: Result = result_of_sync(self.client.send_raw, self.run(timeout=timeout), until)
        return found

    def _same(self, found: ExecutionState) -> ExecutionState:
        if self.execution is not None:
            check_same(self.execution, found.execution)
        return found
