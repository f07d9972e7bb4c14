"""DispatchService requests, checked and decoded."""

from __future__ import annotations

from datetime import timedelta

from zart.v1 import dispatch_service_pb2 as pb
from zart_server.api.checks import Checks
from zart_server.api.decode_execution import decode_steps
from zart_server.api.fields import (
    MAX_ITEMS,
    duration_of,
    has,
    items_of,
    name_of,
    names_of,
    names_sent_again,
    text_of,
)
from zart_server.api.identity import principal
from zart_server.domain.commands import RegisterTask
from zart_server.domain.dispatch import (
    BrokenOff,
    Completed,
    Ending,
    Failed,
    LeaseNext,
    LeaseRef,
    LeaseTasks,
    Outcome,
    Released,
    TimedOut,
)
from zart_server.domain.errors import InvalidField, TooManyItems, ZartError
from zart_server.domain.graph import WrittenGraph
from zart_server.domain.json_text import check_json
from zart_server.domain.model import StepError

_ZERO = timedelta(0)
_MAX_WAIT = timedelta(seconds=60)
_LEASE = timedelta(seconds=1), timedelta(hours=1)
_DEFAULT_LEASE = timedelta(seconds=30)
_MAX_RETRY_AFTER = timedelta(days=366)
_ERROR_BYTES = 16 * 1024


def register_task(request: pb.RegisterTaskRequest) -> RegisterTask:
    """Decode RegisterTask; the graph is checked whole."""
    with Checks() as check:
        definition = request.definition
        task_name = check(name_of, definition.task_name, "definition.task_name")
        steps = decode_steps(definition.steps, "definition.steps")
        return RegisterTask(task_name, WrittenGraph.of(steps, "definition.steps"))


def lease_tasks(request: pb.LeaseTasksRequest) -> LeaseTasks:
    """Decode LeaseTasks."""
    with Checks() as check:
        if not request.task_names:
            check.fail("task_names", "is empty: name the tasks that you can run")
        dispatcher_id = check(name_of, request.dispatcher_id, "dispatcher_id")
        task_names = check(names_sent_again, request.task_names, "task_names")
        handlers = check(names_sent_again, request.handlers, "handlers", 10_000)
        max_tasks = check(_max_tasks, request.max_tasks, "max_tasks")
        wait, lease_duration = _ZERO, _DEFAULT_LEASE
        if has(request, "wait"):
            wait = check(duration_of, request.wait, "wait", _ZERO, _MAX_WAIT)
        if has(request, "lease_duration"):
            lease_duration = check(duration_of, request.lease_duration, "lease_duration", *_LEASE)
        return LeaseTasks(
            dispatcher_id=dispatcher_id,
            task_names=task_names.names,  # not before all of the others are checked
            handlers=handlers.names,
            max_tasks=max_tasks,
            wait=wait,
            lease_duration=lease_duration,
            principal=principal(),
            asked=(task_names, handlers),
        )


def _max_tasks(number: int, field: str) -> int:
    """Check how many tasks are asked for at most. Raises InvalidField or TooManyItems."""
    if number > MAX_ITEMS:
        raise TooManyItems(field, number, MAX_ITEMS)
    if number < 1:
        raise InvalidField(field, f"is {number}, must be 1 to {MAX_ITEMS}")
    return number


def outcomes_of(request: pb.ReportTasksRequest) -> list[Outcome | ZartError]:
    """Decode outcomes; a bad one becomes the error that it is rejected with."""
    dispatcher_id = name_of(request.dispatcher_id, "dispatcher_id")
    items_of(request.outcomes, "outcomes")
    caller = principal()
    lease_next = _lease_next(request, dispatcher_id, caller)
    return [
        _outcome(item, dispatcher_id, caller, None if item.queue_next else lease_next)
        for item in request.outcomes
    ]


def _lease_next(
    request: pb.ReportTasksRequest, dispatcher_id: str, caller: str
) -> LeaseNext | None:
    if not request.HasField("lease_next"):
        return None
    wish = request.lease_next
    with Checks() as check:
        if not wish.task_names:
            check.fail("lease_next.task_names", "is empty: name the tasks that you can run")
        return LeaseNext(
            dispatcher_id=dispatcher_id,
            principal=caller,
            task_names=check(names_sent_again, wish.task_names, "lease_next.task_names"),
            handlers=check(names_sent_again, wish.handlers, "lease_next.handlers", 10_000),
            max_tasks=check(_max_tasks, wish.max_tasks, "lease_next.max_tasks"),
            lease_duration=check(
                duration_of, wish.lease_duration, "lease_next.lease_duration", *_LEASE
            )
            if has(wish, "lease_duration")
            else _DEFAULT_LEASE,
        )


def _outcome(
    item: pb.TaskOutcome, dispatcher_id: str, caller: str, lease_next: LeaseNext | None
) -> Outcome | ZartError:
    try:
        ending = _ending(item, dispatcher_id)
        return Outcome(item.task_id, item.lease_token, ending, caller, lease_next)
    except ZartError as error:
        return error


def _ending(item: pb.TaskOutcome, dispatcher_id: str) -> Ending:
    if item.HasField("completed"):  # as most have
        text = item.completed.result_json or "null"
        check_json(text, "completed.result_json")
        return Completed(text)
    kind = item.WhichOneof("outcome")
    if kind == "failed":
        failed = item.failed
        return Failed(
            error_of(failed.error),
            failed.retryable,
            duration_of(failed.retry_after, "failed.retry_after", _ZERO, _MAX_RETRY_AFTER)
            if has(failed, "retry_after")
            else None,
        )
    if kind == "timed_out":
        return TimedOut()
    if kind == "released":
        released = item.released
        return Released(
            duration_of(released.retry_after, "released.retry_after", _ZERO, _MAX_RETRY_AFTER)
            if has(released, "retry_after")
            else None,
            released.not_begun,
        )
    if kind == "lost":
        return BrokenOff(dispatcher_id)
    raise InvalidField("outcome", "is none of completed, failed, timed_out, released and lost")


def error_of(error: object) -> StepError:
    """Decode an error, cut at 16 KiB together; what PostgreSQL cannot hold is replaced."""
    room = _ERROR_BYTES
    parts = []
    for name in ("type", "message", "details"):
        text = getattr(error, name).replace("\x00", "\N{REPLACEMENT CHARACTER}")
        encoded = text.encode()
        if len(encoded) > room:
            text = encoded[:room].decode(errors="ignore")
        room -= len(text.encode())
        parts.append(text)
    return StepError(*parts)


def lease_refs(request: pb.ExtendLeasesRequest) -> list[LeaseRef]:
    """Decode the leases to extend."""
    name_of(request.dispatcher_id, "dispatcher_id")
    items_of(request.leases, "leases")
    caller = principal()
    return [LeaseRef(lease.task_id, lease.lease_token, caller) for lease in request.leases]


def step_results(request: pb.GetStepResultsRequest) -> tuple[LeaseRef, tuple[str, ...]]:
    """Decode whose results are wanted, and by the holder of which lease."""
    with Checks() as check:
        task_id = check(text_of, request.task_id, "task_id", 255)
        return (
            LeaseRef(task_id, request.lease_token, principal()),
            check(names_of, request.step_names, "step_names", 10_000),
        )
