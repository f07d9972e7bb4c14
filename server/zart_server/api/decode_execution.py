"""ExecutionService requests, checked and decoded."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from zart.v1 import execution_service_pb2 as pb
from zart.v1 import in_doubt_pb2, task_definition_pb2
from zart_server.api import call_trace
from zart_server.api.checks import Checks, caller_at_once, caller_of
from zart_server.api.fields import (
    duration_of,
    has,
    items_of,
    json_of,
    name_of,
    optional_number,
)
from zart_server.api.plans import planning_of
from zart_server.domain.commands import (
    Caller,
    CancelExecution,
    StartExecution,
)
from zart_server.domain.errors import InvalidField, ZartError
from zart_server.domain.graph import MAX_STEPS, WrittenGraph, refuse_edges
from zart_server.domain.if_in_doubt import IfInDoubt
from zart_server.domain.model import (
    MOST_ATTEMPTS,
    IfExists,
    RetryPolicy,
    StepSpec,
)

_IF_EXISTS = {
    pb.IF_EXISTS_UNSPECIFIED: IfExists.FAIL,
    pb.IF_EXISTS_FAIL: IfExists.FAIL,
    pb.IF_EXISTS_RETURN: IfExists.RETURN,
}
_IF_IN_DOUBT = {
    in_doubt_pb2.IF_IN_DOUBT_UNSPECIFIED: IfInDoubt.RETRY,
    in_doubt_pb2.IF_IN_DOUBT_RETRY: IfInDoubt.RETRY,
    in_doubt_pb2.IF_IN_DOUBT_STOP: IfInDoubt.STOP,
}
_ZERO = timedelta(0)
_LONGEST = timedelta(days=366)


def start_execution(request: pb.StartExecutionRequest) -> StartExecution:
    """Decode StartExecution; an inline graph is checked whole."""
    if not request.steps:
        with contextlib.suppress(ZartError, KeyError):  # told in full below
            return _of_a_registered_task(request, caller_at_once(request))
    with Checks() as check:
        if request.if_exists not in _IF_EXISTS:
            check.fail("if_exists", f"{request.if_exists} is not a value of IfExists")
        steps = check(decode_steps, request.steps, "steps")
        graph = check(WrittenGraph.of, steps) if steps else None
        return StartExecution(
            execution_id=check(name_of, request.execution_id, "execution_id")
            if request.execution_id
            else "",
            task_name=check(name_of, request.task_name, "task_name"),
            payload_json=check(json_of, request, "payload_kind", "payload"),
            graph=graph,
            if_exists=_IF_EXISTS.get(request.if_exists, IfExists.FAIL),
            caller=check(caller_of, request),
            traceparent=call_trace.traceparent(),
        )


def start_of_batch(request: pb.StartExecutionRequest, batch: Caller) -> StartExecution:
    """Decode an item of a batch: its own words go before the batch's, the request_id is one."""
    if not (
        request.steps
        or request.triggered_by
        or request.reason
        or request.incident
        or request.request_id
    ):
        with contextlib.suppress(ZartError, KeyError):  # told in full below
            return _of_a_registered_task(request, batch)
    if request.request_id:
        raise InvalidField("request_id", "belongs to the batch, not to an item")
    item = start_execution(request)
    caller = Caller(
        item.caller.triggered_by or batch.triggered_by,
        item.caller.reason or batch.reason,
        batch.request_id,
        batch.principal,
        item.caller.incident or batch.incident,
    )
    return replace(item, caller=caller)


def _of_a_registered_task(request: pb.StartExecutionRequest, caller: Caller) -> StartExecution:
    """Decode a start without a graph. Raises at the first bad field, of one of several."""
    return StartExecution(
        name_of(request.execution_id, "execution_id") if request.execution_id else "",
        name_of(request.task_name, "task_name"),
        json_of(request, "payload_kind", "payload"),
        None,
        _IF_EXISTS[request.if_exists],
        caller,
        call_trace.traceparent(),
    )


def decode_steps(specs: Sequence[task_definition_pb2.StepSpec], field: str) -> tuple[StepSpec, ...]:
    """Decode the steps of a graph; what is unset gets its default."""
    with Checks() as check:
        items_of(specs, field, MAX_STEPS)
        refuse_edges(sum(len(spec.depends_on) for spec in specs), field)
        return tuple(check(_step, spec, f"{field}[{index}]") for index, spec in enumerate(specs))


def _step(spec: task_definition_pb2.StepSpec, path: str) -> StepSpec:
    with Checks() as check:
        name = check(name_of, spec.step_name, f"{path}.step_name")
        policy = RetryPolicy()
        if has(spec, "retry_policy"):
            policy = check(_policy, spec.retry_policy, f"{path}.retry_policy")
        timeout = timedelta(minutes=10)
        if has(spec, "timeout"):
            timeout = check(
                duration_of, spec.timeout, f"{path}.timeout", timedelta(milliseconds=1), _LONGEST
            )
        if spec.if_in_doubt not in _IF_IN_DOUBT:
            check.fail(f"{path}.if_in_doubt", f"{spec.if_in_doubt} is not a value of IfInDoubt")
        return StepSpec(
            step_name=name,
            depends_on=tuple(spec.depends_on),  # names of other steps, or no graph is made of them
            handler=check(name_of, spec.handler, f"{path}.handler") if spec.handler else name,
            input_json=check(json_of, spec, "input_kind", "input", f"{path}."),
            retry_policy=policy,
            timeout=timeout,
            if_in_doubt=_IF_IN_DOUBT[spec.if_in_doubt],
        )


def _policy(policy: task_definition_pb2.RetryPolicy, path: str) -> RetryPolicy:
    with Checks() as check:
        default = RetryPolicy()
        if not 0 <= policy.max_attempts <= MOST_ATTEMPTS:
            check.fail(f"{path}.max_attempts", f"must be 1 to {MOST_ATTEMPTS}, or 0 for 3")
        multiplier = policy.backoff_multiplier
        if multiplier != 0 and not 1 <= multiplier <= 1e6:  # noqa: PLR2004 - NaN fails it too
            check.fail(f"{path}.backoff_multiplier", "must be 1 to 1e6, or 0 for 2")
        spans = {
            name: check(duration_of, getattr(policy, name), f"{path}.{name}", _ZERO, _LONGEST)
            if has(policy, name)
            else getattr(default, name)
            for name in ("initial_backoff", "max_backoff")
        }
        return RetryPolicy(
            max_attempts=policy.max_attempts or default.max_attempts,
            backoff_multiplier=multiplier or default.backoff_multiplier,
            **spans,
        )


def run_of(
    request: pb.GetExecutionRequest
    | pb.GetStepRequest
    | pb.ExplainStepRequest
    | pb.WatchExecutionRequest,
) -> tuple[str, int | None]:
    """Decode which run is meant."""
    with Checks() as check:
        return (
            check(name_of, request.execution_id, "execution_id"),
            check(optional_number, request, "run_number", 0),
        )


def cancel_execution(request: pb.CancelExecutionRequest) -> CancelExecution:
    """Decode CancelExecution."""
    with Checks() as check:
        return CancelExecution(
            check(name_of, request.execution_id, "execution_id"),
            check(optional_number, request, "expected_run_number", 0),
            check(planning_of, request),
        )
