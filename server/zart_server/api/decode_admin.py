"""AdminService requests, checked and decoded."""

from __future__ import annotations

from datetime import timedelta

from zart.v1 import admin_service_pb2 as pb
from zart_server.api.checks import Checks
from zart_server.api.fields import (
    duration_of,
    has,
    json_of,
    name_of,
    names_of,
    optional_name,
    optional_number,
    text_of,
    time_of,
)
from zart_server.domain.commands import Pause, Rerun, Restart, Resume, RetryStep
from zart_server.domain.errors import InvalidField
from zart_server.domain.globs import check_glob
from zart_server.domain.graph import MAX_STEPS
from zart_server.domain.model import MOST_ATTEMPTS, IfRunning, PauseScope

_LONGEST = timedelta(days=365_000)
_IF_RUNNING = {
    pb.IF_RUNNING_UNSPECIFIED: IfRunning.SUPERSEDE,
    pb.IF_RUNNING_SUPERSEDE: IfRunning.SUPERSEDE,
    pb.IF_RUNNING_FAIL: IfRunning.FAIL,
}


def retry_step(request: pb.RetryStepRequest) -> RetryStep:
    """Decode RetryStep; the execution may be named by the run's id alone."""
    with Checks() as check:
        execution_id, run_number = request.execution_id, None
        if has(request, "run_id"):
            of, run_number = check(parse_run_id, request.run_id)
            if execution_id and execution_id != of:
                check.fail("run_id", f"is a run of {of!r}, not of {execution_id!r}")
            execution_id = of
        return RetryStep(
            execution_id=check(name_of, execution_id, "execution_id"),
            step_name=check(name_of, request.step_name, "step_name"),
            run_number=run_number,
            max_attempts=check(optional_number, request, "max_attempts", 1, MOST_ATTEMPTS),
            expected_run_number=check(optional_number, request, "expected_run_number", 0),
        )


def parse_run_id(run_id: str) -> tuple[str, int]:
    """Split ``<execution_id>:run:<run_number>``; the execution's id may itself look like one."""
    execution_id, separator, number = name_of_run(run_id).rpartition(":run:")
    is_number = number.isascii() and number.isdigit() and (number == "0" or number[0] != "0")
    if not separator or not execution_id or not is_number or int(number) > 2**31 - 1:
        raise InvalidField("run_id", "is not <execution_id>:run:<run_number>")
    return execution_id, int(number)


def name_of_run(run_id: str) -> str:
    """Check a run id, which is somewhat longer than a name may be."""
    if not run_id.strip():
        raise InvalidField("run_id", "is empty")
    return text_of(run_id, "run_id", 255 + len(":run:2147483647"))


def restart(request: pb.RestartRequest) -> Restart:
    """Decode Restart."""
    with Checks() as check:
        return Restart(
            execution_id=check(name_of, request.execution_id, "execution_id"),
            payload_json=check(json_of, request, "payload_kind", "payload"),
            if_running=check(_if_running, request.if_running),
            expected_run_number=check(optional_number, request, "expected_run_number", 0),
        )


def rerun(request: pb.RerunRequest) -> Rerun:
    """Decode Rerun."""
    with Checks() as check:
        return Rerun(
            execution_id=check(name_of, request.execution_id, "execution_id"),
            force_rerun=check(names_of, request.force_rerun, "force_rerun", MAX_STEPS),
            preserve=check(names_of, request.preserve, "preserve", MAX_STEPS),
            include_downstream=request.include_downstream,
            validate_only=request.validate_only,
            plan_token=check(text_of, request.plan_token, "plan_token"),
            if_running=check(_if_running, request.if_running),
            expected_run_number=check(optional_number, request, "expected_run_number", 0),
        )


def _if_running(value: pb.IfRunning.ValueType) -> IfRunning:
    if value not in _IF_RUNNING:
        raise InvalidField("if_running", f"{value} is not a value of IfRunning")
    return _IF_RUNNING[value]


def scope_of(
    request: pb.PauseRequest | pb.ResumeRequest | pb.ListPauseRulesRequest,
    *,
    everything: bool = False,
) -> PauseScope:
    """Decode the scope fields."""
    with Checks() as check:
        pattern = None
        if has(request, "step_pattern"):
            pattern = request.step_pattern
            try:
                check_glob(pattern)
            except ValueError as error:
                check.fail("step_pattern", str(error))
        return PauseScope(
            check(optional_name, request, "execution_id"),
            check(optional_name, request, "task_name"),
            pattern,
            everything,
        )


def pause(request: pb.PauseRequest) -> Pause:
    """Decode Pause: a scope, or everything alone."""
    with Checks() as check:
        scope = check(scope_of, request, everything=request.everything)
        if scope.everything and not scope.is_empty:
            check.fail("everything", "stands alone: leave it or the scope out")
        if not scope.everything and scope.is_empty:
            check.fail(
                "everything",
                "nothing is named: set execution_id, task_name or step_pattern, or everything",
            )
        at = after = None
        if has(request, "expires_at"):
            at = check(time_of, request.expires_at, "expires_at")
        if has(request, "expires_in"):
            shortest = timedelta(microseconds=1)
            after = check(duration_of, request.expires_in, "expires_in", shortest, _LONGEST)
        return Pause(scope, at, after)


def resume(request: pb.ResumeRequest) -> Resume:
    """Decode Resume: one rule, a scope, everything, or none of them, which means all rules."""
    with Checks() as check:
        rule_id = check(optional_name, request, "rule_id")
        scope = check(scope_of, request)
        if rule_id is not None and not scope.is_empty:
            check.fail("rule_id", "stands alone: leave it or the scope out")
        if request.everything and (rule_id is not None or not scope.is_empty):
            check.fail("everything", "stands alone: leave it or the scope out")
        return Resume(rule_id, scope)
