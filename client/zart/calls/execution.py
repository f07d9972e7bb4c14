"""The calls of ExecutionService."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from zart.calls.call import Call, plan_reader, reader, span
from zart.calls.choices import number_of
from zart.calls.payload import UNSET, JsonText, Unset, json_text
from zart.calls.several import several
from zart.decoding import decode
from zart.errors import Refused, from_status
from zart.models import (
    Cancelled,
    Execution,
    ExecutionState,
    Explanation,
    IfExists,
    Json,
    Retry,
    Step,
    StepSpec,
)
from zart.tasks import Task
from zart.v1 import execution_service_pb2 as pb
from zart.v1 import in_doubt_pb2, task_definition_pb2

_METHODS = pb.DESCRIPTOR.services_by_name["ExecutionService"].methods_by_name


@dataclass(frozen=True, slots=True)
class Start:
    """What to start; one item of a batch."""

    task_name: str
    payload: Json | Unset = UNSET
    execution_id: str = ""
    steps: Sequence[StepSpec] = ()
    if_exists: IfExists | str | None = None


def _start_request(item: Start) -> pb.StartExecutionRequest:
    request = pb.StartExecutionRequest(
        execution_id=item.execution_id,
        task_name=item.task_name,
        steps=map(step_spec, item.steps),
        if_exists=pb.IF_EXISTS_UNSPECIFIED
        if item.if_exists is None
        else number_of(pb.IfExists, item.if_exists, "if_exists"),
    )
    if not isinstance(item.payload, Unset):
        request.payload_json = json_text(item.payload)
    return request


def step_spec(spec: StepSpec) -> task_definition_pb2.StepSpec:
    """Encode one step of a graph. Raises ValueError for an ``if_in_doubt`` that is none."""
    encoded = task_definition_pb2.StepSpec(
        step_name=spec.step_name,
        depends_on=several(spec.depends_on),
        handler=spec.handler,
        retry_policy=_retry_policy(spec.retry),
        timeout=span(spec.timeout, "timeout"),
        if_in_doubt=number_of(in_doubt_pb2.IfInDoubt, spec.if_in_doubt, "if_in_doubt"),
    )
    if spec.input is not None:
        encoded.input_json = json_text(spec.input)
    return encoded


def _retry_policy(retry: Retry) -> task_definition_pb2.RetryPolicy:
    return task_definition_pb2.RetryPolicy(
        max_attempts=retry.max_attempts,
        initial_backoff=span(retry.initial_backoff, "initial_backoff"),
        backoff_multiplier=retry.backoff_multiplier,
        max_backoff=span(retry.max_backoff, "max_backoff"),
    )


def start_execution(
    start: Start,
    *,
    triggered_by: str = "",
    reason: str = "",
    incident: str = "",
    request_id: str = "",
) -> Call[Execution]:
    """Start an execution. Raises ExecutionExists, TaskDefinitionNotFound, PayloadTooLarge."""
    request = _start_request(start)
    request.triggered_by, request.reason = triggered_by, reason
    request.incident, request.request_id = incident, request_id
    return Call(
        _METHODS["StartExecution"],
        request,
        lambda response: decode(Execution, response.execution),
    )


def run_execution(start: Call[Execution]) -> Call[ExecutionState]:
    """Start an execution and follow it until its current run is finished, in one call.

    The first message is the answer to ``start``, which is completed; what reads is for the others.
    Raises what the start does, and ExecutionNotFound.
    """
    request = pb.RunExecutionRequest()
    request.start.CopyFrom(start.request)  # type: ignore[arg-type]  # known by its fields
    return Call(
        _METHODS["RunExecution"],
        request,
        lambda told: decode(ExecutionState, told.state),
    )


class StartOptions(TypedDict, total=False):
    """The options of ``start``, for type checkers."""

    execution_id: str
    steps: Sequence[StepSpec]
    if_exists: IfExists | str | None
    triggered_by: str
    reason: str
    incident: str
    request_id: str


def start(
    task: Task[Any, Any] | str,
    payload: Json | JsonText | Unset = UNSET,
    *,
    execution_id: str = "",
    steps: Sequence[StepSpec] = (),
    if_exists: IfExists | str | None = None,
    triggered_by: str = "",
    reason: str = "",
    incident: str = "",
    request_id: str = "",
) -> Call[Execution]:
    """Start an execution of a task, on its registered graph or on ``steps``.

    ``zart.JsonText`` as payload is sent as it is written. The execution_id is made by the
    server where none is given. Raises ExecutionExists, TaskDefinitionNotFound, InvalidField or
    PayloadTooLarge.
    """
    name = task.name if isinstance(task, Task) else task
    return start_execution(
        Start(name, payload, execution_id, steps, if_exists),
        triggered_by=triggered_by,
        reason=reason,
        incident=incident,
        request_id=request_id,
    )


def batch_start_executions(
    starts: Iterable[Start],
    *,
    triggered_by: str = "",
    reason: str = "",
    incident: str = "",
    request_id: str = "",
) -> Call[tuple[Execution | Refused, ...]]:
    """Start up to 1,000 executions at once; each one stands or falls alone.

    Answers, in order, the execution or why it was not started: TooManyItems, too, where it would
    have more than 50,000 steps with those before it; ask for it in another call. Raises
    TooManyItems.
    """
    request = pb.BatchStartExecutionsRequest(
        requests=map(_start_request, starts),
        triggered_by=triggered_by,
        reason=reason,
        incident=incident,
        request_id=request_id,
    )
    return Call(_METHODS["BatchStartExecutions"], request, _batch_results)


def start_together(starts: Iterable[Call[Execution]]) -> Call[tuple[Execution | Refused, ...]]:
    """Put calls of StartExecution into one of BatchStartExecutions, which has the request_id.

    Each keeps its own triggered_by, reason and incident; none may have a request_id of its own.
    """
    request = pb.BatchStartExecutionsRequest()
    for call in starts:
        request.requests.add().MergeFromString(call.request.SerializeToString())
    return Call(_METHODS["BatchStartExecutions"], request, _batch_results)


def _batch_results(
    response: pb.BatchStartExecutionsResponse,
) -> tuple[Execution | Refused, ...]:
    return tuple(
        decode(Execution, result.execution)
        if result.HasField("execution")
        else from_status(result.error)
        for result in response.results
    )


def get_execution(execution_id: str, *, run_number: int | None = None) -> Call[ExecutionState]:
    """Read an execution, one of its runs (default: the current one) and the run's steps.

    Raises ExecutionNotFound or RunNotFound.
    """
    request = pb.GetExecutionRequest(execution_id=execution_id, run_number=run_number)
    return Call(_METHODS["GetExecution"], request, reader(ExecutionState))


def get_step(execution_id: str, step_name: str, *, run_number: int | None = None) -> Call[Step]:
    """Read one step, whole. Raises ExecutionNotFound, RunNotFound or StepNotFound."""
    request = pb.GetStepRequest(
        execution_id=execution_id, step_name=step_name, run_number=run_number
    )
    return Call(_METHODS["GetStep"], request, lambda response: decode(Step, response.step))


def explain_step(
    execution_id: str, step_name: str = "", *, run_number: int | None = None
) -> Call[Explanation]:
    """Tell why a step is not completed, and what to do.

    Without ``step_name``: of every step that is neither COMPLETED nor CANCELLED, at most 100.
    Raises ExecutionNotFound, RunNotFound or StepNotFound.
    """
    request = pb.ExplainStepRequest(
        execution_id=execution_id, step_name=step_name, run_number=run_number
    )
    return Call(_METHODS["ExplainStep"], request, reader(Explanation))


def cancel_execution(
    execution_id: str,
    *,
    expected_run_number: int | None = None,
    validate_only: bool = False,
    plan_token: str = "",
    triggered_by: str = "",
    reason: str = "",
    incident: str = "",
    request_id: str = "",
) -> Call[Cancelled]:
    """Cancel the current run.

    ``validate_only`` plans and changes nothing; the plan's ``plan_token`` given to a second call
    makes sure that it does just that. Raises RunFinished, RunChanged, PlanChanged, NotPlanned or
    ExecutionNotFound.
    """
    request = pb.CancelExecutionRequest(
        execution_id=execution_id,
        expected_run_number=expected_run_number,
        validate_only=validate_only,
        plan_token=plan_token,
        triggered_by=triggered_by,
        reason=reason,
        incident=incident,
        request_id=request_id,
    )
    return Call(_METHODS["CancelExecution"], request, plan_reader(Cancelled, request))


def watch_execution(execution_id: str, *, run_number: int | None = None) -> Call[ExecutionState]:
    """Watch a run: the whole state first, then what changed, until it is finished.

    Where nothing changes, it yields a state without steps at least every 15 seconds. Without
    ``run_number`` it follows the execution across a restart. Raises ExecutionNotFound or
    RunNotFound.
    """
    request = pb.WatchExecutionRequest(execution_id=execution_id, run_number=run_number)
    return Call(_METHODS["WatchExecution"], request, reader(ExecutionState))
