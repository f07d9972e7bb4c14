"""The calls of AdminService."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from zart.calls.call import Call, ListCall, moment, page_reader, reader, span
from zart.calls.payload import UNSET, Unset, json_text
from zart.decoding import decode
from zart.models import (
    IfRunning,
    Json,
    Paused,
    PauseRule,
    Rerun,
    Restarted,
    Resumed,
    RetriedStep,
    Run,
)
from zart.v1 import admin_service_pb2 as pb

_METHODS = pb.DESCRIPTOR.services_by_name["AdminService"].methods_by_name


def _if_running(choice: IfRunning | str | None) -> pb.IfRunning.ValueType:
    name = "UNSPECIFIED" if choice is None else IfRunning(choice.upper()).value
    return pb.IfRunning.Value(f"IF_RUNNING_{name}")


def retry_step(
    execution_id: str,
    step_name: str,
    *,
    run_id: str | None = None,
    max_attempts: int | None = None,
    expected_run_number: int | None = None,
    triggered_by: str = "",
    reason: str = "",
    incident: str = "",
    request_id: str = "",
) -> Call[RetriedStep]:
    """Revive one DEAD step of the current run with a new budget of attempts.

    Raises StepNotDead, RunNotCurrent, RunFinished, RunChanged, or a NotFound.
    """
    request = pb.RetryStepRequest(
        execution_id=execution_id,
        step_name=step_name,
        run_id=run_id,
        max_attempts=max_attempts,
        expected_run_number=expected_run_number,
        triggered_by=triggered_by,
        reason=reason,
        incident=incident,
        request_id=request_id,
    )
    return Call(_METHODS["RetryStep"], request, reader(RetriedStep))


def restart(
    execution_id: str,
    *,
    payload: Json | Unset = UNSET,
    if_running: IfRunning | str | None = None,
    expected_run_number: int | None = None,
    triggered_by: str = "",
    reason: str = "",
    incident: str = "",
    request_id: str = "",
) -> Call[Restarted]:
    """End the current run and create the next from scratch, with the same or a new payload.

    Raises RunActive, RunChanged, PayloadTooLarge, or ExecutionNotFound.
    """
    request = pb.RestartRequest(
        execution_id=execution_id,
        if_running=_if_running(if_running),
        expected_run_number=expected_run_number,
        triggered_by=triggered_by,
        reason=reason,
        incident=incident,
        request_id=request_id,
    )
    if not isinstance(payload, Unset):
        request.payload_json = json_text(payload)
    return Call(_METHODS["Restart"], request, reader(Restarted))


def rerun(
    execution_id: str,
    *,
    force_rerun: Iterable[str] = (),
    preserve: Iterable[str] = (),
    include_downstream: bool = False,
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

    ``validate_only`` plans and changes nothing; the plan's ``plan_token`` given to a second call
    makes sure that it does just that. Raises NothingToRerun, RunActive, RunChanged, PlanChanged,
    InvalidField for a step that is unknown or in both lists, or ExecutionNotFound.
    """
    request = pb.RerunRequest(
        execution_id=execution_id,
        force_rerun=force_rerun,
        preserve=preserve,
        include_downstream=include_downstream,
        validate_only=validate_only,
        plan_token=plan_token,
        if_running=_if_running(if_running),
        expected_run_number=expected_run_number,
        triggered_by=triggered_by,
        reason=reason,
        incident=incident,
        request_id=request_id,
    )
    return Call(_METHODS["Rerun"], request, reader(Rerun))


def list_runs(execution_id: str, *, page_size: int = 0, page_token: str = "") -> ListCall[Run]:
    """List the runs of an execution by number. Raises ExecutionNotFound."""
    request = pb.ListRunsRequest(
        execution_id=execution_id, page_size=page_size, page_token=page_token
    )
    return ListCall(_METHODS["ListRuns"], request, page_reader(Run, "runs"))


def pause(
    *,
    execution_id: str | None = None,
    task_name: str | None = None,
    step_pattern: str | None = None,
    everything: bool = False,
    expires_at: datetime | None = None,
    expires_in: float | timedelta | None = None,
    triggered_by: str = "",
    reason: str = "",
    incident: str = "",
    request_id: str = "",
) -> Call[Paused]:
    """Withhold the steps that match every scope field given, until resume or expiry.

    ``expires_in`` is in seconds or a timedelta. Raises InvalidField, and ValueError for both
    ``expires_at`` and ``expires_in``.
    """
    if expires_at is not None and expires_in is not None:
        raise ValueError("give expires_at or expires_in, not both")
    request = pb.PauseRequest(
        execution_id=execution_id,
        task_name=task_name,
        step_pattern=step_pattern,
        everything=everything,
        expires_at=None if expires_at is None else moment(expires_at),
        expires_in=None if expires_in is None else span(expires_in),
        triggered_by=triggered_by,
        reason=reason,
        incident=incident,
        request_id=request_id,
    )
    return Call(_METHODS["Pause"], request, reader(Paused))


def resume(
    *,
    rule_id: str | None = None,
    execution_id: str | None = None,
    task_name: str | None = None,
    step_pattern: str | None = None,
    everything: bool = False,
    triggered_by: str = "",
    reason: str = "",
    incident: str = "",
    request_id: str = "",
) -> Call[Resumed]:
    """Delete one pause rule, those whose own fields equal all given, or everything.

    Raises PauseRuleNotFound, and ValueError where nothing at all is given.
    """
    given = (rule_id, execution_id, task_name, step_pattern)
    if not everything and all(value is None for value in given):
        raise ValueError("resume() alone would resume everything: say everything=True")
    request = pb.ResumeRequest(
        rule_id=rule_id,
        execution_id=execution_id,
        task_name=task_name,
        step_pattern=step_pattern,
        everything=everything,
        triggered_by=triggered_by,
        reason=reason,
        incident=incident,
        request_id=request_id,
    )
    return Call(_METHODS["Resume"], request, reader(Resumed))


def get_pause_rule(rule_id: str) -> Call[PauseRule]:
    """Read a pause rule, deleted or not, with all executions that it exempts.

    Raises PauseRuleNotFound.
    """
    request = pb.GetPauseRuleRequest(rule_id=rule_id)
    return Call(_METHODS["GetPauseRule"], request, lambda answer: decode(PauseRule, answer.rule))


def list_pause_rules(
    *,
    execution_id: str | None = None,
    task_name: str | None = None,
    step_pattern: str | None = None,
    include_deleted: bool = False,
    page_size: int = 0,
    page_token: str = "",
) -> ListCall[PauseRule]:
    """List pause rules, newest first; with scope fields, those whose own fields equal them."""
    request = pb.ListPauseRulesRequest(
        execution_id=execution_id,
        task_name=task_name,
        step_pattern=step_pattern,
        include_deleted=include_deleted,
        page_size=page_size,
        page_token=page_token,
    )
    return ListCall(_METHODS["ListPauseRules"], request, page_reader(PauseRule, "rules"))
