"""The client for asyncio: every RPC as a method, typed, with answers as dataclasses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, Unpack, overload

import grpc
import grpc.aio
from google.protobuf.message import Message

from zart.caller import default_caller
from zart.calls import admin, dispatch, execution
from zart.calls.call import Call, ListCall
from zart.calls.execution import StartOptions
from zart.calls.payload import UNSET, JsonText, Unset
from zart.channel import aio_channel
from zart.credentials import Credentials
from zart.errors import Unreachable, from_call
from zart.likeness import like, looks_like
from zart.models import (
    Execution,
    ExecutionState,
    Json,
    Page,
)
from zart.models import Run as _Run
from zart.step_context import Payload
from zart.tasks import Result, Task
from zart.waiting import Reconnecting, result_of

P = ParamSpec("P")
T = TypeVar("T")

DEFAULT_TIMEOUT = 30.0


def _method(
    build: Callable[P, Call[T]],
) -> Callable[Concatenate[Client, P], Coroutine[Any, Any, T]]:
    async def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.send(build(*args, **kwargs))

    return like(build, method)


def _listing(
    build: Callable[P, ListCall[T]],
) -> Callable[Concatenate[Client, P], Listing[T]]:
    def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> Listing[T]:
        return Listing(self, build(*args, **kwargs))

    return like(build, method, "Listing[{}]")


class Listing(Generic[T]):
    """A list on the server: iterate over all items, over pages, or await all of them.

    ``async for item in listing`` · ``async for page in listing.pages()`` · ``await listing``
    """

    def __init__(self, client: Client, call: ListCall[T]) -> None:
        self._client = client
        self._call = call

    async def pages(self) -> AsyncGenerator[Page[T], None]:
        """Return page after page."""
        call = self._call
        while True:
            page = await self._client.send(call)
            yield page
            if not page.next_page_token:
                return
            call = call.after(page.next_page_token)

    async def __aiter__(self) -> AsyncIterator[T]:
        async for page in self.pages():
            for item in page.items:
                yield item

    def __await__(self) -> Generator[Any, None, list[T]]:
        return self._all().__await__()

    async def _all(self) -> list[T]:
        return [item async for item in self]


class Client:
    """A connection to the server. Make one with ``connect()`` and use it as a context manager.

    Every method has a deadline of ``timeout`` seconds and raises a class of ``zart.errors``.
    A call that finds no server is repeated up to four times within it; that is safe, since each
    mutation carries a ``request_id`` (one is made where none is given). LeaseTasks never is.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        triggered_by: str | None = None,
    ) -> None:
        self.channel = channel
        self.timeout = timeout
        self.triggered_by = default_caller() if triggered_by is None else triggered_by

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection."""
        await self.channel.close()

    async def send(self, call: Call[T]) -> T:
        """Send a call and read its answer."""
        return call.read(await self.send_raw(call))

    async def send_raw(self, call: Call[Any]) -> Message:
        """Send a call and return its answer as a proto."""
        call = call.completed(self.triggered_by)
        rpc: Callable[..., Any] = self.channel.unary_unary(
            call.path,
            request_serializer=type(call.request).SerializeToString,
            response_deserializer=call.response_type.FromString,
        )
        try:
            answer: Message = await rpc(call.request, timeout=self.timeout + call.extra_time)
        except grpc.RpcError as error:
            raise from_call(error) from error
        return answer

    @overload
    async def start(
        self,
        task: Task[Payload, Result],
        payload: Payload | JsonText | Unset = ...,
        **options: Unpack[StartOptions],
    ) -> Handle[Result]: ...
    @overload
    async def start(
        self,
        task: str,
        payload: Json | JsonText | Unset = ...,
        **options: Unpack[StartOptions],
    ) -> Handle[Json]: ...
    @looks_like(execution.start, "Handle[Any]")
    async def start(  # noqa: D102 - as the call's
        self,
        task: Task[Any, Any] | str,
        payload: Json | JsonText | Unset = UNSET,
        **options: Unpack[StartOptions],
    ) -> Handle[Any]:
        started = await self.send(execution.start(task, payload, **options))
        return Handle(self, started.execution_id, started)

    @overload
    def handle(self, execution_id: str) -> Handle[Json]: ...
    @overload
    def handle(self, execution_id: str, task: Task[Any, Result]) -> Handle[Result]: ...
    def handle(
        self,
        execution_id: str,
        task: Task[Any, Any] | None = None,  # noqa: ARG002 - for its type
    ) -> Handle[Any]:
        """Return a handle of an execution started elsewhere; asks nothing of the server.

        ``task`` only says of which type its result is.
        """
        return Handle(self, execution_id)

    async def watch_execution(
        self, execution_id: str, *, run_number: int | None = None
    ) -> AsyncGenerator[ExecutionState, None]:
        """Watch a run: the whole state first, then what changed, until it is finished.

        Without ``run_number`` it follows the execution across a restart. When the connection
        breaks it is taken up again, which gives the whole state again. Raises ExecutionNotFound,
        RunNotFound, and Unreachable where there never was an answer.
        """
        call = execution.watch_execution(execution_id, run_number=run_number)
        rpc: Callable[..., Any] = self.channel.unary_stream(
            call.path,
            request_serializer=type(call.request).SerializeToString,
            response_deserializer=call.response_type.FromString,
        )
        again = Reconnecting()
        while True:
            try:
                async for message in rpc(call.request):
                    again.answered()
                    yield call.read(message)
            except grpc.RpcError as error:
                problem = from_call(error)
                await asyncio.sleep(again.delay_after(problem))
            else:
                return

    retry_step = _method(admin.retry_step)
    restart = _method(admin.restart)
    rerun = _method(admin.rerun)
    list_runs = _listing(admin.list_runs)
    pause = _method(admin.pause)
    resume = _method(admin.resume)
    get_pause_rule = _method(admin.get_pause_rule)
    list_pause_rules = _listing(admin.list_pause_rules)

    batch_start_executions = _method(execution.batch_start_executions)
    get_execution = _method(execution.get_execution)
    get_step = _method(execution.get_step)
    explain_step = _method(execution.explain_step)
    list_executions = _listing(execution.list_executions)
    cancel_execution = _method(execution.cancel_execution)
    list_task_definitions = _listing(execution.list_task_definitions)
    get_task_definition = _method(execution.get_task_definition)
    list_operations = _listing(execution.list_operations)

    register_task = _method(dispatch.register_task)
    lease_tasks = _method(dispatch.lease_tasks)
    get_step_results = _method(dispatch.get_step_results)
    report_tasks = _method(dispatch.report_tasks)
    extend_leases = _method(dispatch.extend_leases)


class Handle(Generic[Result]):
    """A handle of an execution; ``Result`` is the type of its result."""

    def __init__(
        self, client: Client, execution_id: str, execution: Execution | None = None
    ) -> None:
        self.client = client
        self.execution_id = execution_id
        self.execution = execution

    async def state(self) -> ExecutionState:
        """Read the execution, its current run and the run's steps."""
        return await self.client.get_execution(self.execution_id)

    async def run(self, *, timeout: float | None = None) -> _Run:
        """Wait until the current run has ended, in whatever status, and return it.

        Raises TimeoutError after ``timeout`` seconds.
        """
        async with asyncio.timeout(timeout):
            run: _Run | None = None
            async for state in self.client.watch_execution(self.execution_id):
                run = state.run
            if run is None:
                raise Unreachable(f"the watch of {self.execution_id!r} ended without a message")
            return run

    async def result(self, *, timeout: float | None = None) -> Result:
        """Wait until the current run is finished and return its result.

        Raises RunFailed where it ended FAILED or CANCELLED, TimeoutError after ``timeout``
        seconds.
        """
        found: Result = result_of(await self.run(timeout=timeout))
        return found


def connect(
    address: str | None = None,
    *,
    timeout: float = DEFAULT_TIMEOUT,
    triggered_by: str | None = None,
    channel: grpc.aio.Channel | None = None,
    credentials: Credentials | None = None,
    keepalive: float | None = None,
) -> Client:
    """Connect to a server: ``async with zart.connect() as client``.

    ``address`` defaults to ``ZART_ADDRESS``, then 127.0.0.1:50051; ``triggered_by`` to
    ``ZART_TRIGGERED_BY``, then user@host; ``credentials`` to ``ZART_TOKEN`` and ``ZART_TLS_*``;
    ``keepalive``, the seconds between pings while a call is open (0: none), to
    ``ZART_KEEPALIVE``, then 3. A ``channel`` of one's own goes before all of them.
    """
    opened = channel or aio_channel(address, credentials, keepalive)
    return Client(opened, timeout=timeout, triggered_by=triggered_by)
