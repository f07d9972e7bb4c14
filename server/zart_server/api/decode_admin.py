"""AdminService requests, checked and decoded."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from zart.v1 import admin_service_pb2 as pb
from zart_server.api.checks import Checks
from zart_server.api.fields import (
    duration_of,
    has,
    items_of,
    json_of,
    name_of,
    names_of,
    optional_name,
    optional_number,
    text_of,
    time_of,
)
from zart_server.api.plans import planning_of
from zart_server.domain.commands import (
    Expiry,
    Pause,
    Rerun,
    Restart,
    Resume,
    RetryStep,
    UpdatePauseRule,
)
from zart_server.domain.errors import InvalidField
from zart_server.domain.globs import check_glob
from zart_server.domain.graph import MAX_STEPS
from zart_server.domain.model import MOST_ATTEMPTS, IfRunning, PauseScope, WatchUntil
from zart_server.domain.pacing import FASTEST, MOST_CANARIES, SLOWEST, StopRelease
from zart_server.domain.rerun import StepInput, check_apart, check_inputs_apart

_SCOPE = ("execution_id", "task_name", "step_pattern")
_SHORTEST = timedelta(microseconds=1)
_LONGEST = timedelta(days=365_000)
IF_RUNNING = {
    pb.IF_RUNNING_UNSPECIFIED: IfRunning.SUPERSEDE,
    pb.IF_RUNNING_SUPERSEDE: IfRunning.SUPERSEDE,
    pb.IF_RUNNING_FAIL: IfRunning.FAIL,
}

UNTIL = {
    pb.WATCH_UNTIL_UNSPECIFIED: WatchUntil.ENDED,
    pb.WATCH_UNTIL_DRAINED: WatchUntil.DRAINED,
    pb.WATCH_UNTIL_ENDED: WatchUntil.ENDED,
}


def retry_step(request: pb.RetryStepRequest) -> RetryStep:
    """Decode RetryStep; the execution may be named by the run's id alone."""
    with Checks() as check:
        execution_id, run_number = request.execution_id, None
        run = check(parse_run_id, request.run_id) if has(request, "run_id") else None
        if run is not None:
            of, run_number = run
            if execution_id and execution_id != of:
                check.fail("run_id", f"is a run of {of!r}, not of {execution_id!r}")
            execution_id = of
        if execution_id or not has(request, "run_id"):
            check(name_of, execution_id, "execution_id")
        return RetryStep(
            execution_id=execution_id,
            step_name=check(name_of, request.step_name, "step_name"),
            run_number=run_number,
            max_attempts=check(optional_number, request, "max_attempts", 1, MOST_ATTEMPTS),
            expected_run_number=check(optional_number, request, "expected_run_number", 0),
            planning=check(planning_of, request),
            accept_in_doubt=request.accept_in_doubt,
            input_json=check(json_of, request, "input_kind", "input"),
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
            planning=check(planning_of, request),
            accept_in_doubt=request.accept_in_doubt,
        )


def rerun(request: pb.RerunRequest) -> Rerun:
    """Decode Rerun."""
    with Checks() as check:
        forced = check(names_of, request.force_rerun, "force_rerun", MAX_STEPS)
        kept = check(names_of, request.preserve, "preserve", MAX_STEPS)
        inputs = check(_inputs, request.inputs)
        if forced and kept:
            check(check_apart, forced, kept)
        if inputs and kept:
            check(check_inputs_apart, inputs, kept)
        return Rerun(
            execution_id=check(name_of, request.execution_id, "execution_id"),
            force_rerun=forced,
            preserve=kept,
            include_downstream=request.include_downstream,
            if_running=check(_if_running, request.if_running),
            expected_run_number=check(optional_number, request, "expected_run_number", 0),
            planning=check(planning_of, request),
            accept_in_doubt=request.accept_in_doubt,
            inputs=inputs,
            payload_json=check(json_of, request, "payload_kind", "payload"),
        )


def _inputs(items: Sequence[pb.StepInput]) -> tuple[StepInput, ...]:
    """Check the inputs that steps are to have: one for each step."""
    items_of(items, "inputs")
    found: dict[str, StepInput] = {}
    with Checks() as check:
        for index, item in enumerate(items):
            path = f"inputs[{index}]."
            name = check(name_of, item.step_name, f"{path}step_name")
            text = check(json_of, item, "input_kind", "input", path)
            if name is not None and name in found:
                check.fail(f"{path}step_name", f"{name!r} has an input already")
            if item.WhichOneof("input_kind") is None:
                check.fail(f"{path}input", "is not set: give the input, which may be null")
            found[name] = StepInput(name, text or "")
    return tuple(found.values())


def compare_runs(request: pb.CompareRunsRequest) -> tuple[str, int | None, int | None]:
    """Decode CompareRuns: the execution, the number of the base run, that of the other."""
    with Checks() as check:
        execution_id = check(name_of, request.execution_id, "execution_id")
        base = check(optional_number, request, "base_run_number", 0)
        number = check(optional_number, request, "run_number", 0)
        if number == 0 and not has(request, "base_run_number"):
            check.fail("base_run_number", "is not set, and run 0 has no run before it")
        return execution_id, base, number


def _if_running(value: pb.IfRunning.ValueType) -> IfRunning:
    if value not in IF_RUNNING:
        raise InvalidField("if_running", f"{value} is not a value of IfRunning")
    return IF_RUNNING[value]


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


def _names_scope(request: pb.PauseRequest | pb.ResumeRequest) -> bool:
    """Return whether any scope field is set, whatever it is set to."""
    return any(has(request, field) for field in _SCOPE)


def pause(request: pb.PauseRequest) -> Pause:
    """Decode Pause: a scope, or everything alone."""
    with Checks() as check:
        scope = check(scope_of, request, everything=request.everything)
        if request.everything and _names_scope(request):
            check.fail("everything", "stands alone: leave it or the scope out")
        if not request.everything and not _names_scope(request):
            check.fail(
                "everything",
                "nothing is named: set execution_id, task_name or step_pattern, or everything",
            )
        at = after = None
        if has(request, "expires_at"):
            at = check(time_of, request.expires_at, "expires_at")
        if has(request, "expires_in"):
            after = check(duration_of, request.expires_in, "expires_in", _SHORTEST, _LONGEST)
        rate = None
        if has(request, "release_on_expiry"):
            rate = check(
                rate_of,
                request.release_on_expiry.rate_per_second,
                "release_on_expiry.rate_per_second",
            )
            if request.WhichOneof("expiry") is None:
                check.fail("release_on_expiry", "there is no expiry: set expires_at or expires_in")
        planning = check(planning_of, request)
        return Pause(scope, at, after, rate, request.must_match, planning)


def update_pause_rule(request: pb.UpdatePauseRuleRequest) -> UpdatePauseRule:
    """Decode UpdatePauseRule: exemptions to add or to remove, an expiry, or several of them."""
    with Checks() as check:
        rule_id = check(name_of, request.rule_id, "rule_id")
        add, remove = "add_exempt_execution_ids", "remove_exempt_execution_ids"
        exempt = check(names_of, getattr(request, add), add)
        unexempt = check(names_of, getattr(request, remove), remove)
        both = {*(exempt or ())} & {*(unexempt or ())}
        for number, execution_id in enumerate(unexempt or ()):
            if execution_id in both:
                check.fail(f"{remove}[{number}]", f"is in {add} as well")
        kind = request.WhichOneof("expiry")
        if not getattr(request, add) and not getattr(request, remove) and kind is None:
            check.fail(add, f"nothing is to be changed: set {add}, {remove}, or an expiry")
        expiry: Expiry | None = None
        if kind == "expires_at":
            expiry = Expiry(at=check(time_of, request.expires_at, kind))
        elif kind == "expires_in":
            expiry = Expiry(after=check(duration_of, request.expires_in, kind, _SHORTEST, _LONGEST))
        elif kind == "never_expires":
            expiry = Expiry()
            if not request.never_expires:
                check.fail(kind, "is false: leave it out, and the rule ends as before")
        planning = check(planning_of, request)
        return UpdatePauseRule(rule_id, exempt, unexempt, expiry, planning)


def resume(request: pb.ResumeRequest) -> Resume:
    """Decode Resume: one rule, a scope, everything, or none of them, which means all rules."""
    with Checks() as check:
        is_one, is_scoped = has(request, "rule_id"), _names_scope(request)
        rule_id = check(optional_name, request, "rule_id")
        scope = check(scope_of, request)
        if is_one and is_scoped:
            check.fail("rule_id", "stands alone: leave it or the scope out")
        if request.everything and (is_one or is_scoped):
            check.fail("everything", "stands alone: leave it or the scope out")
        canary = check(optional_number, request, "canary", 1, MOST_CANARIES)
        rate = None
        if has(request, "rate_per_second"):
            rate = check(rate_of, request.rate_per_second, "rate_per_second")
        if not (request.everything or is_one or is_scoped):
            pace = request.WhichOneof("pace")
            for field in (pace, "incident" if request.incident else None):
                if field is not None:
                    check.fail(field, "names no rule: give rule_id, a scope or everything, too")
        return Resume(rule_id, scope, check(planning_of, request), canary, rate)


def stop_release(request: pb.StopReleaseRequest) -> StopRelease:
    """Decode StopRelease."""
    return StopRelease(name_of(request.rule_id, "rule_id"))


def rate_of(rate: float, field: str) -> float:
    """Check a number of steps a second."""
    if not SLOWEST <= rate <= FASTEST:  # nor is NaN
        raise InvalidField(field, f"is {rate:g}, must be {SLOWEST:g} to {FASTEST:,.0f}")
    return rate


def watch_pause_rule(request: pb.WatchPauseRuleRequest) -> tuple[str, WatchUntil]:
    """Decode WatchPauseRule."""
    with Checks() as check:
        rule_id = check(name_of, request.rule_id, "rule_id")
        if request.until not in UNTIL:
            check.fail("until", f"{request.until} is not a value of WatchUntil")
        return rule_id, UNTIL.get(request.until, WatchUntil.ENDED)
