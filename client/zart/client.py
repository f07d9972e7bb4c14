"""The client for asyncio: every RPC as a method, typed, with answers as dataclasses."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import datetime
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, TypeVar, Unpack, overload

import grpc
import grpc.aio
from google.protobuf.message import Message

from zart import sending, streams
from zart.caller import default_caller
from zart.calls import (
    admin,
    audit,
    batch,
    breaker,
    changes,
    definitions,
    dispatch,
    doubts,
    execution,
    filtered,
    resuming,
    retention,
)
from zart.calls.call import Call, ListCall
from zart.calls.execution import StartOptions
from zart.calls.payload import UNSET, JsonText, Unset
from zart.channel import aio_channel
from zart.credentials import Credentials
from zart.errors import RunNotFound, StepNotFound
from zart.exporting import exporting
from zart.former import removed_meanwhile
from zart.handles import Handle
from zart.likeness import like, looks_like
from zart.listing import Listing
from zart.models import Json
from zart.outages import Standing
from zart.runs import Runs
from zart.scripts import play
from zart.start_groups import StartGroups
from zart.step_context import Payload
from zart.tasks import Result, Task
from zart.watches import Watches

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


class Client(Runs, Watches):
    """A connection to the server. Make one with ``connect()`` and use it as a context manager.

    A call has a deadline of ``timeout`` seconds, and raises a class of ``zart.errors``. What waits
    for something to happen has none but its own ``timeout``: ``run``, a handle's ``run`` and
    ``result``, ``watch_…``, ``wait_drained``; ``verify_pause_rule`` has ten minutes more.
    Where servers or their database are away, a call is repeated until then, and raises what it
    failed with last; that is safe, since each mutation carries a ``request_id`` (one is made where
    none is given). Where no server has ever answered this client, and with ``repeats`` False, it is
    repeated four times, within some two seconds; so are calls of a dispatcher, LeaseTasks never.
    It is of the process that made it: in one that is forked later its calls raise RuntimeError.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        triggered_by: str | None = None,
        group_starts: bool = False,
        repeats: bool = True,
    ) -> None:
        super().__init__(channel, Standing(repeats))
        self.timeout = timeout
        self.triggered_by = default_caller() if triggered_by is None else triggered_by
        self._start = StartGroups(self).start if group_starts else self.send

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
        """Close the connection: what waits raises Unreachable, later calls ClientClosed.

        In a process that was forked since it does nothing: the connection is the other process's.
        """
        if not self._is_forked():
            await self._channel.close()

    async def send(self, call: Call[T], *, timeout: float | None = None) -> T:
        """Send a call and read its answer. ``timeout`` in seconds, in place of the client's."""
        call = call.completed(self.triggered_by)
        return call.answer(await self.send_raw(call, timeout=timeout))

    async def send_raw(self, call: Call[Any], *, timeout: float | None = None) -> Message:
        """Send a call and return its answer as a proto; as ``send``."""
        call = call.completed(self.triggered_by)
        most = (self.timeout if timeout is None else timeout) + call.extra_time
        send = sending.send
        return await send(self.channel, call, min(most, streams.LONGEST), self.standing)

    async def export_execution(
        self, execution_id: str, *, created_at: datetime | None = None
    ) -> str:
        """Return an execution whole, as a line of JSON. Raises ExecutionNotFound.

        ``created_at``, as the execution has it in a list, keeps another one apart that was started
        under the id of one that was removed: for that it raises, too.
        """
        try:
            return await play(self.send_raw, exporting(execution_id, created_at))
        except (RunNotFound, StepNotFound) as error:  # of an execution that begins anew
            raise removed_meanwhile(execution_id) from error

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
        self._check_process()  # before it waits for a turn, which the parent may have
        started = await self._start(execution.start(task, payload, **options))
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

    retry_step = _method(changes.retry_step)
    complete_step = _method(changes.complete_step)
    fail_step = _method(changes.fail_step)
    restart = _method(changes.restart)
    rerun = _method(changes.rerun)
    list_runs = _listing(changes.list_runs)
    list_in_doubt = _listing(doubts.list_in_doubt)
    resolve_in_doubt = _method(doubts.resolve_in_doubt)
    compare_runs = _method(changes.compare_runs)
    pause = _method(admin.pause)
    resume = _method(resuming.resume)
    update_pause_rule = _method(admin.update_pause_rule)
    stop_release = _method(resuming.stop_release)
    get_pause_rule = _method(admin.get_pause_rule)
    verify_pause_rule = _method(admin.verify_pause_rule)
    list_pause_rules = _listing(admin.list_pause_rules)

    create_batch = _method(batch.create_batch)
    get_batch = _method(batch.get_batch)
    list_batches = _listing(batch.list_batches)
    list_batch_items = _listing(batch.list_batch_items)
    update_batch = _method(batch.update_batch)
    pause_batch = _method(batch.pause_batch)
    resume_batch = _method(batch.resume_batch)
    cancel_batch = _method(batch.cancel_batch)

    create_breaker = _method(breaker.create_breaker)
    get_breaker = _method(breaker.get_breaker)
    list_breakers = _listing(breaker.list_breakers)
    update_breaker = _method(breaker.update_breaker)
    delete_breaker = _method(breaker.delete_breaker)
    trip_breaker = _method(breaker.trip_breaker)
    reset_breaker = _method(breaker.reset_breaker)

    set_retention = _method(retention.set_retention)
    unset_retention = _method(retention.unset_retention)
    get_retention = _method(retention.get_retention)
    list_retention = _listing(retention.list_retention)
    purge_executions = _method(retention.purge_executions)
    get_stats = _method(retention.get_stats)

    batch_start_executions = _method(execution.batch_start_executions)
    get_execution = _method(execution.get_execution)
    get_step = _method(execution.get_step)
    explain_step = _method(execution.explain_step)
    list_executions = _listing(filtered.list_executions)
    count_executions = _method(filtered.count_executions)
    list_error_groups = _listing(filtered.list_error_groups)
    cancel_execution = _method(execution.cancel_execution)
    list_task_definitions = _listing(definitions.list_task_definitions)
    get_task_definition = _method(definitions.get_task_definition)
    list_operations = _listing(audit.list_operations)
    list_rule_holds = _method(audit.list_rule_holds)

    register_task = _method(dispatch.register_task)
    lease_tasks = _method(dispatch.lease_tasks)
    get_step_results = _method(dispatch.get_step_results)
    report_tasks = _method(dispatch.report_tasks)
    extend_leases = _method(dispatch.extend_leases)


def connect(
    address: str | None = None,
    *,
    timeout: float = DEFAULT_TIMEOUT,
    triggered_by: str | None = None,
    channel: grpc.aio.Channel | None = None,
    credentials: Credentials | None = None,
    keepalive: float | None = None,
    group_starts: bool | None = None,
) -> Client:
    """Connect to a server: ``async with zart.connect() as client``.

    ``timeout``: the seconds that a call may take, repeats included, unless it has its own.
    ``address`` defaults to ``ZART_ADDRESS``, then 127.0.0.1:50051; ``triggered_by`` to
    ``ZART_TRIGGERED_BY``, then user@host; ``credentials`` to ``ZART_TOKEN`` and ``ZART_TLS_*``;
    ``keepalive``, the seconds between pings while a call is open (0: none), to
    ``ZART_KEEPALIVE``, then 3. A ``channel`` of one's own goes before all of them.

    ``group_starts``: starts that are asked for while one is under way go out together, each with
    its own answer, error and deadline. By default they do, unless the ``channel`` is one's own:
    what its interceptors add to each call they would add once to all.
    """
    opened = channel or aio_channel(address, credentials, keepalive)
    groups = channel is None if group_starts is None else group_starts
    return Client(opened, timeout=timeout, triggered_by=triggered_by, group_starts=groups)
