"""What starts an execution and waits for its result in one call, of both clients."""

from __future__ import annotations

import time
from contextlib import aclosing
from typing import Any, Unpack, overload

from zart import streams
from zart.calls import execution
from zart.calls.execution import StartOptions
from zart.calls.payload import UNSET, JsonText, Unset
from zart.models import Json
from zart.run_results import result_of, result_of_sync
from zart.step_context import Payload
from zart.streams import Sends, SendsSync
from zart.tasks import Result, Task
from zart.waiting import last_in, last_of, within


class Runs:
    """The part of ``Client`` that runs executions to their end."""

    @overload
    async def run(
        self: Sends,
        task: Task[Payload, Result],
        payload: Payload | JsonText | Unset = ...,
        *,
        timeout: float | None = ...,
        **options: Unpack[StartOptions],
    ) -> Result: ...
    @overload
    async def run(
        self: Sends,
        task: str,
        payload: Json | JsonText | Unset = ...,
        *,
        timeout: float | None = ...,
        **options: Unpack[StartOptions],
    ) -> Json: ...
    async def run(
        self: Sends,
        task: Task[Any, Any] | str,
        payload: Json | JsonText | Unset = UNSET,
        *,
        timeout: float | None = None,
        **options: Unpack[StartOptions],
    ) -> Any:
        """Start an execution, as ``start`` does, wait until its run is finished, return its result.

        One call, which is faster than two. Raises what ``start`` does, RunFailed where the run
        ended FAILED or CANCELLED, and TimeoutError after ``timeout`` seconds: the run goes on.
        Unreachable in its place if no server has answered the start by then: it may have happened,
        and the error has the ``request_id`` by which to ask again.
        """
        start = execution.start(task, payload, **options)
        async with within(timeout), aclosing(streams.run(self, start)) as told:
            last = execution.run_execution(start).read(await last_of(told))
            return await result_of(self.send_raw, last.run)


class SyncRuns:
    """The part of ``SyncClient`` that runs executions to their end."""

    @overload
    def run(
        self: SendsSync,
        task: Task[Payload, Result],
        payload: Payload | JsonText | Unset = ...,
        *,
        timeout: float | None = ...,
        **options: Unpack[StartOptions],
    ) -> Result: ...
    @overload
    def run(
        self: SendsSync,
        task: str,
        payload: Json | JsonText | Unset = ...,
        *,
        timeout: float | None = ...,
        **options: Unpack[StartOptions],
    ) -> Json: ...
    def run(
        self: SendsSync,
        task: Task[Any, Any] | str,
        payload: Json | JsonText | Unset = UNSET,
        *,
        timeout: float | None = None,
        **options: Unpack[StartOptions],
    ) -> Any:
        """Start an execution, as ``start`` does, wait until its run is finished, return its result.

        One call, which is faster than two. Raises what ``start`` does, RunFailed where the run
        ended FAILED or CANCELLED, and TimeoutError after ``timeout`` seconds: the run goes on.
        Unreachable in its place if no server has answered the start by then: it may have happened,
        and the error has the ``request_id`` by which to ask again.
        """
        start = execution.start(task, payload, **options)
        until = None if timeout is None else time.monotonic() + timeout
        told = last_in(streams.run_sync(self, start, timeout))
        last = execution.run_execution(start).read(told)
        return result_of_sync(self.send_raw, last.run, until)
