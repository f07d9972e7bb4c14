"""The calls of AdminService about runs: what changes them, and their list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from zart.calls.call import Call, ListCall, page_reader, plan_reader, reader
from zart.calls.choices import number_of
from zart.calls.payload import UNSET, JsonText, Unset, json_text
from zart.calls.several import several
from zart.models import ComparedRuns, EndedStep, IfRunning, Json, Rerun, Restarted, RetriedStep, Run
from zart.v1 import admin_service_pb2 as pb

_METHODS = pb.DESCRIPTOR.services_by_name["AdminService"].methods_by_name


def _if_running(choice: IfRunning | str | None) -> pb.IfRunning.ValueType:
    if choice is None:
        return pb.IF_RUNNING_UNSPECIFIED
    number: pb.IfRunning.ValueType = number_of(pb.IfRunning, choice, "if_running")
    return number


def retry_step(
    execution_id: str,
    step_name: str,
    *,
    run_id: str | None = None,
    max_attempts: int | None = None,
    input: Json | JsonText | Unset = UNSET,  # noqa: A002 - the contract's word
    expected_run_number: int | None = None,
    accept_in_doubt: bool = False,
    validate_only: bool = False,
    plan_token: str = "",
    triggered_by: str = "",
    reason: str = "",
    incident: str = "",
    request_id: str = "",
) -> Call[RetriedStep]:
    """Revive one DEAD step of the current run with a new budget of attempts.

    ``input`` is the step's input in this run from then on, with an idempotency key of its own.
    ``validate_only`` plans and changes nothing; the plan's ``plan_token`` given to a second call
    makes sure that it does just that. ``accept_in_doubt`` runs it also where an attempt may have
    had its effect. Raises StepNotDead, StepInDoubt, RunNotCurrent, RunFinished, RunChanged,
    PlanChanged, NotPlanned, PayloadTooLarge, or a NotFound.
    """
    request = pb.RetryStepRequest(
        execution_id=execution_id,
        step_name=step_name,
        run_id=run_id,
        max_attempts=max_attempts,
        expected_run_number=expected_run_number,
        accept_in_doubt=accept_in_doubt,
        validate_only=validate_only,
        plan_token=plan_token,
        triggered_by=triggered_by,
        reason=reason,
        incident=incident,
        request_id=request_id,
    )
    if not isinstance(input, Unset):
        request.input_json = json_text(input)
    return Call(_METHODS["RetryStep"], request, plan_reader(RetriedStep, request))


def complete_step(
    execution_id: str,
    step_name: str,
    result: Json | Unset = UNSET,
    *,
    skip: bool = False,
    fence: bool = False,
    expected_attempt: int | None = None,
    expected_run_number: int | None = None,
    validate_only: bool = False,
    plan_token: str = "",
    triggered_by: str = "",
    reason: str = "",
    incident: str = "",
    request_id: str = "",
) -> Call[EndedStep]:
    """Complete a step of the current run by hand: with a result, or with ``skip`` without one.

    It may be DEAD, PAUSED, SCHEDULED or PENDING, and with ``fence`` RUNNING; a late result is
    refused. ``validate_only`` plans and changes nothing; the plan's ``plan_token`` given to a
    second call makes sure that it does just that. Raises StepFinished, StepRunning, StepChanged,
    RunFinished, RunChanged, PlanChanged, NotPlanned, PayloadTooLarge, or a NotFound.
    """
    if skip and not isinstance(result, Unset):
        raise ValueError("give a result or skip, not both")
    request = pb.CompleteStepRequest(
        execution_id=execution_id,
        step_name=step_name,
        fence=fence,
        expected_attempt=expected_attempt,
        expected_run_number=expected_run_number,
        validate_only=validate_only,
        plan_token=plan_token,
        triggered_by=triggered_by,
        reason=reason,
        incident=incident,
        request_id=request_id,
    )
    if skip:
        request.skip = True
    elif not isinstance(result, Unset):
        request.result_json = json_text(result)
    return Call(_METHODS["CompleteStep"], request, plan_reader(EndedStep, request))


def fail_step(
    execution_id: str,
    step_name: str,
    message: str,
    *,
    fence: bool = False,
    expected_attempt: int | None = None,
    expected_run_number: int | None = None,
    validate_only: bool = False,
    plan_token: str = "",
    triggered_by: str = "",
    reason: str = "",
    incident: str = "",
    request_id: str = "",
) -> Call[EndedStep]:
    """Fail a step of the current run for good by hand; ``message`` is its error's.

    It may be PAUSED, SCHEDULED or PENDING, and with ``fence`` RUNNING. Otherwise as
    ``complete_step``; StepFinished of a DEAD step, too.
    """
    request = pb.FailStepRequest(
        execution_id=execution_id,
        step_name=step_name,
        message=message,
        fence=fence,
        expected_attempt=expected_attempt,
        expected_run_number=expected_run_number,
        validate_only=validate_only,
        plan_token=plan_token,
        triggered_by=triggered_by,
        reason=reason,
        incident=incident,
        request_id=request_id,
    )
    return Call(_METHODS["FailStep"], request, plan_reader(EndedStep, request))


def restart(
    execution_id: str,
    *,
    payload: Json | Unset = UNSET,
    if_running: IfRunning | str | None = None,
    expected_run_number: int | None = None,
    accept_in_doubt: bool = False,
    validate_only: bool = False,
    plan_token: str = "",
    triggered_by: str = "",
    reason: str = "",
    incident: str = "",
    request_id: str = "",
) -> Call[Restarted]:
    """End the current run and create the next from scratch, with the same or a new payload.

    ``validate_only`` plans and changes nothing; the plan's ``plan_token`` given to a second call
    makes sure that it does just that. ``accept_in_doubt`` runs also steps again of which an attempt
    may have had its effect. Raises RunActive, StepInDoubt, RunChanged, PlanChanged, NotPlanned,
    PayloadTooLarge, or ExecutionNotFound.
    """
    request = pb.RestartRequest(
        execution_id=execution_id,
        if_running=_if_running(if_running),
        expected_run_number=expected_run_number,
        accept_in_doubt=accept_in_doubt,
        validate_only=validate_only,
        plan_token=plan_token,
        triggered_by=triggered_by,
        reason=reason,
        incident=incident,
        request_id=request_id,
    )
    if not isinstance(payload, Unset):
        request.payload_json = json_text(payload)
    return Call(_METHODS["Restart"], request, plan_reader(Restarted, request))


def rerun(
    execution_id: str,
    *,
    force_rerun: Iterable[str] = (),
    preserve: Iterable[str] = (),
    include_downstream: bool = False,
    accept_in_doubt: bool = False,
    inputs: Mapping[str, Json | JsonText] | None = None,
    payload: Json | JsonText | Unset = UNSET,
    validate_only: bool = False,
    plan_token: str = "",
    if_running: IfRunning | str | None = None,
    expected_run_number: int | None = None,
    triggered_by: str = "",
    reason: str = "",
    incident: str = "",
    request_id: str = "",
) -> Call[Rerun]:
    """Create the next run, with the results of some completed steps carried over.

    ``inputs``, by the names of steps, and ``payload`` are as in the run before if they are not
    given, inputs that were corrected included. A step that is given another input runs again; with
    another payload all do that are not in ``preserve``. ``validate_only`` plans and changes
    nothing; the plan's ``plan_token`` given to a second call makes sure that it does just that.
    ``accept_in_doubt`` runs also steps again of which an attempt may have had its effect. Raises
    NothingToRerun, RunActive, StepInDoubt, RunChanged, PlanChanged, NotPlanned, PayloadTooLarge,
    InvalidField for a step that is unknown or in both lists, or ExecutionNotFound.
    """
    request = pb.RerunRequest(
        execution_id=execution_id,
        force_rerun=several(force_rerun),
        preserve=several(preserve),
        include_downstream=include_downstream,
        accept_in_doubt=accept_in_doubt,
        validate_only=validate_only,
        plan_token=plan_token,
        if_running=_if_running(if_running),
        expected_run_number=expected_run_number,
        triggered_by=triggered_by,
        reason=reason,
        incident=incident,
        request_id=request_id,
    )
    for name, value in (inputs or {}).items():
        request.inputs.add(step_name=name, input_json=json_text(value))
    if not isinstance(payload, Unset):
        request.payload_json = json_text(payload)
    return Call(_METHODS["Rerun"], request, plan_reader(Rerun, request))


def list_runs(execution_id: str, *, page_size: int = 0, page_token: str = "") -> ListCall[Run]:
    """List the runs of an execution by number, payloads and results included.

    Raises ExecutionNotFound.
    """
    request = pb.ListRunsRequest(
        execution_id=execution_id, page_size=page_size, page_token=page_token
    )
    return ListCall(_METHODS["ListRuns"], request, page_reader(Run, "runs"))


def compare_runs(
    execution_id: str, base_run_number: int | None = None, run_number: int | None = None
) -> Call[ComparedRuns]:
    """Tell two runs side by side: what became of each step, and whether the results are equal.

    By default the current run and the one before it. Raises ExecutionNotFound, RunNotFound, or
    InvalidField for the run before the first.
    """
    request = pb.CompareRunsRequest(
        execution_id=execution_id, base_run_number=base_run_number, run_number=run_number
    )
    return Call(_METHODS["CompareRuns"], request, reader(ComparedRuns))
