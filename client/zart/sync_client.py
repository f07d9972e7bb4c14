"""The client for plain code: as ``zart.client``, without asyncio."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, TypeVar, Unpack, overload

import grpc
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
from zart.channel import sync_channel
from zart.client import DEFAULT_TIMEOUT
from zart.closing import close_channel
from zart.credentials import Credentials
from zart.errors import RunNotFound, StepNotFound
from zart.exporting import exporting
from zart.former import removed_meanwhile
from zart.likeness import like, looks_like
from zart.listing import SyncListing
from zart.models import Json
from zart.outages import Standing
from zart.runs import SyncRuns
from zart.scripts import play_sync
from zart.step_context import Payload
from zart.sync_handles import SyncHandle
from zart.sync_start_groups import SyncStartGroups
from zart.tasks import Result, Task
from zart.watches import SyncWatches

P = ParamSpec("P")
T = TypeVar("T")


def _method(build: Callable[P, Call[T]]) -> Callable[Concatenate[SyncClient, P], T]:
    def method(self: SyncClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.send(build(*args, **kwargs))

    return like(build, method)


def _listing(
    build: Callable[P, ListCall[T]],
) -> Callable[Concatenate[SyncClient, P], SyncListing[T]]:
    def method(self: SyncClient, /, *args: P.args, **kwargs: P.kwargs) -> SyncListing[T]:
        return SyncListing(self, build(*args, **kwargs))

    return like(build, method, "SyncListing[{}]")


class SyncClient(SyncRuns, SyncWatches):
    """A connection to the server; as ``Client``, its methods return when they are answered.

    Threads may share it. After a Ctrl-C that met one of its calls, and that the program goes on
    from, it is to be made anew: where KeyboardInterrupt comes within gRPC it may leave a lock held
    that calls of all threads then wait for, past their deadlines.
    """

    def __init__(
        self,
        channel: grpc.Channel,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        triggered_by: str | None = None,
        group_starts: bool = False,
        repeats: bool = True,
    ) -> None:
        super().__init__(channel, Standing(repeats))
        self.timeout = timeout
        self.triggered_by = default_caller() if triggered_by is None else triggered_by
        self._start = SyncStartGroups(self).start if group_starts else self.send

    def __enter__(self) -> SyncClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection: what waits raises Unreachable, later calls ClientClosed.

        In a process that was forked since it does nothing: the connection is the other process's.
        """
        if not self._is_forked():
            close_channel(self._channel)

    def send(self, call: Call[T], *, timeout: float | None = None) -> T:
        """Send a call and read its answer. ``timeout`` in seconds, in place of the client's."""
        call = call.completed(self.triggered_by)
        return call.answer(self.send_raw(call, timeout=timeout))

    def send_raw(self, call: Call[Any], *, timeout: float | None = None) -> Message:
        """Send a call and return its answer as a proto; as ``send``."""
        call = call.completed(self.triggered_by)
        most = (self.timeout if timeout is None else timeout) + call.extra_time
        send = sending.send_sync
        return send(self.channel, call, min(most, streams.LONGEST), self.standing)

    def export_execution(self, execution_id: str, *, created_at: datetime | None = None) -> str:
        """Return an execution whole, as a line of JSON. Raises ExecutionNotFound.

        ``created_at``, as the execution has it in a list, keeps another one apart that was started
        under the id of one that was removed: for that it raises, too.
        """
        try:
            return play_sync(self.send_raw, exporting(execution_id, created_at))
        except (RunNotFound, StepNotFound) as error:  # of an execution that begins anew
            raise removed_meanwhile(execution_id) from error

    @overload
    def start(
        self,
        task: Task[Payload, Result],
        payload: Payload | JsonText | Unset = ...,
        **options: Unpack[StartOptions],
    ) -> SyncHandle[Result]: ...
    @overload
    def start(
        self,
        task: str,
        payload: Json | JsonText | Unset = ...,
        **options: Unpack[StartOptions],
    ) -> SyncHandle[Json]: ...
    @looks_like(execution.start, "SyncHandle[Any]")
    def start(  # noqa: D102 - as the call's
        self,
        task: Task[Any, Any] | str,
        payload: Json | JsonText | Unset = UNSET,
        **options: Unpack[StartOptions],
    ) -> SyncHandle[Any]:
        self._check_process()  # before the lock of grouped starts, which a thread may have held
        started = self._start(execution.start(task, payload, **options))
        return SyncHandle(self, started.execution_id, started)

    @overload
    def handle(self, execution_id: str) -> SyncHandle[Json]: ...
    @overload
    def handle(self, execution_id: str, task: Task[Any, Result]) -> SyncHandle[Result]: ...
    def handle(
        self,
        execution_id: str,
        task: Task[Any, Any] | None = None,  # noqa: ARG002 - for its type
    ) -> SyncHandle[Any]:
        """Return a handle of an execution started elsewhere; asks nothing of the server.

        ``task`` only says of which type its result is.
        """
        return SyncHandle(self, execution_id)

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


def connect_sync(
    address: str | None = None,
    *,
    timeout: float = DEFAULT_TIMEOUT,
    triggered_by: str | None = None,
    channel: grpc.Channel | None = None,
    credentials: Credentials | None = None,
    keepalive: float | None = None,
    group_starts: bool | None = None,
) -> SyncClient:
    """Connect to a server: ``with zart.connect_sync() as client``; arguments as ``connect``.

    Where a program forks, each process makes its own, after the fork: calls of one that was made
    before raise RuntimeError there.
    """
    opened = channel or sync_channel(address, credentials, keepalive)
    groups = channel is None if group_starts is None else group_starts
    return SyncClient(opened, timeout=timeout, triggered_by=triggered_by, group_starts=groups)
